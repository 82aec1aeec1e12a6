from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import event

from openreg_airflow.mappings import reading
from openreg_airflow.mappings.history import history
from openreg_airflow.mappings.importing import import_file, upsert
from openreg_airflow.mappings.search import EntryFilter, search
from tests.bitemporal_machine import BitemporalMachine
from tests.mappings_contract import ANNA, BERT, MappingsContract, content, venues, write
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return new_store(tmp_path)


class TestSqlite(MappingsContract):
    """The contract in SQLite."""


def test_set_behaves_as_the_simplest_model_of_one(url: str) -> None:
    run_state_machine_as_test(
        lambda: BitemporalMachine(url),
        settings=settings(max_examples=15, stateful_step_count=12, deadline=None, database=None),
    )


def test_process_that_is_killed_in_the_middle_leaves_nothing(url: str, tmp_path: Path) -> None:
    venues(url).add({"code": "A"}, {"mic": "OLD"})
    file = write(tmp_path / "v.csv", "code,mic", "A,NEW", "B,NEW")
    code = (
        "import os, pathlib, sys\n"
        "from openreg_airflow.mappings import importing\n"
        "from tests.mappings_contract import ANNA\n"
        "importing.finish = lambda *_: os._exit(9)\n"
        "importing.import_file(sys.argv[1], 'venues', pathlib.Path(sys.argv[2]), ANNA)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, url, str(file)], check=False).returncode == 9
    assert content(url) == [("A", "OLD", None, None)]
    assert import_file(url, "venues", file, ANNA).revision == 2


@pytest.fixture
def plans(url: str) -> Iterator[list[str]]:
    """SQLite's plans of what is read of the entries, as it is read."""
    engine, found = reading.ready(url), []

    def explain(connection: Any, cursor: Any, statement: str, values: Any, *_: object) -> None:
        if "FROM openreg_mapping_entry" in statement and "max(" not in statement:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            found.append(" ".join(row[3] for row in cursor.fetchall()))

    event.listen(engine, "before_cursor_execute", explain)
    yield found
    event.remove(engine, "before_cursor_execute", explain)


def test_pages_of_many_entries_are_found_through_an_index(url: str, plans: list[str]) -> None:
    venues(url)
    upsert(
        url, "venues", (({"code": f"K{n}"}, {"mic": "A"}, None, None) for n in range(5100)), ANNA
    )
    then = datetime.now(UTC)
    upsert(url, "venues", [({"code": "K7"}, {"mic": "rare"}, None, None)], BERT)
    for wanted in (
        EntryFilter(),
        EntryFilter(prefix="K12"),
        EntryFilter(business_date=date(2026, 3, 31)),
        EntryFilter(actor="anna"),
        EntryFilter(actor="bert"),
        EntryFilter(changed_since=datetime(2000, 1, 1, tzinfo=UTC)),
        EntryFilter(recorded_at=then),
        EntryFilter(recorded_at=then, business_date=date(2026, 3, 31)),
    ):
        plans.clear()
        page = search(url, "venues", wanted)
        assert page.entries
        assert plans
        assert not [plan for plan in plans if "SCAN openreg_mapping_entry" in plan], plans
        assert "TEMP B-TREE" not in plans[-1] or wanted.actor == "bert", plans
    assert len(search(url, "venues", EntryFilter(text="rare")).entries) == 1
    assert search(url, "venues", EntryFilter(text="k5099")).entries[0].key == {"code": "K5099"}


def test_one_entry_of_many_is_changed_and_told_without_a_look_at_the_others(
    url: str, plans: list[str]
) -> None:
    entries = venues(url)
    first = entries.add({"code": "A"}, {"mic": "A"})
    plans.clear()
    entries.change(first.id, value={"mic": "B"})
    told = history(url, "venues", {"code": "A"})
    assert [one.entry.value["mic"] for one in told] == ["A", "B"]
    assert [plan for plan in plans if "revision_to>? AND revision_to<?" in plan]
    # What is bound by nothing but the set is all of it.
    wide = re.compile(r"SCAN|\(set_id=\?\)|\(set_id=\? AND revision_to<")
    assert not [plan for plan in plans if wide.search(plan)], plans
