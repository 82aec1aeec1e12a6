from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from openreg_airflow.store import schema
from tests.reference_contract import ReferenceContract

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    store = f"sqlite:///{tmp_path}/store.db"
    schema.upgrade(store)
    return store


class TestReferencesInSqlite(ReferenceContract):
    """The contract with SQLite."""
