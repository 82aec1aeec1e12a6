"""Where the tables of a run came from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = 250
SHA256 = 64


def upgrade() -> None:
    """Create the table."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "openreg_extract",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("report_id", sa.String(ID), nullable=False),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("run_id", sa.String(ID), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(ID), nullable=False),
        sa.Column("connection", sa.String(ID), nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("query_sha256", sa.String(SHA256), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(SHA256), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_extract"),
        sa.UniqueConstraint(
            "report_id", "business_date", "run_id", "source", name="uq_openreg_extract"
        ),
    )
    op.create_index("ix_openreg_extract_sha256", "openreg_extract", ["sha256"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("openreg_extract")
