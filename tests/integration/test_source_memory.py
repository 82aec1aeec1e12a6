"""Memory stays bounded however wide the rows are; measured in a process of its own."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.reader import SourceConnection
from tests.extraction import Database

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.mariadb import MariadbServer
    from tests.services.postgres import PostgresServer

_CODE = """
import json, re, sys
from pathlib import Path
from openreg_airflow.extract.reader import SourceConnection
from tests.extraction import Database
given = json.loads(sys.stdin.read())
database = Database(Path(given["folder"]), SourceConnection(**given["connection"]))
done = database.done(given["sql"])
# Not getrusage: its peak includes what the parent held when it forked.
status = Path("/proc/self/status").read_text()
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1024
print(json.dumps({"rows": done.rows, "peak": peak}))
"""
_MOST_MIB = 500
_WIDE_ROWS = 400

_SQLITE = f"""
WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {_WIDE_ROWS + 3000})
SELECT id, CASE WHEN id > 3000 THEN hex(zeroblob(500000)) ELSE 'narrow' END AS text FROM n
"""
_POSTGRES = f"""
SELECT id, CASE WHEN id > 3000 THEN repeat('x', 1000000) ELSE 'narrow' END AS text
FROM generate_series(1, {_WIDE_ROWS + 3000}) AS id ORDER BY id
"""
_MARIADB = f"""
SELECT seq AS id, CASE WHEN seq > 3000 THEN repeat('x', 1000000) ELSE 'narrow' END AS text
FROM seq_1_to_{_WIDE_ROWS + 3000} ORDER BY seq
"""


def measure(folder: Path, connection: dict[str, Any], sql: str) -> dict[str, float]:
    given = {"folder": str(folder), "connection": connection, "sql": sql}
    done = subprocess.run(
        [sys.executable, "-c", _CODE],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def sqlite(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "source.db"
    sqlite3.connect(file).close()
    return {"conn_id": "wide", "conn_type": "sqlite", "host": str(file)}


def test_sqlite_rows_of_a_megabyte_after_narrow_ones(tmp_path: Path) -> None:
    found = measure(tmp_path, sqlite(tmp_path), _SQLITE)

    assert found["rows"] == _WIDE_ROWS + 3000
    assert found["peak"] < _MOST_MIB


def test_postgres_rows_of_a_megabyte_after_narrow_ones(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    connection = {
        "conn_id": "wide",
        "conn_type": "postgres",
        "host": postgres.host,
        "port": postgres.port,
        "login": postgres.user,
        "password": postgres.password,
        "database": postgres.database,
    }

    found = measure(tmp_path, connection, _POSTGRES)

    assert found["rows"] == _WIDE_ROWS + 3000
    assert found["peak"] < _MOST_MIB


def test_mariadb_rows_of_a_megabyte_after_narrow_ones(
    tmp_path: Path, mariadb: MariadbServer
) -> None:
    connection = {
        "conn_id": "wide",
        "conn_type": "mysql",
        "host": mariadb.host,
        "port": mariadb.port,
        "login": mariadb.user,
        "password": mariadb.password,
        "database": mariadb.database,
    }

    found = measure(tmp_path, connection, _MARIADB)

    assert found["rows"] == _WIDE_ROWS + 3000
    assert found["peak"] < _MOST_MIB


def test_more_bytes_than_allowed_are_refused_and_said(tmp_path: Path) -> None:
    database = Database(tmp_path, SourceConnection(**sqlite(tmp_path)))

    with pytest.raises(SourceError, match=r"more than 5000000 bytes: \d+ rows so far") as caught:
        database.extract(_SQLITE, max_bytes=5_000_000)

    assert "max_bytes" in (caught.value.hint or "")
    assert database.extract("SELECT 1 AS a", max_bytes=100).num_rows == 1
