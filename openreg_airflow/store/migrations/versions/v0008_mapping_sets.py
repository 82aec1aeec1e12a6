"""Mapping sets: entries on two time lines, which the database keeps from being overwritten."""

from __future__ import annotations

from textwrap import dedent

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

ID = 250
CURRENT = 2**63 - 1
CHANGED = " OR ".join(
    f"NEW.{column} <> OLD.{column}"
    for column in (
        "id", "set_id", "key", "value", "effective_from", "effective_to", "revision_from",
    )
)  # fmt: skip
POSTGRESQL = (
    """
    CREATE FUNCTION openreg_mapping_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% refuses %: what was recorded is never overwritten',
            TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    f"""
    CREATE TRIGGER openreg_mapping_entry_once BEFORE UPDATE ON openreg_mapping_entry
        FOR EACH ROW WHEN (OLD.revision_to <> {CURRENT} OR {CHANGED})
        EXECUTE FUNCTION openreg_mapping_refuse()
    """,
    """
    CREATE TRIGGER openreg_mapping_entry_kept BEFORE DELETE OR TRUNCATE ON openreg_mapping_entry
        FOR EACH STATEMENT EXECUTE FUNCTION openreg_mapping_refuse()
    """,
    """
    CREATE TRIGGER openreg_mapping_revision_kept
        BEFORE UPDATE OR DELETE OR TRUNCATE ON openreg_mapping_revision
        FOR EACH STATEMENT EXECUTE FUNCTION openreg_mapping_refuse()
    """,
)
SQLITE = (
    f"""
    CREATE TRIGGER openreg_mapping_entry_once BEFORE UPDATE ON openreg_mapping_entry
    WHEN OLD.revision_to <> {CURRENT} OR {CHANGED}
    BEGIN SELECT RAISE(ABORT, 'what was recorded is never overwritten'); END
    """,
    """
    CREATE TRIGGER openreg_mapping_entry_kept BEFORE DELETE ON openreg_mapping_entry
    BEGIN SELECT RAISE(ABORT, 'what was recorded is never overwritten'); END
    """,
    """
    CREATE TRIGGER openreg_mapping_revision_once BEFORE UPDATE ON openreg_mapping_revision
    BEGIN SELECT RAISE(ABORT, 'what was recorded is never overwritten'); END
    """,
    """
    CREATE TRIGGER openreg_mapping_revision_kept BEFORE DELETE ON openreg_mapping_revision
    BEGIN SELECT RAISE(ABORT, 'what was recorded is never overwritten'); END
    """,
)


def upgrade() -> None:
    """Create the tables and their triggers."""
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    _sets(row_id)
    _entries(row_id)
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.execute(dedent(statement))


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("openreg_mapping_entry")
    op.drop_table("openreg_mapping_revision")
    op.drop_table("openreg_mapping_set")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION openreg_mapping_refuse")


def _sets(row_id: sa.types.TypeEngine[int]) -> None:
    op.create_table(
        "openreg_mapping_set",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.String(ID), nullable=False),
        sa.Column("name", sa.String(ID), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("shape", sa.JSON, nullable=False),
        sa.Column("read_only", sa.Boolean, nullable=False),
        sa.Column("source", sa.Text),
        sa.Column("source_date", sa.Date),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("edition", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_mapping_set"),
        sa.UniqueConstraint("tenant", "name", name="uq_openreg_mapping_set"),
    )
    op.create_table(
        "openreg_mapping_revision",
        sa.Column("set_id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("added", sa.BigInteger, nullable=False),
        sa.Column("audit_sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("set_id", "revision", name="pk_openreg_mapping_revision"),
    )
    for column in ("recorded_at", "actor"):
        op.create_index(
            f"ix_openreg_mapping_revision_set_id_{column}",
            "openreg_mapping_revision",
            ["set_id", column],
        )


def _entries(row_id: sa.types.TypeEngine[int]) -> None:
    plain = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "openreg_mapping_entry",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("set_id", sa.BigInteger, nullable=False),
        sa.Column("key", plain, nullable=False),
        sa.Column("value", plain, nullable=False),
        sa.Column("effective_from", sa.Date, nullable=False),
        sa.Column("effective_to", sa.Date, nullable=False),
        sa.Column("revision_from", sa.BigInteger, nullable=False),
        sa.Column("revision_to", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_mapping_entry"),
        sa.UniqueConstraint(
            "set_id", "key", "effective_from", "revision_to", name="uq_openreg_mapping_entry"
        ),
    )
    op.create_index(
        "ix_openreg_mapping_entry_set_id_revision_from_key",
        "openreg_mapping_entry",
        ["set_id", "revision_from", "key"],
    )
    past = sa.text(f"revision_to < {CURRENT}")
    op.create_index(
        "ix_openreg_mapping_entry_set_id_revision_to_key",
        "openreg_mapping_entry",
        ["set_id", "revision_to", "key"],
        postgresql_where=past,
        sqlite_where=past,
    )
