from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event

from openreg_airflow.exception_queue.decisions import release
from openreg_airflow.exception_queue.intake import Intake
from openreg_airflow.exception_queue.listing import Wanted, find
from openreg_airflow.exception_queue.parting import AsideRecord
from openreg_airflow.exception_queue.rows import queue_transaction
from openreg_airflow.store.actor import Actor
from tests.exception_contract import ExceptionContract
from tests.exception_runs import Desk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.postgres import PostgresServer


@pytest.fixture
def desk(tmp_path: Path, postgres: PostgresServer) -> Desk:
    return Desk(tmp_path, postgres.url)


class TestPostgresql(ExceptionContract):
    """The contract in PostgreSQL."""


def test_items_are_looked_up_by_their_keys_while_many_are_inserted(desk: Desk) -> None:
    """The server has no statistics of them yet; else the time would grow with their square."""
    records = (
        AsideRecord(table="trades", key=(number,), occurrence=1, position=number, values={})
        for number in range(3000)
    )
    asked: list[tuple[str, Any]] = []
    with queue_transaction(desk.url, write=True) as connection:
        event.listen(
            connection.engine,
            "before_cursor_execute",
            lambda *given: asked.append((given[2], given[3])),
        )
        assert Intake(connection, desk.key("run"), "acknowledge", "authority").take_back(records)
        query, given = next(one for one in reversed(asked) if "LATERAL" in one[0])
        plan = connection.exec_driver_sql(f"EXPLAIN {query}", given).scalars().all()
    [found] = [line for line in plan if "Index Cond" in line]
    assert "key_sha256" in found, plan


def test_decision_made_while_a_record_gets_other_values_is_counted_in_its_version(
    desk: Desk,
) -> None:
    """Else somebody who saw the old values with the decision could decide about the new ones."""
    desk.source_run("first", {"T1": "-1"})
    [seen] = find(desk.url, Wanted())
    decided: list[int] = []

    def decide(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE openreg_exception ") and not decided:
            decided.append(0)
            release(desk.url, {seen.id: seen.version}, Actor("clerk", "a test"), "as agreed")

    event.listen(Engine, "before_cursor_execute", decide)
    try:
        desk.source_run("second", {"T1": "-2"})
    finally:
        event.remove(Engine, "before_cursor_execute", decide)

    [found] = find(desk.url, Wanted())
    assert decided
    assert (found.state, found.version) == ("pending", seen.version + 2)
