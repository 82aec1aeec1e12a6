"""The mapping sets that runs used, and what they did not find in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

ID = 250
RUN = ("report_id", "business_date", "run_id")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "openreg_mapping_snapshot",
        *_run(),
        sa.Column("name", sa.String(ID), nullable=False),
        sa.Column("set_id", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_mapping_snapshot"),
        sa.UniqueConstraint(*RUN, "name", name="uq_openreg_mapping_snapshot"),
    )
    op.create_index(
        "ix_openreg_mapping_snapshot_set_id_version",
        "openreg_mapping_snapshot",
        ["set_id", "version"],
    )
    op.create_table(
        "openreg_mapping_use",
        *_run(),
        sa.Column("place", sa.String(ID), nullable=False),
        sa.Column("name", sa.String(ID), nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("blank", sa.BigInteger, nullable=False),
        sa.Column("unmapped", sa.BigInteger, nullable=False),
        sa.Column("distinct_values", sa.BigInteger, nullable=False),
        sa.Column("fallback", sa.String(20), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_mapping_use"),
        sa.UniqueConstraint(*RUN, "place", "name", name="uq_openreg_mapping_use"),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("openreg_mapping_use")
    op.drop_index("ix_openreg_mapping_snapshot_set_id_version", "openreg_mapping_snapshot")
    op.drop_table("openreg_mapping_snapshot")


def _run() -> tuple[sa.Column[object], ...]:
    """The columns that every row of a run begins with."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return (
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("report_id", sa.String(ID), nullable=False),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("run_id", sa.String(ID), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
