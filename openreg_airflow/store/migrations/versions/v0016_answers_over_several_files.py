"""What an answer over several files has told so far, and all names under which a file came.

A submission is a version of a content: another version is another file.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_SUBMISSION = ["scope", "report_id", "business_date", "artifact", "content"]


def upgrade() -> None:
    """Add both; of older answers nothing is open, and each submission is of one version."""
    with op.batch_alter_table("openreg_acknowledgement") as table:
        table.add_column(sa.Column("told", sa.JSON))
    with op.batch_alter_table("openreg_feedback_file") as table:
        table.add_column(
            sa.Column("came_as", sa.JSON, nullable=False, server_default=sa.text("'{}'"))
        )
    _submissions_by([*_SUBMISSION, "version"])


def downgrade() -> None:
    """Forget them: what is told from then on is read as the whole answer."""
    with op.batch_alter_table("openreg_feedback_file") as table:
        table.drop_column("came_as")
    with op.batch_alter_table("openreg_acknowledgement") as table:
        table.drop_column("told")
    _submissions_by(_SUBMISSION)


def _submissions_by(columns: list[str]) -> None:
    with op.batch_alter_table("openreg_submission") as table:
        table.drop_constraint("uq_openreg_submission", type_="unique")
        table.create_unique_constraint("uq_openreg_submission", columns)
