from __future__ import annotations

import os
import pwd
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from openreg_airflow.formula import guarded, unguarded
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.audit import GENESIS, digest
from openreg_airflow.store.audit_trail import verify
from tests.audit_contract import AuditContract, appended, entry
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return new_store(tmp_path)


@pytest.fixture
def forge(url: str) -> Callable[[str], None]:
    def execute(statement: str) -> None:
        with closing(sqlite3.connect(str(make_url(url).database))) as connection:
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute(statement)
            connection.commit()

    return execute


class TestSqlite(AuditContract):
    """The contract in SQLite."""


def test_replacing_rows_is_refused_too(url: str) -> None:
    appended(url, entry())
    with (
        closing(sqlite3.connect(str(make_url(url).database))) as connection,
        pytest.raises(sqlite3.IntegrityError, match="only ever appended"),
    ):
        connection.execute("INSERT OR REPLACE INTO openreg_audit SELECT * FROM openreg_audit")


@pytest.mark.parametrize(
    "spoilt", ["recorded_at = 'long ago'", "before = x'00ff'", "after = 7", "sequence = 1.5"]
)
def test_values_of_another_kind_are_found(
    url: str, forge: Callable[[str], None], spoilt: str
) -> None:
    appended(url, entry())
    forge(f"UPDATE openreg_audit SET {spoilt}")
    assert verify(url).broken >= 1


def test_hash_is_the_documented_one() -> None:
    row = {
        "sequence": 1, "recorded_at": datetime(2026, 3, 31, 8, 15, 0, 1, tzinfo=UTC),
        "actor": "anna", "origin": "API from 192.0.2.7", "action": "create",
        "kind": "mapping set", "subject": "börsen", "before": None, "after": '{"a":1}',
        "previous": GENESIS,
    }  # fmt: skip
    assert digest(row) == "871c46a1b5c587eb871981047cfdd09735528fc2952c1817c0662852bf806e26"


def test_command_line_is_known_by_its_account_not_by_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")

    actor = Actor.of_command_line()

    assert actor.name == pwd.getpwuid(os.getuid()).pw_name
    assert actor.origin.startswith("command line on ")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("-1.5", "-1.5"), ("+7", "+7"),
        ("-2+3", "'-2+3"), ("'=x", "''=x"), ("it's", "it's"), ("'quoted'", "'quoted'"),
        ("\t=x", "'\t=x"), ("＝x", "'＝x"), ("", ""),
    ],
)  # fmt: skip
def test_cells_that_a_spreadsheet_would_execute_are_guarded(text: str, cell: str) -> None:
    assert guarded(text) == cell
    assert unguarded(cell) == text


@given(st.text(alphabet="'=+-@1a\t＝", max_size=6))
def test_guarding_can_always_be_taken_back(text: str) -> None:
    assert unguarded(guarded(text)) == text
