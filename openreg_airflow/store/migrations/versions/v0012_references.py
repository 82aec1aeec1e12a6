"""The references under which records were reported."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

ID = 250


def upgrade() -> None:
    """Create the tables."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "openreg_submission",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("scope", sa.String(ID), nullable=False),
        sa.Column("report_id", sa.String(ID), nullable=False),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("run_id", sa.String(ID), nullable=False),
        sa.Column("artifact", sa.String(ID), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("content", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("resubmission", sa.Integer, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("written", sa.JSON, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_submission"),
        sa.UniqueConstraint(
            "scope",
            "report_id",
            "business_date",
            "artifact",
            "content",
            name="uq_openreg_submission",
        ),
    )
    op.create_table(
        "openreg_reference",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("submission_id", sa.BigInteger, nullable=False),
        sa.Column("scope", sa.String(ID), nullable=False),
        sa.Column("reference", sa.String(ID), nullable=False),
        sa.Column("cancels", sa.Boolean, nullable=False),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_reference"),
        sa.UniqueConstraint("submission_id", "position", name="uq_openreg_reference"),
    )
    op.create_index(
        "ix_openreg_reference_scope_reference_id",
        "openreg_reference",
        ["scope", "reference", "id"],
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_index("ix_openreg_reference_scope_reference_id", "openreg_reference")
    op.drop_table("openreg_reference")
    op.drop_table("openreg_submission")
