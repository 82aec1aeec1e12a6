from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError

from openreg_airflow.errors import StoreNotReadyError, StoreUnavailableError
from openreg_airflow.store import Store, schema
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from tests.delivery_contract import DeliveryContract
from tests.numbering_contract import NumberingContract
from tests.store_contract import RUN, StoreContract, artifact
from tests.upgrade_contract import UpgradeContract

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


class TestUpgradesInPostgresql(UpgradeContract):
    """The contract of upgrades in PostgreSQL."""


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


def test_a_server_that_only_reads_is_told_and_tried_again(
    postgres: PostgresServer, url: str
) -> None:
    store = Store(url)
    postgres.execute(f"ALTER DATABASE {postgres.database} SET default_transaction_read_only = on")

    assert store.artifacts(RUN) == ()
    with pytest.raises(StoreUnavailableError, match=r"takes no writes.*read-only") as caught:
        store.record_artifact(RUN, artifact())
    assert artifact().files[0].sha256 not in str(caught.value)


def test_a_login_without_rights_is_told_at_once(postgres: PostgresServer, url: str) -> None:
    name = f"stranger_{postgres.database}"
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{postgres.password}'")
    stranger = Store(url.replace(f"//{postgres.user}:", f"//{name}:"))

    with pytest.raises(StoreNotReadyError, match="refuses this: permission denied for table"):
        stranger.artifacts(RUN)


def test_values_of_records_are_not_in_errors(url: str) -> None:
    engine = connect_engine(parse_url(url))
    query = text("SELECT CAST(:price AS integer)")

    with pytest.raises(DataError) as caught, transaction(engine, write=False) as connection:
        connection.execute(query, {"price": 10**15})
    assert "parameters hidden" in str(caught.value)
    assert str(10**15) not in str(caught.value)


def test_wrong_password_is_told_without_the_password(postgres: PostgresServer) -> None:
    url = postgres.url.replace(postgres.password, "s3cret")

    with pytest.raises(StoreUnavailableError, match="cannot be used") as caught:
        Store(url).artifacts(RUN)
    assert "s3cret" not in str(caught.value)
