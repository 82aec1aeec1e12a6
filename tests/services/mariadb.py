"""A private MariaDB server: made, started and stopped by the tests themselves."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import MySQLdb
import pytest

from tests.services import free_port, unavailable
from tests.services.account import account, as_account

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACCOUNTS = ("mysql", "nobody")
_SECONDS_TO_START = 60


@dataclass(frozen=True)
class MariadbServer:
    """A running server. ``user`` may do everything; logins need the password.

    ``options`` are further ones of its command line.
    """

    folder: Path
    port: int
    password: str
    host: str = "127.0.0.1"
    user: str = "openreg"
    database: str = "mysql"
    options: tuple[str, ...] = ()
    running: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)

    @contextmanager
    def connect(self, **options: Any) -> Iterator[Any]:
        """Give an autocommitting mysqlclient connection; ``options`` override the user's."""
        given = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "charset": "utf8mb4",
            "autocommit": True,
        } | options
        with closing(MySQLdb.connect(**given)) as connection:
            yield connection

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements; return the rows of the last, if it has any."""
        rows: list[tuple[Any, ...]] = []
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = list(cursor.fetchall())
        return rows

    def active(self, login: str) -> int:
        """How many statements of a login run, says the server."""
        [[count]] = self.execute(
            "SELECT count(*) FROM information_schema.processlist "
            f"WHERE user = '{login}' AND command <> 'Sleep'"
        )
        found: int = count
        return found

    def start(self) -> None:
        """Start the server on its port and wait until it answers."""
        command = [
            _program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--init-file={self.folder / 'init.sql'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
            "--skip-log-bin",
            *self.options,
        ]
        log = (self.folder / "log").open("ab")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **as_account(account(*_ACCOUNTS)),
        )
        self.running.append(process)
        deadline = time.monotonic() + _SECONDS_TO_START
        while True:
            try:
                with self.connect(connect_timeout=2):
                    return
            except MySQLdb.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = (self.folder / "log").read_text(errors="replace")
                    unavailable(f"MariaDB does not start: {said[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server at once, breaking every session."""
        process = self.running.pop()
        process.kill()
        process.wait(30)

    def restart(self) -> None:
        """Stop the server, breaking every session, and start it again on the same port."""
        self.stop()
        self.start()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """The server itself, for a test that breaks or configures it; most want ``mariadb``."""
    with started() as server:
        yield server


@contextmanager
def started(*options: str) -> Iterator[MariadbServer]:
    """Give a new server that runs, with these options, and is gone after the block."""
    _program("mariadbd")
    folder = Path(tempfile.mkdtemp(prefix="openreg-mariadb-"))
    server = MariadbServer(folder, free_port(), secrets.token_urlsafe(12), options=options)
    with _cleared_away(server):
        _make(server)
        server.start()
        yield server


@pytest.fixture
def mariadb(mariadb_server: MariadbServer) -> Iterator[MariadbServer]:
    """The server with a database of the test's own, dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    mariadb_server.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield replace(mariadb_server, database=name)
    mariadb_server.execute(f"DROP DATABASE {name}")


@contextmanager
def _cleared_away(server: MariadbServer) -> Iterator[None]:
    """Stop the server and remove its files after the block, also when the tests are killed.

    A shell waits for the end of its input, which comes when this process ends in whatever way.
    """
    stop = 'read -r _; test -e "$1/pid" && kill -9 "$(cat "$1/pid")"; rm -rf "$1"'
    guard = subprocess.Popen(
        ["sh", "-c", stop, "sh", str(server.folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,
        **as_account(account(*_ACCOUNTS)),
    )
    try:
        yield
    finally:
        while server.running:
            server.stop()
        (server.folder / "pid").unlink(missing_ok=True)
        assert guard.stdin
        guard.stdin.close()
        guard.wait(60)
        shutil.rmtree(server.folder, ignore_errors=True)


def _make(server: MariadbServer) -> None:
    owner = account(*_ACCOUNTS)
    if owner:
        os.chown(server.folder, owner.pw_uid, owner.pw_gid)
    (server.folder / "init.sql").write_text(
        f"CREATE USER IF NOT EXISTS {server.user}@'%' IDENTIFIED BY '{server.password}';\n"
        f"GRANT ALL ON *.* TO {server.user}@'%' WITH GRANT OPTION;\n"
    )
    done = subprocess.run(
        [
            _program("mariadb-install-db"),
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--datadir={server.folder / 'data'}",
        ],
        cwd=server.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **as_account(account(*_ACCOUNTS)),
    )
    if done.returncode:
        unavailable(f"mariadb-install-db ended with {done.returncode}: {done.stdout[-2000:]}")


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    return found or unavailable(
        f"{name} is not installed; on Debian: apt-get install mariadb-server"
    )
