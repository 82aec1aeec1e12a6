"""Inner tables of submissions, and what a record tells of its reference."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns."""
    op.add_column(
        "openreg_submission",
        sa.Column("inner_tables", sa.JSON, nullable=False, server_default=sa.text("'{}'")),
    )
    op.add_column("openreg_submission", sa.Column("records", sa.JSON))
    op.add_column(
        "openreg_reference", sa.Column("event", sa.String(80), nullable=False, server_default="")
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_column("openreg_reference", "event")
    op.drop_column("openreg_submission", "records")
    op.drop_column("openreg_submission", "inner_tables")
