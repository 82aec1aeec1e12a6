from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.new_store import new_store
from tests.reference_contract import ReferenceContract

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return new_store(tmp_path)


class TestReferencesInSqlite(ReferenceContract):
    """The contract with SQLite."""
