from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from openreg_airflow.errors import StoreUnavailableError
from openreg_airflow.mappings.importing import upsert
from openreg_airflow.mappings.search import EntryFilter, search
from openreg_airflow.store.audit_trail import verify
from tests.bitemporal_machine import BitemporalMachine
from tests.mappings_contract import ANNA, MappingsContract, content, venues

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.postgres import PostgresServer


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
    [statement] = re.findall(
        r"CREATE INDEX openreg_mapping_text.*?;", Path("docs/mappings.md").read_text(), re.DOTALL
    )
    with postgres_store.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute(statement)
        cursor.execute("SET enable_seqscan = off; SET enable_indexscan = off")
        cursor.execute(
            "EXPLAIN SELECT id FROM openreg_mapping_entry "
            "WHERE key || '\x1f' || value ILIKE '%venue%' ESCAPE '\\'"
        )
        assert "openreg_mapping_text" in str(cursor.fetchall())
    upsert(url, "venues", [({"code": "the venue"}, {"mic": "X"}, None, None)], ANNA)
    assert len(search(url, "venues", EntryFilter(text="E VEN")).entries) == 1
