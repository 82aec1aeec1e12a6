from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from openreg_airflow.store import schema
from tests.bitemporal_machine import BitemporalMachine
from tests.mappings_contract import MappingsContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.postgres import PostgresServer


@pytest.fixture(scope="session")
def template(postgres_server: PostgresServer) -> str:
    """A database with the store's tables, which tests copy."""
    name = f"template_{secrets.token_hex(4)}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    postgres_server.execute(f"ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'")
    schema.upgrade(postgres_server.url.replace("/postgres", f"/{name}"))
    return name


@pytest.fixture
def url(postgres_server: PostgresServer, template: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield postgres_server.url.replace("/postgres", f"/{name}")
    postgres_server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class TestPostgresql(MappingsContract):
    """The contract in PostgreSQL."""


def test_set_behaves_as_the_simplest_model_of_one(url: str) -> None:
    run_state_machine_as_test(
        lambda: BitemporalMachine(url),
        settings=settings(max_examples=6, stateful_step_count=12, deadline=None, database=None),
    )
