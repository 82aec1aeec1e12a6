"""Stores in PostgreSQL for tests, copied from one that was migrated once."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from openreg_airflow.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.postgres import PostgresServer


@pytest.fixture(scope="session")
def store_template(postgres_server: PostgresServer) -> str:
    """A database with the store's tables, whose sessions speak another zone than ours."""
    name = f"template_{secrets.token_hex(4)}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    postgres_server.execute(f"ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'")
    schema.upgrade(replace(postgres_server, database=name).url)
    return name


@pytest.fixture
def postgres_store(
    postgres_server: PostgresServer, store_template: str
) -> Iterator[PostgresServer]:
    """The cluster with a store of the test's own, dropped afterwards."""
    name = f"store_{secrets.token_hex(6)}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE {store_template}")
    yield replace(postgres_server, database=name)
    postgres_server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
