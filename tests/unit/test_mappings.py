from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from openreg_airflow.store import schema
from tests.bitemporal_machine import BitemporalMachine
from tests.mappings_contract import MappingsContract

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("mappings") / "store.db"
    schema.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def url(upgraded: Path, tmp_path: Path) -> str:
    file = tmp_path / "store.db"
    file.write_bytes(upgraded.read_bytes())
    return f"sqlite:///{file}"


class TestSqlite(MappingsContract):
    """The contract in SQLite."""


def test_set_behaves_as_the_simplest_model_of_one(url: str) -> None:
    run_state_machine_as_test(
        lambda: BitemporalMachine(url),
        settings=settings(max_examples=25, stateful_step_count=12, deadline=None, database=None),
    )
