"""The audit trail, which the database itself keeps from being rewritten."""

from __future__ import annotations

from textwrap import dedent

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

SHA256 = 64
POSTGRESQL = (
    """
    CREATE FUNCTION openreg_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% refuses %: the audit trail is only ever appended to',
            TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    """
    CREATE FUNCTION openreg_audit_forward() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.id <> OLD.id OR NEW.sequence < OLD.sequence
            OR (NEW.sequence = OLD.sequence AND NEW.sha256 <> OLD.sha256) THEN
            RAISE EXCEPTION 'openreg_audit_head only goes forward'
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER openreg_audit_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON openreg_audit
        FOR EACH STATEMENT EXECUTE FUNCTION openreg_audit_refuse()
    """,
    """
    CREATE TRIGGER openreg_audit_head_kept BEFORE DELETE OR TRUNCATE ON openreg_audit_head
        FOR EACH STATEMENT EXECUTE FUNCTION openreg_audit_refuse()
    """,
    """
    CREATE TRIGGER openreg_audit_head_forward BEFORE UPDATE ON openreg_audit_head
        FOR EACH ROW EXECUTE FUNCTION openreg_audit_forward()
    """,
    # Also where a session says that it replicates, which would switch triggers off.
    "ALTER TABLE openreg_audit ENABLE ALWAYS TRIGGER openreg_audit_kept",
    "ALTER TABLE openreg_audit_head ENABLE ALWAYS TRIGGER openreg_audit_head_kept",
    "ALTER TABLE openreg_audit_head ENABLE ALWAYS TRIGGER openreg_audit_head_forward",
)
SQLITE = (
    """
    CREATE TRIGGER openreg_audit_no_update BEFORE UPDATE ON openreg_audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only ever appended to'); END
    """,
    """
    CREATE TRIGGER openreg_audit_no_delete BEFORE DELETE ON openreg_audit
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only ever appended to'); END
    """,
    # INSERT OR REPLACE removes rows without asking the trigger above.
    """
    CREATE TRIGGER openreg_audit_no_replace BEFORE INSERT ON openreg_audit
    WHEN EXISTS (SELECT 1 FROM openreg_audit WHERE sequence = NEW.sequence)
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only ever appended to'); END
    """,
    """
    CREATE TRIGGER openreg_audit_head_no_delete BEFORE DELETE ON openreg_audit_head
    BEGIN SELECT RAISE(ABORT, 'the audit trail is only ever appended to'); END
    """,
    """
    CREATE TRIGGER openreg_audit_head_one BEFORE INSERT ON openreg_audit_head
    WHEN EXISTS (SELECT 1 FROM openreg_audit_head)
    BEGIN SELECT RAISE(ABORT, 'the audit trail has one head'); END
    """,
    """
    CREATE TRIGGER openreg_audit_head_forward BEFORE UPDATE ON openreg_audit_head
    WHEN NEW.id <> OLD.id OR NEW.sequence < OLD.sequence
        OR (NEW.sequence = OLD.sequence AND NEW.sha256 <> OLD.sha256)
    BEGIN SELECT RAISE(ABORT, 'openreg_audit_head only goes forward'); END
    """,
)


def upgrade() -> None:
    """Create the tables, their first head and the triggers."""
    op.create_table(
        "openreg_audit",
        sa.Column("sequence", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("previous", sa.String(SHA256), nullable=False),
        sa.Column("sha256", sa.String(SHA256), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_openreg_audit"),
    )
    op.create_index("ix_openreg_audit_kind_subject", "openreg_audit", ["kind", "subject"])
    op.create_index("ix_openreg_audit_actor", "openreg_audit", ["actor"])
    op.create_index("ix_openreg_audit_recorded_at", "openreg_audit", ["recorded_at"])
    head = op.create_table(
        "openreg_audit_head",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(SHA256), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_audit_head"),
    )
    op.bulk_insert(head, [{"id": 1, "sequence": 0, "sha256": "0" * SHA256}])
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.execute(dedent(statement))


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("openreg_audit_head")
    op.drop_table("openreg_audit")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION openreg_audit_forward")
        op.execute("DROP FUNCTION openreg_audit_refuse")
