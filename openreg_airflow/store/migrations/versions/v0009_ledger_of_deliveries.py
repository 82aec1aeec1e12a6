"""What was delivered where, whichever run it was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

ID = 250
INDEXES = (("place",), ("report_id", "business_date"), ("sequence", "number"))


def upgrade() -> None:
    """Create the table."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "openreg_delivery",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("content", sa.String(64), nullable=False),
        sa.Column("place", sa.String(64), nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("temporary", sa.Text, nullable=True),
        sa.Column("report_id", sa.String(ID), nullable=False),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("run_id", sa.String(ID), nullable=False),
        sa.Column("route", sa.String(ID), nullable=False),
        sa.Column("artifact", sa.String(ID), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("sequence", sa.String(ID), nullable=True),
        sa.Column("number", sa.BigInteger, nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_delivery"),
        sa.UniqueConstraint("content", "place", name="uq_openreg_delivery"),
    )
    for columns in INDEXES:
        op.create_index(_name(columns), "openreg_delivery", list(columns))


def downgrade() -> None:
    """Drop the table."""
    for columns in INDEXES:
        op.drop_index(_name(columns), "openreg_delivery")
    op.drop_table("openreg_delivery")


def _name(columns: tuple[str, ...]) -> str:
    return f"ix_openreg_delivery_{'_'.join(columns)}"
