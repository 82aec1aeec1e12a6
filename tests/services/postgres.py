"""A private PostgreSQL cluster: made, started and stopped by the tests themselves."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from tests.services import free_port, unavailable
from tests.services.account import account, as_account

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACCOUNTS = ("postgres", "nobody")
_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class PostgresServer:
    """A running cluster. ``user`` is its superuser; logins need the password."""

    folder: Path
    binaries: Path
    port: int
    password: str
    host: str = "127.0.0.1"
    user: str = "openreg"
    database: str = "postgres"

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the superuser."""
        return (
            f"postgresql+psycopg2://{self.user}:{self.password}"
            f"@{self.host}:{self.port}/{self.database}"
        )

    @contextmanager
    def connect(self, **options: Any) -> Iterator[Any]:
        """Give an autocommitting psycopg2 connection; ``options`` override the superuser's."""
        given = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
        } | options
        with closing(psycopg2.connect(**given)) as connection:
            connection.autocommit = True
            yield connection

    def execute(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement as superuser; return its rows, if it has any."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def restart(self) -> None:
        """Stop the cluster, breaking every session, and start it again on the same port."""
        _ctl(self, "restart", "-m", "immediate")

    def stop(self) -> None:
        """Stop the cluster at once, breaking every session."""
        _ctl(self, "stop", "-m", "immediate")

    def start(self) -> None:
        """Start the stopped cluster again on the same port."""
        _ctl(self, "start")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The cluster itself, for a test that breaks or configures it; most want ``postgres``."""
    with started() as server:
        yield server


@contextmanager
def started() -> Iterator[PostgresServer]:
    """Give a new cluster that runs and is gone after the block."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="openreg-postgres-"))
    server = PostgresServer(folder, binaries, free_port(), secrets.token_urlsafe(12))
    with _cleared_away(server):
        _make(server)
        server.start()
        yield server


@contextmanager
def _cleared_away(server: PostgresServer) -> Iterator[None]:
    """Stop the cluster and remove its files after the block, also when the tests are killed.

    A shell waits for the end of its input, which comes when this process ends in whatever way.
    """
    stop = 'read -r _; "$1" stop -s -m immediate -D "$2/data" 2>/dev/null; rm -rf "$2"'
    guard = subprocess.Popen(
        ["sh", "-c", stop, "sh", str(server.binaries / "pg_ctl"), str(server.folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,
        **as_account(account(*_ACCOUNTS)),
    )
    try:
        yield
    finally:
        assert guard.stdin
        guard.stdin.close()
        guard.wait(60)
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """The cluster with a database of the test's own, dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    server = postgres_server
    yield PostgresServer(
        server.folder, server.binaries, server.port, server.password, database=name
    )
    postgres_server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _make(server: PostgresServer) -> None:
    owner = account(*_ACCOUNTS)
    if owner:
        os.chown(server.folder, owner.pw_uid, owner.pw_gid)
    secret = server.folder / "password"
    secret.write_text(server.password)
    if owner:
        os.chown(secret, owner.pw_uid, owner.pw_gid)
    _run(
        server,
        server.binaries / "initdb",
        "--pgdata", server.folder / "data",
        "--username", server.user,
        "--pwfile", secret,
        "--auth", "scram-sha-256",
        "--encoding", "UTF8",
        "--locale", "C.UTF-8",
        "--no-sync",
    )  # fmt: skip
    with (server.folder / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write(
            f"listen_addresses = '127.0.0.1'\n"
            f"port = {server.port}\n"
            "unix_socket_directories = ''\n"
            "lc_messages = 'C'\n"
            "fsync = off\n"
            "full_page_writes = off\n"
        )


def _ctl(server: PostgresServer, action: str, *options: str) -> None:
    _run(
        server,
        server.binaries / "pg_ctl",
        action, *options,
        "--pgdata", server.folder / "data",
        "--log", server.folder / "log",
        "--wait", "--timeout", "60",
    )  # fmt: skip


def _run(server: PostgresServer, *command: str | Path) -> None:
    """Run a server's program as an unprivileged account: PostgreSQL refuses to run as root."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=server.folder,
        stdin=subprocess.DEVNULL,
        # pg_ctl's server inherits what it is given: with a pipe the wait would never end.
        stdout=(server.folder / "output").open("wb"),
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
        **as_account(account(*_ACCOUNTS)),
    )
    if done.returncode:
        said = [
            (server.folder / name).read_text(errors="replace")
            for name in ("output", "log")
            if (server.folder / name).exists()
        ]
        unavailable(f"{command[0]} ended with {done.returncode}: {''.join(said)[-2000:]}")


def _binaries() -> Path:
    """The folder with initdb and pg_ctl: the newest of Debian's, or the one on the PATH."""
    versions = [path for path in _DEBIAN.glob("*/bin") if (path / "initdb").exists()]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    if not found:
        unavailable("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    return Path(found).resolve().parent
