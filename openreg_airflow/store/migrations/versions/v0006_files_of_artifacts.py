"""Several files per artifact, versions of contents, and sequences of numbers."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ID = 250
SHA256 = 64
RUN = ("report_id", "business_date", "run_id")
#: What stood in the artifact's own row before it could have several files.
FILE: dict[str, Any] = {
    "filename": sa.Text(),
    "uri": sa.Text(),
    "bytes": sa.BigInteger(),
    "sha256": sa.String(SHA256),
}
ATTEMPT = (*RUN, "route", "artifact", "attempt")


def row_id() -> sa.Column[int]:
    """A key that both databases count up."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", kind, primary_key=True, autoincrement=True)


def run_columns() -> tuple[sa.Column[Any], ...]:
    """The columns that every row of a run begins with."""
    return (
        row_id(),
        sa.Column("report_id", sa.String(ID), nullable=False),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("run_id", sa.String(ID), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )


def upgrade() -> None:
    """Create the tables; what was recorded of artifacts goes over to them as one file each."""
    op.create_table(
        "openreg_artifact_file",
        *run_columns(),
        sa.Column("name", sa.String(ID), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("part", sa.Integer, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(SHA256), nullable=False),
        sa.Column("md5", sa.String(32)),
        sa.Column("document_sha256", sa.String(SHA256)),
        sa.Column("records", sa.BigInteger, nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_artifact_file"),
        sa.UniqueConstraint(*RUN, "name", "position", name="uq_openreg_artifact_file"),
    )
    op.create_index("ix_openreg_artifact_file_sha256", "openreg_artifact_file", ["sha256"])
    op.create_table(
        "openreg_artifact_version",
        *run_columns(),
        sa.Column("name", sa.String(ID), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("content", sa.String(SHA256), nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.Column("files", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_artifact_version"),
        sa.UniqueConstraint(
            "report_id", "business_date", "name", "version", name="uq_openreg_artifact_version"
        ),
    )
    _sequences()
    columns = "report_id, business_date, run_id, recorded_at, name, filename, uri, bytes, sha256"
    op.execute(
        f"INSERT INTO openreg_artifact_file ({columns}, position, part, role, records) "  # noqa: S608
        f"SELECT {columns}, 1, 1, 'report', records FROM openreg_artifact"
    )
    _versions()
    _artifacts()
    with op.batch_alter_table("openreg_delivery_attempt") as table:
        table.add_column(sa.Column("position", sa.Integer, nullable=False, server_default="1"))
        table.drop_constraint("uq_openreg_delivery_attempt", type_="unique")
        table.create_unique_constraint("uq_openreg_delivery_attempt", [*ATTEMPT, "position"])
    with op.batch_alter_table("openreg_delivery_attempt") as table:
        table.alter_column("position", server_default=None)


def _sequences() -> None:
    op.create_table(
        "openreg_sequence",
        row_id(),
        sa.Column("name", sa.String(ID), nullable=False),
        sa.Column("period", sa.String(20), nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_sequence"),
        sa.UniqueConstraint("name", "period", name="uq_openreg_sequence"),
    )
    op.create_table(
        "openreg_sequence_number",
        row_id(),
        sa.Column("name", sa.String(ID), nullable=False),
        sa.Column("period", sa.String(20), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("report_id", sa.String(ID)),
        sa.Column("business_date", sa.Date),
        sa.Column("artifact", sa.String(ID)),
        sa.Column("version", sa.Integer),
        sa.Column("part", sa.Integer),
        sa.Column("allocated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openreg_sequence_number"),
        sa.UniqueConstraint("name", "period", "number", name="uq_openreg_sequence_number"),
    )
    op.create_index(
        "ix_openreg_sequence_number_owner",
        "openreg_sequence_number",
        ["report_id", "business_date", "artifact", "version"],
    )


def _versions() -> None:
    """The newest artifact of before for a report and date counts as its first version."""
    connection = op.get_bind()
    columns = "report_id, business_date, run_id, recorded_at, name"
    files = "SELECT {}, sha256, filename, bytes FROM openreg_artifact ORDER BY recorded_at"
    rows = connection.execute(sa.text(files.format(columns)))
    newest = {(row.report_id, row.business_date, row.name): row for row in rows}
    insert = sa.text(
        f"INSERT INTO openreg_artifact_version ({columns}, version, content, parts, finished, "  # noqa: S608
        "files) VALUES (:report_id, :business_date, :run_id, :recorded_at, :name, 1, :content, "
        "1, :finished, :files)"
    )
    for row in newest.values():
        values = dict(row._mapping)  # noqa: SLF001
        file = {name: values.pop(name) for name in ("filename", "bytes", "sha256")}
        values |= {"content": file["sha256"], "finished": True}
        connection.execute(insert, values | {"files": json.dumps([file | {"part": 1}])})


def _artifacts() -> None:
    """Give artifacts their new columns; contents of before are known by their file's hash."""
    op.drop_index("ix_openreg_artifact_sha256", "openreg_artifact")
    with op.batch_alter_table("openreg_artifact") as table:
        table.add_column(sa.Column("version", sa.Integer, nullable=False, server_default="1"))
        table.add_column(sa.Column("content", sa.String(SHA256), nullable=False, server_default=""))
        table.add_column(sa.Column("sequence", sa.String(ID)))
        table.add_column(sa.Column("numbers", sa.JSON, nullable=False, server_default="[]"))
        table.add_column(
            sa.Column("finished", sa.Boolean, nullable=False, server_default=sa.true())
        )
        table.add_column(sa.Column("sidecar", sa.JSON))
        table.add_column(sa.Column("metadata", sa.JSON, nullable=False, server_default="{}"))
    op.execute("UPDATE openreg_artifact SET content = sha256")
    defaults = ("version", "content", "numbers", "finished", "metadata")
    with op.batch_alter_table("openreg_artifact") as table:
        for name in FILE:
            table.drop_column(name)
        for name in defaults:
            table.alter_column(name, server_default=None)
    op.create_index("ix_openreg_artifact_content", "openreg_artifact", ["content"])


def downgrade() -> None:
    """Put artifacts back as they were; of one with several files the first one stays."""
    with op.batch_alter_table("openreg_delivery_attempt") as table:
        table.drop_constraint("uq_openreg_delivery_attempt", type_="unique")
    op.execute("DELETE FROM openreg_delivery_attempt WHERE position > 1")
    with op.batch_alter_table("openreg_delivery_attempt") as table:
        table.drop_column("position")
        table.create_unique_constraint("uq_openreg_delivery_attempt", list(ATTEMPT))
    op.drop_index("ix_openreg_artifact_content", "openreg_artifact")
    with op.batch_alter_table("openreg_artifact") as table:
        for name in (
            "version", "content", "sequence", "numbers", "finished", "sidecar", "metadata"
        ):  # fmt: skip
            table.drop_column(name)
        for name, kind in FILE.items():
            table.add_column(sa.Column(name, kind))
    for name in FILE:
        op.execute(
            f"UPDATE openreg_artifact SET {name} = (SELECT f.{name} "  # noqa: S608
            "FROM openreg_artifact_file AS f WHERE f.report_id = openreg_artifact.report_id "
            "AND f.business_date = openreg_artifact.business_date "
            "AND f.run_id = openreg_artifact.run_id "
            "AND f.name = openreg_artifact.name AND f.position = 1)"
        )
    op.execute("DELETE FROM openreg_artifact WHERE uri IS NULL")
    with op.batch_alter_table("openreg_artifact") as table:
        for name in FILE:
            table.alter_column(name, nullable=False)
    op.create_index("ix_openreg_artifact_sha256", "openreg_artifact", ["sha256"])
    for name in ("sequence_number", "sequence", "artifact_version", "artifact_file"):
        op.drop_table(f"openreg_{name}")
