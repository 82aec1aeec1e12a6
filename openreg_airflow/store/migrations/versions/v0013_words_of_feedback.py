"""Where the newest words on single records are kept after a feedback file was read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column; files that were read before have none."""
    with op.batch_alter_table("openreg_feedback_file") as table:
        table.add_column(sa.Column("words", sa.JSON, nullable=True))


def downgrade() -> None:
    """Drop the column."""
    with op.batch_alter_table("openreg_feedback_file") as table:
        table.drop_column("words")
