from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import event

from openreg_airflow.errors import StoreUnavailableError
from openreg_airflow.mappings import reading
from openreg_airflow.mappings.entries import Entries
from openreg_airflow.mappings.importing import upsert
from openreg_airflow.mappings.search import EntryFilter, search
from openreg_airflow.store.audit_trail import verify
from tests.bitemporal_machine import BitemporalMachine
from tests.mappings_contract import ANNA, BERT, MappingsContract, content, venues

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.postgres import PostgresServer


MANUAL = Path(__file__).resolve().parents[2] / "docs" / "mappings.md"


@pytest.fixture
def url(postgres_store: PostgresServer) -> str:
    return postgres_store.url


class TestPostgresql(MappingsContract):
    """The contract in PostgreSQL."""


def test_set_behaves_as_the_simplest_model_of_one(url: str) -> None:
    run_state_machine_as_test(
        lambda: BitemporalMachine(url),
        settings=settings(max_examples=6, stateful_step_count=12, deadline=None, database=None),
    )


@pytest.mark.parametrize("moment", ["while lines are staged", "after the plan"])
def test_database_that_goes_away_in_the_middle_leaves_nothing(
    postgres_store: PostgresServer, url: str, moment: str
) -> None:
    entries = venues(url)
    entries.add({"code": "K1"}, {"mic": "OLD"})
    before = content(url)

    def cut(*_: object) -> None:
        postgres_store.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def given() -> Iterator[tuple[dict[str, str], dict[str, str], None, None]]:
        for number in range(5000):
            if number == 3000 and moment == "while lines are staged":
                cut()
            yield {"code": f"K{number}"}, {"mic": "NEW"}, None, None

    with pytest.raises(StoreUnavailableError):
        upsert(url, "venues", given(), ANNA, told=cut if moment == "after the plan" else None)

    assert content(url) == before
    assert verify(url).broken == 0
    done = upsert(url, "venues", [({"code": "K1"}, {"mic": "NEW"}, None, None)], ANNA)
    assert (done.applied, done.revision) == (True, 2)


def test_set_that_stays_locked_is_tried_again_later(
    postgres_store: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openreg_airflow.mappings.writing.LOCK_SECONDS", 1)
    entries = venues(url)
    with postgres_store.connect() as other:
        other.autocommit = False
        other.cursor().execute("SELECT id FROM openreg_mapping_set FOR UPDATE")
        with pytest.raises(StoreUnavailableError, match="lock timeout"):
            entries.add({"code": "A"}, {"mic": "A"})
    assert entries.add({"code": "A"}, {"mic": "A"}).revision_from == 1


def test_search_for_text_uses_a_trigram_index_where_there_is_one(
    postgres_store: PostgresServer, url: str
) -> None:
    """The statement that the manual gives to admins makes the index that the search needs."""
    venues(url)
    made = (({"code": f"the {n}"}, {"mic": "X"}, None, None) for n in range(10_000))
    upsert(url, "venues", made, ANNA)
    [statement] = re.findall(
        r"CREATE INDEX openreg_mapping_text.*?;", MANUAL.read_text(), re.DOTALL
    )
    postgres_store.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    postgres_store.execute(statement)
    postgres_store.execute("ANALYZE")
    with plans(url) as found:
        assert len(search(url, "venues", EntryFilter(text="HE 7777")).entries) == 1
    assert [plan for plan in found if "Bitmap Index Scan on openreg_mapping_text" in plan], found


def test_records_of_few_changes_are_found_through_these(
    postgres_store: PostgresServer, url: str
) -> None:
    entries = venues(url)
    made = (({"code": f"K{n}"}, {"mic": "A"}, None, None) for n in range(30_000))
    upsert(url, "venues", made, ANNA)
    seen = search(url, "venues", EntryFilter(prefix="K777")).entries[0].id
    for mic in ("B", "C"):
        seen = Entries(url, "venues", BERT).change(seen, value={"mic": mic}).id
    entries.change(seen, value={"mic": "D"})
    postgres_store.execute("ANALYZE")
    with plans(url) as found:
        assert search(url, "venues", EntryFilter(actor="bert")).entries == ()
    assert "set_id_revision_from_key" in found[0], found


@contextmanager
def plans(url: str) -> Iterator[list[str]]:
    """PostgreSQL's plans of what is read of the entries in the block, as it is read."""
    engine, found = reading.ready(url), list[str]()

    def explain(connection: Any, cursor: Any, statement: str, values: Any, *_: object) -> None:
        if "FROM openreg_mapping_entry" in statement:
            cursor.execute(f"EXPLAIN {statement}", values)
            found.append("\n".join(row[0] for row in cursor.fetchall()))

    event.listen(engine, "before_cursor_execute", explain)
    yield found
    event.remove(engine, "before_cursor_execute", explain)
