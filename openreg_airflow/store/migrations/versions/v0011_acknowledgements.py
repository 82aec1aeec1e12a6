"""What authorities answered to deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

ID = 250
KEY = ("report_id", "business_date", "run_id", "route", "artifact")


def upgrade() -> None:
    """Create the tables."""
    _create(
        "openreg_acknowledgement",
        "position",
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("sent", sa.BigInteger, nullable=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
        sa.Column("pending", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("ix_openreg_acknowledgement_state", "openreg_acknowledgement", ["state"])
    _create(
        "openreg_feedback_file",
        "sha256",
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("result", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    _create(
        "openreg_record_answer",
        "reference",
        sa.Column("reference", sa.String(ID), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("rules", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("openreg_record_answer")
    op.drop_table("openreg_feedback_file")
    op.drop_index("ix_openreg_acknowledgement_state", "openreg_acknowledgement")
    op.drop_table("openreg_acknowledgement")


def _create(name: str, last: str, *columns: sa.Column[object]) -> None:
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        name,
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("report_id", sa.String(ID), nullable=False),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("run_id", sa.String(ID), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("route", sa.String(ID), nullable=False),
        sa.Column("artifact", sa.String(ID), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        sa.UniqueConstraint(*KEY, last, name=f"uq_{name}"),
    )
