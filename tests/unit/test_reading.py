"""How a query is read in a thread of its own, whatever the database."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from tests.reader_databases import sqlite_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def threshold() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


@pytest.mark.parametrize(("given", "found"), [(700, 50_000), (0, 0), (90_000, 90_000)])
def test_rows_are_seldom_looked_through_for_cycles(
    tmp_path: Path, threshold: tuple[int, int, int], given: int, found: int
) -> None:
    gc.set_threshold(given, *threshold[1:])

    sqlite_source(tmp_path).database.done("SELECT 1 AS a")

    assert gc.get_threshold() == (found, *threshold[1:])
