"""Validation results, artifacts and delivery attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = 250
SHA256 = 64


def run_columns() -> list[sa.Column[object]]:
    """The columns that every table of a run begins with."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return [
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("report_id", sa.String(ID), nullable=False),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("run_id", sa.String(ID), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    ]


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "openreg_validation_result",
        *run_columns(),
        sa.Column("rule_id", sa.String(ID), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("severity", sa.String(20), nullable=False),
        sa.Column("table_name", sa.String(ID), nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("checked", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("failures", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_validation_result"),
        sa.UniqueConstraint(
            "report_id", "business_date", "run_id", "rule_id", name="uq_openreg_validation_result"
        ),
    )
    op.create_table(
        "openreg_artifact",
        *run_columns(),
        sa.Column("name", sa.String(ID), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("format", sa.String(50), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(SHA256), nullable=False),
        sa.Column("records", sa.BigInteger, nullable=False),
        sa.Column("schema_check", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_artifact"),
        sa.UniqueConstraint(
            "report_id", "business_date", "run_id", "name", name="uq_openreg_artifact"
        ),
    )
    op.create_index("ix_openreg_artifact_sha256", "openreg_artifact", ["sha256"])
    op.create_table(
        "openreg_delivery_attempt",
        *run_columns(),
        sa.Column("route", sa.String(ID), nullable=False),
        sa.Column("artifact", sa.String(ID), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("channel", sa.String(50), nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(SHA256), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", sa.String(20), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("error_class", sa.String(ID)),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_delivery_attempt"),
        sa.UniqueConstraint(
            "report_id",
            "business_date",
            "run_id",
            "route",
            "artifact",
            "attempt",
            name="uq_openreg_delivery_attempt",
        ),
    )
    op.create_index("ix_openreg_delivery_attempt_sha256", "openreg_delivery_attempt", ["sha256"])
    op.create_index(
        "ix_openreg_delivery_attempt_started_at", "openreg_delivery_attempt", ["started_at"]
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("openreg_delivery_attempt")
    op.drop_table("openreg_artifact")
    op.drop_table("openreg_validation_result")
