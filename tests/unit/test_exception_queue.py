from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.exception_contract import ExceptionContract
from tests.exception_runs import Desk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


class TestSqlite(ExceptionContract):
    """The contract in SQLite."""
