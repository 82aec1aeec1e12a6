from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from openreg_airflow.errors import MappingError
from openreg_airflow.mappings.proof import verify_revisions
from tests.mappings_contract import venues
from tests.new_store import new_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE openreg_mapping_entry SET value = 'XXXX' WHERE id = 1", "change 1 has other"),
        ("UPDATE openreg_mapping_entry SET effective_to = '2026-04-01' WHERE id = 2", "change 2"),
        ("DELETE FROM openreg_mapping_entry WHERE id = 1", "change 1 has other"),
        ("UPDATE openreg_mapping_entry SET revision_to = 9 WHERE id = 1", "change 2 has other"),
        ("UPDATE openreg_mapping_revision SET audit_sequence = 1", "no entry in the audit trail"),
        ("DELETE FROM openreg_mapping_revision WHERE revision = 1", "change 1 was removed"),
        ("DELETE FROM openreg_mapping_revision WHERE revision = 2", "the last on record is 1"),
        ("DELETE FROM openreg_mapping_revision", "the last on record is 0"),
    ],
)
def test_entries_that_were_written_past_the_product_are_found(
    tmp_path: Path, statement: str, found: str
) -> None:
    url = new_store(tmp_path)
    entries = venues(url)
    entries.change(entries.add({"code": "FFM"}, {"mic": "XFRA"}).id, value={"mic": "XETR"})
    assert verify_revisions(url, "venues") == (2, ())
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (trigger,) in connection.execute(query).fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(statement)
        connection.commit()

    assert any(found in line for line in verify_revisions(url)[1])


def test_set_that_is_not_there_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="no mapping set 'venues'"):
        verify_revisions(new_store(tmp_path), "venues")
