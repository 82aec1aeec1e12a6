"""Results of queries that reports share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

ID = 250
SHA256 = 64


def upgrade() -> None:
    """Create the table."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "openreg_source_cache",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(SHA256), nullable=False),
        sa.Column("connection", sa.String(ID)),
        sa.Column("read_at", sa.DateTime(timezone=True)),
        sa.Column("keep_until", sa.DateTime(timezone=True)),
        sa.Column("reader", sa.String(SHA256)),
        sa.Column("reading_until", sa.DateTime(timezone=True)),
        sa.Column("detail", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_source_cache"),
        sa.UniqueConstraint("key", name="uq_openreg_source_cache"),
    )
    op.create_index("ix_openreg_source_cache_keep_until", "openreg_source_cache", ["keep_until"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_index("ix_openreg_source_cache_keep_until", "openreg_source_cache")
    op.drop_table("openreg_source_cache")
