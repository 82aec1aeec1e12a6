from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from openreg_airflow.errors import StoreUnavailableError
from openreg_airflow.store import Store, schema
from tests.delivery_contract import DeliveryContract
from tests.numbering_contract import NumberingContract
from tests.store_contract import RUN, StoreContract, artifact

if TYPE_CHECKING:
    from tests.services.postgres import PostgresServer


@pytest.fixture
def empty_url(postgres: PostgresServer) -> str:
    """A database without tables, whose sessions speak another zone than ours."""
    postgres.execute(f"ALTER DATABASE {postgres.database} SET timezone TO 'Asia/Tokyo'")
    return postgres.url


@pytest.fixture
def url(empty_url: str) -> str:
    schema.upgrade(empty_url)
    return empty_url


class TestNumberingInPostgresql(NumberingContract):
    """The contract of numbering in PostgreSQL."""


class TestDeliveriesInPostgresql(DeliveryContract):
    """The contract of deliveries and answers in PostgreSQL."""


class TestPostgresql(StoreContract):
    """The contract in PostgreSQL."""


def test_no_connection_stays_open(postgres: PostgresServer, url: str) -> None:
    store = Store(url)
    store.record_artifact(RUN, artifact())
    store.artifacts(RUN)

    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    # The server ends a session a moment after its client has gone.
    for _ in range(1000):
        if postgres.execute(query) == [(0,)]:
            return
    pytest.fail("sessions of the store are still open")


def test_wrong_password_is_told_without_the_password(postgres: PostgresServer) -> None:
    url = postgres.url.replace(postgres.password, "s3cret")

    with pytest.raises(StoreUnavailableError, match="cannot be used") as caught:
        Store(url).artifacts(RUN)
    assert "s3cret" not in str(caught.value)
