"""A private PgBouncer in front of a test's PostgreSQL, pooling by transaction."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

from tests.services import free_port, unavailable
from tests.services.account import account, as_account
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.postgres import PostgresServer

_ACCOUNTS = ("postgres", "nobody")


@contextmanager
def pooling(server: PostgresServer, login: str, password: str, *, sessions: int) -> Iterator[int]:
    """Give the port of a PgBouncer that opens so many sessions with the database at most."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        unavailable("pgbouncer is not installed; on Debian: apt-get install pgbouncer")
    port, owner = free_port(), account(*_ACCOUNTS)
    with tempfile.TemporaryDirectory(prefix="openreg-pgbouncer-") as name:
        folder = Path(name)
        quoted = password.replace('"', '""')
        (folder / "users.txt").write_text(f'"{login}" "{quoted}"\n')
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"{server.database} = host={server.host} port={server.port}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {folder / 'users.txt'}\n"
            f"pool_mode = transaction\ndefault_pool_size = {sessions}\n"
        )
        if owner:
            for path in (folder, *folder.iterdir()):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        log = (folder / "log").open("wb")
        process = subprocess.Popen(
            [program, str(folder / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **as_account(owner),
        )
        try:
            wait_until(lambda: _answers(port, server.database, login, password))
            yield port
        finally:
            process.kill()
            process.wait(30)
            log.close()


def _answers(port: int, database: str, login: str, password: str) -> bool:
    try:
        psycopg2.connect(
            host="127.0.0.1", port=port, dbname=database, user=login, password=password
        ).close()
    except psycopg2.OperationalError:
        return False
    return True
