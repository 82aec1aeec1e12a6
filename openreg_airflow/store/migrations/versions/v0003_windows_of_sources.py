"""What successful runs read of incremental sources."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = 250


def upgrade() -> None:
    """Create the table."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "openreg_source_window",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("report_id", sa.String(ID), nullable=False),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("run_id", sa.String(ID), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(ID), nullable=False),
        sa.Column("since", sa.Text, nullable=False),
        sa.Column("mark", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_source_window"),
        sa.UniqueConstraint(
            "report_id", "business_date", "run_id", "source", name="uq_openreg_source_window"
        ),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("openreg_source_window")
