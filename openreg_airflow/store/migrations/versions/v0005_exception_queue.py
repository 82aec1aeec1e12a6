"""The exception queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

ID = 250
SHA256 = 64


def _run_row() -> tuple[sa.Column[object], ...]:
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return (
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("report_id", sa.String(ID), nullable=False),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("run_id", sa.String(ID), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "openreg_exception",
        *_run_row(),
        sa.Column("table_name", sa.String(ID), nullable=False),
        sa.Column("key_sha256", sa.String(SHA256), nullable=False),
        sa.Column("occurrence", sa.Integer, nullable=False),
        sa.Column("record_key", sa.Text, nullable=False),
        sa.Column("stage", sa.String(50), nullable=False),
        sa.Column("origin", sa.String(20), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("row_values", sa.JSON, nullable=False),
        sa.Column("children", sa.JSON, nullable=False),
        sa.Column("content_sha256", sa.String(SHA256), nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("amendments", sa.JSON),
        sa.Column("why", sa.Text),
        sa.Column("decided_by", sa.Text),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("previous_state", sa.String(20)),
        sa.Column("previous_amendments", sa.JSON),
        sa.Column("previous_why", sa.Text),
        sa.Column("claimed_by", sa.String(ID)),
        sa.Column("reported_by", sa.String(ID)),
        sa.Column("taken_back", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_exception"),
        sa.UniqueConstraint(
            "report_id",
            "business_date",
            "table_name",
            "key_sha256",
            "occurrence",
            name="uq_openreg_exception",
        ),
    )
    op.create_index("ix_openreg_exception_claimed_by", "openreg_exception", ["claimed_by"])
    op.create_index("ix_openreg_exception_state", "openreg_exception", ["state"])
    op.create_table(
        "openreg_exception_count",
        *_run_row(),
        sa.Column("stage", sa.String(50), nullable=False),
        sa.Column("table_name", sa.String(ID), nullable=False),
        sa.Column("resubmission", sa.Integer, nullable=False),
        sa.Column("taken", sa.BigInteger, nullable=False),
        sa.Column("handed_on", sa.BigInteger, nullable=False),
        sa.Column("standing", sa.Boolean, nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_exception_count"),
        sa.UniqueConstraint(
            "report_id",
            "business_date",
            "run_id",
            "stage",
            "table_name",
            name="uq_openreg_exception_count",
        ),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("openreg_exception_count")
    op.drop_table("openreg_exception")
