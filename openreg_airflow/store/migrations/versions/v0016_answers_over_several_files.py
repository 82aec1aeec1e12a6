"""What an answer over several files has told so far, and all names under which a file came."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add both; of older answers nothing is open."""
    with op.batch_alter_table("openreg_acknowledgement") as table:
        table.add_column(sa.Column("told", sa.JSON))
    with op.batch_alter_table("openreg_feedback_file") as table:
        table.add_column(
            sa.Column("came_as", sa.JSON, nullable=False, server_default=sa.text("'{}'"))
        )


def downgrade() -> None:
    """Forget them: what is told from then on is read as the whole answer."""
    with op.batch_alter_table("openreg_feedback_file") as table:
        table.drop_column("came_as")
    with op.batch_alter_table("openreg_acknowledgement") as table:
        table.drop_column("told")
