"""Answers by row, where several rows of a file are reports of one reference.

Of older answers the row is not known: they are -1, and mean the last row with their reference.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

NAME = "uq_openreg_record_answer"
KEY = ("report_id", "business_date", "run_id", "route", "artifact", "reference")


def upgrade() -> None:
    """Add the row to what an answer is known by."""
    with op.batch_alter_table("openreg_record_answer") as table:
        table.add_column(sa.Column("row", sa.BigInteger, nullable=False, server_default="-1"))
        table.drop_constraint(NAME, type_="unique")
        table.create_unique_constraint(NAME, [*KEY, "row"])


def downgrade() -> None:
    """Keep the answer to the last row of each reference."""
    same = " AND ".join(f"o.{name} = openreg_record_answer.{name}" for name in KEY)
    op.execute(
        "DELETE FROM openreg_record_answer WHERE EXISTS (SELECT 1 FROM openreg_record_answer o "  # noqa: S608
        f'WHERE {same} AND o."row" > openreg_record_answer."row")'
    )
    with op.batch_alter_table("openreg_record_answer") as table:
        table.drop_constraint(NAME, type_="unique")
        table.drop_column("row")
        table.create_unique_constraint(NAME, list(KEY))
