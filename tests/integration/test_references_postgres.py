from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reference_contract import ReferenceContract

if TYPE_CHECKING:
    from tests.services.postgres import PostgresServer


@pytest.fixture
def url(postgres_store: PostgresServer) -> str:
    return postgres_store.url


class TestReferencesInPostgres(ReferenceContract):
    """The contract with PostgreSQL."""
