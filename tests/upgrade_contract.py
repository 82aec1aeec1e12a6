"""What upgrades keep in every database of the store; run by one test class a database.

Rows are written into the tables of each released revision as that revision made them.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from openreg_airflow.deliver.journal import LedgerJournal
from openreg_airflow.errors import StoreNotReadyError
from openreg_airflow.store import Store, schema
from openreg_airflow.store.acknowledgements import Acknowledgements
from openreg_airflow.store.audit_trail import verify
from openreg_airflow.store.deliveries import Deliveries
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.mapping_runs import MappingRuns
from tests.audit_contract import appended, entry
from tests.store_contract import RUN, SHA

#: Rows by table, in the order of their keys.
Rows = dict[str, list[dict[str, Any]]]

PLACE = "cd" * 32
#: What means something to the code; any other column takes what is at the limits of its type.
SAID: dict[str, Any] = {
    **RUN.model_dump(),
    "sha256": SHA,
    "content": SHA,
    "place": PLACE,
    "severity": "warning",
    "route": "regulator",
    "artifact": "transactions",
    "name": "transactions",
}
OF_TABLE: dict[str, dict[str, Any]] = {
    "openreg_delivery_attempt": {"result": "delivered"},
    "openreg_delivery": {"state": "delivered", "temporary": None},
    "openreg_acknowledgement": {"state": "partly accepted"},
    "openreg_feedback_file": {"result": "read"},
    "openreg_record_answer": {"status": "rejected", "reference": "R1"},
    "openreg_validation_result": {"failures": None, "detail": {}},
    "openreg_extract": {"detail": {"parameters": {}, "columns": []}},
    "openreg_mapping_snapshot": {"detail": {"keys": [], "values": []}},
}
#: Tables that hold what they must from the start, or what only their own functions may write.
OWN = (schema.VERSION_TABLE, "openreg_audit", "openreg_audit_head")
#: Revisions that made tables, the last before each that changed some.
STEPS = ("0001", "0004", "0005", "0008", "0010", "0012", "0014")
DIES = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from openreg_airflow.store import schema
left = int(sys.argv[2])
@event.listens_for(Engine, "before_cursor_execute")
def die(*_):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
schema.upgrade(sys.argv[1])
"""


class UpgradeContract:
    """Needs a fixture ``empty_url``: a database without tables."""

    def test_rows_of_every_revision_outlive_all_upgrades(self, empty_url: str) -> None:
        written: Rows = {}
        for revision in STEPS:
            migrate(empty_url, revision)
            written |= fill(empty_url, but=written)
            if revision == "0004":
                appended(empty_url, entry(), entry("b"))
        with pytest.raises(StoreNotReadyError, match=f"at revision {revision}") as caught:
            Store(empty_url).artifacts(RUN)
        assert "openreg db upgrade" in str(caught.value.hint)

        assert schema.upgrade(empty_url) == (revision, schema.REVISION)

        kept = rows(empty_url)
        assert {name: len(found) for name, found in kept.items() if name in written} == {
            name: len(found) for name, found in written.items()
        }
        [moved] = written["openreg_artifact"]
        for name, found in written.items():
            for before, after in zip(found, kept[name], strict=True):
                known = {column: value for column, value in before.items() if column in after}
                assert {column: after[column] for column in known} == known, name
                gone = {"filename", "uri", "bytes", "sha256"} if name == "openreg_artifact" else ()
                assert before.keys() - after.keys() == set(gone)
        self._means_the_same(empty_url, moved)

    def _means_the_same(self, url: str, moved: dict[str, Any]) -> None:
        [artifact] = Store(url).artifacts(RUN)
        [file] = artifact.files
        assert (file.filename, file.uri, file.bytes, file.sha256, file.records) == (
            moved["filename"], moved["uri"], moved["bytes"], SHA, moved["records"],
        )  # fmt: skip
        assert [attempt.result for attempt in Store(url).attempts(RUN)] == ["delivered"]
        assert verify(url).broken == 0
        assert verify(url).entries == 2
        store = Deliveries(url)
        [known] = store.at(PLACE)
        assert LedgerJournal(store, known).delivered_before() == known
        acks = Acknowledgements(url)
        [answer] = acks.answers(RUN, "regulator", "transactions")
        assert (answer.status, answer.reference, answer.row) == ("rejected", "R1", -1)
        assert len(acks.files(RUN, "regulator", "transactions")) == 1
        assert len(acks.of_run(RUN, "regulator", "transactions")) == 1
        assert len(MappingRuns(url).snapshots(RUN)) == 1

    def test_upgrade_that_is_killed_is_done_by_the_next(self, empty_url: str) -> None:
        migrate(empty_url, "0005")
        written = fill(empty_url, but={})
        dead = subprocess.run([sys.executable, "-c", DIES, empty_url, "60"], check=False).returncode
        assert dead == -9
        assert schema.current(empty_url) == "0005"
        assert rows(empty_url)["openreg_artifact"] == written["openreg_artifact"]

        assert schema.upgrade(empty_url) == ("0005", schema.REVISION)
        assert len(rows(empty_url)["openreg_artifact_file"]) == 1


def migrate(url: str, revision: str) -> None:
    """Bring a store to a revision of before."""
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    parsed = parse_url(url)
    with schema._alone(parsed), transaction(connect_engine(parsed), write=True) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def fill(url: str, *, but: Rows) -> Rows:
    """Write a row into every empty table but some; and give the others as they are read."""
    with transaction(connect_engine(parse_url(url)), write=True) as connection:
        for table in _tables(connection):
            there = connection.scalar(sa.select(sa.func.count()).select_from(table))
            if not there and table.name not in but and table.name not in OWN:
                said = SAID | OF_TABLE.get(table.name, {})
                row = {
                    column.name: said[column.name] if column.name in said else _value(column)
                    for column in table.columns
                }
                connection.execute(table.insert(), row)
    return {name: found for name, found in rows(url).items() if name not in {*but, *OWN}}


def rows(url: str) -> Rows:
    """Every row of the store."""
    with transaction(connect_engine(parse_url(url)), write=False) as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    sa.select(table).order_by(*table.primary_key.columns)
                ).mappings()
            ]
            for table in _tables(connection)
        }


def _tables(connection: sa.Connection) -> list[sa.Table]:
    metadata = sa.MetaData()
    metadata.reflect(connection, only=lambda name, _: name.startswith("openreg_"))
    return metadata.sorted_tables


def _value(column: sa.Column[Any]) -> Any:
    kind = column.type
    if isinstance(kind, sa.JSON):
        return {"Ä": [2**53, None]}
    if isinstance(kind, sa.Boolean):
        return True
    if isinstance(kind, sa.Date):
        return date(2024, 2, 29)
    if isinstance(kind, sa.DateTime):
        instant = datetime(2026, 3, 2, 21, 59, 59, 999999, tzinfo=UTC)
        return instant if kind.timezone else instant.replace(tzinfo=None)
    if isinstance(kind, sa.Float):
        return 0.1
    if isinstance(kind, sa.BigInteger):
        return 9_000_000_000
    if isinstance(kind, sa.Integer):
        return 7
    return "Ä😀 '\";".ljust(getattr(kind, "length", None) or 5000, "x")
