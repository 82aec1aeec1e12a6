from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2
import pytest

from openreg_airflow.store.audit_trail import verify
from tests.audit_contract import AuditContract, appended, entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.postgres import PostgresServer

TRIGGERS = {
    "openreg_audit": ("openreg_audit_kept",),
    "openreg_audit_head": ("openreg_audit_head_kept", "openreg_audit_head_forward"),
}


@pytest.fixture
def url(postgres_store: PostgresServer) -> str:
    return postgres_store.url


@pytest.fixture
def forge(postgres_store: PostgresServer) -> Callable[[str], None]:
    def execute(statement: str) -> None:
        for table in TRIGGERS:
            postgres_store.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        postgres_store.execute(statement)

    return execute


class TestPostgresql(AuditContract):
    """The contract in PostgreSQL."""


@pytest.mark.parametrize("statement", ["TRUNCATE openreg_audit", "TRUNCATE openreg_audit_head"])
def test_truncate_is_refused(postgres_store: PostgresServer, url: str, statement: str) -> None:
    appended(url, entry())
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="only ever appended"):
        postgres_store.execute(statement)


def test_superuser_in_a_session_that_replicates_is_refused(
    postgres_store: PostgresServer, url: str
) -> None:
    appended(url, entry())
    statements = "SET session_replication_role = replica; DELETE FROM openreg_audit"
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="only ever appended"):
        postgres_store.execute(statements)
    assert verify(url).entries == 1
