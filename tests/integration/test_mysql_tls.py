"""Logins to MariaDB over TLS, with certificates of the tests' own."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyodbc
import pytest

from openreg_airflow.errors import SourceError
from tests.reader_databases import LOGIN, ODBC_DRIVERS, Source, mariadb_source
from tests.services import unavailable
from tests.services.account import account
from tests.services.certificates import Authority
from tests.services.mariadb import MariadbServer, started

if TYPE_CHECKING:
    from collections.abc import Iterator

CIPHER = (
    "SELECT variable_value AS cipher FROM information_schema.session_status "
    "WHERE variable_name = 'Ssl_cipher'"
)


@dataclass(frozen=True)
class Secured:
    """A server with a certificate, the authority that signed it, and one that did not."""

    server: MariadbServer
    authority: Path
    stranger: Path


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    with tempfile.TemporaryDirectory(prefix="openreg-tls-") as name:
        folder = Path(name)
        authority, stranger = Authority(folder), Authority(folder, "stranger")
        pair = authority.pair("server")
        if owner := account("mysql", "nobody"):
            for path in (folder, *folder.iterdir()):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        with started(f"--ssl-cert={pair.certificate}", f"--ssl-key={pair.key}") as server:
            server.execute("CREATE DATABASE secured")
            inside = replace(server, database="secured")
            yield Secured(inside, authority.certificate, stranger.certificate)


@pytest.fixture
def source(secured: Secured, tmp_path: Path) -> Source:
    """A database whose reading login must come over TLS."""
    secured.server.execute("DROP SEQUENCE IF EXISTS s")
    found = mariadb_source(secured.server, tmp_path)
    secured.server.execute(f"ALTER USER {LOGIN}@'%' REQUIRE SSL")
    return found


def through_odbc(source: Source, **extra: Any) -> Any:
    if ODBC_DRIVERS["mariadb"] not in pyodbc.drivers():
        unavailable("the ODBC driver for mariadb is not installed")
    driver = {"driver": ODBC_DRIVERS["mariadb"]}
    return source.elsewhere(conn_type="odbc", extra=driver | extra)


def test_login_over_tls_with_a_known_authority(source: Source, secured: Secured) -> None:
    authority = str(secured.authority)
    for extra in ({"ssl_ca": authority}, {"ssl": {"ca": authority}, "ssl_mode": "VERIFY_IDENTITY"}):
        [row] = source.elsewhere(extra=extra).extract(CIPHER).to_pylist()
        assert row["cipher"]

    odbc = through_odbc(source, SSLCA=authority, SSLVERIFY="1", FORCETLS="1")
    [row] = odbc.extract(CIPHER).to_pylist()
    assert row["cipher"]


def test_certificate_of_a_stranger_is_refused_at_once(source: Source, secured: Secured) -> None:
    stranger = str(secured.stranger)
    for database in (
        source.elsewhere(extra={"ssl_ca": stranger, "ssl_mode": "VERIFY_CA"}),
        through_odbc(source, SSLCA=stranger, SSLVERIFY="1"),
    ):
        with pytest.raises(SourceError, match=r"(?i)certificate|ssl|tls") as caught:
            database.extract(CIPHER)
        assert caught.value.where == "connection trades"


def test_login_that_must_come_over_tls_is_refused_without(source: Source) -> None:
    for database in (source.database, through_odbc(source)):
        with pytest.raises(SourceError, match="refuse"):
            database.extract(CIPHER)
