from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
