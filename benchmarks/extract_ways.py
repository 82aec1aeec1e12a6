"""One way of getting a table out of a database, in a process of its own; see extract.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.memory import PeakMemory

if TYPE_CHECKING:
    from collections.abc import Callable

SQL = "SELECT * FROM trades"
_CHUNK = 50_000


def ours(given: dict[str, Any], folder: Path, **spec: Any) -> None:
    """The package's own extraction, to one Parquet file."""
    from openreg_airflow.extract.engine import Extraction
    from openreg_airflow.extract.reader import SourceConnection
    from openreg_airflow.extract.spec import SourceSpec

    (folder / "trades.sql").write_text(SQL)
    source = SourceSpec.model_validate({"connection": "bench", "sql": "trades.sql"} | spec)
    connection = SourceConnection(conn_id="bench", **given["connection"])
    done = Extraction(source, folder, connection, date(2026, 3, 2)).run(folder / "trades.parquet")
    _check(done.rows, given)


def ours_in_parts(given: dict[str, Any], folder: Path) -> None:
    """The same, as many parts at a time as there are processors."""
    parts = max(os.cpu_count() or 2, 2)
    ours(given, folder, partition={"column": "id", "parts": parts})


def get_df(given: dict[str, Any], folder: Path) -> None:
    """The provider's hook into one DataFrame, then to Parquet."""
    frame = _hook(given).get_df(SQL)
    _check(len(frame), given)
    frame.to_parquet(folder / "trades.parquet")


def get_df_by_chunks(given: dict[str, Any], folder: Path) -> None:
    """The provider's hook into DataFrames of 50,000 rows, each to Parquet."""
    rows = 0
    for number, frame in enumerate(_hook(given).get_df_by_chunks(SQL, chunksize=_CHUNK)):
        rows += len(frame)
        frame.to_parquet(folder / f"{number}.parquet")
    _check(rows, given)


def client(given: dict[str, Any], folder: Path) -> None:  # noqa: ARG001
    """The database's own client, what it reads thrown away: nothing can be faster."""
    connection = given["connection"]
    if connection["conn_type"] == "postgres":
        command = ["psql", "-qc", f"COPY ({SQL}) TO STDOUT (FORMAT binary)"]
        secrets = {
            "PGHOST": connection["host"],
            "PGPORT": str(connection["port"]),
            "PGUSER": connection["login"],
            "PGDATABASE": connection["database"],
            "PGPASSWORD": connection["password"],
        }
    else:
        address = [f"-h{connection['host']}", f"-P{connection['port']}", f"-u{connection['login']}"]
        command = ["mariadb", "--no-defaults", *address, "--quick", "-N", "-e", SQL]
        command.append(connection["database"])
        secrets = {"MYSQL_PWD": connection["password"]}
    with Path(os.devnull).open("wb") as nowhere:
        subprocess.run(command, env=dict(os.environ) | secrets, stdout=nowhere, check=True)


WAYS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "ours": ours,
    "ours in parts": ours_in_parts,
    "get_df": get_df,
    "get_df_by_chunks": get_df_by_chunks,
    "client": client,
}


def _hook(given: dict[str, Any]) -> Any:
    kind = given["connection"]["conn_type"]
    if kind == "postgres":
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        return PostgresHook(postgres_conn_id="bench")
    if kind == "odbc":
        from airflow.providers.odbc.hooks.odbc import OdbcHook

        return OdbcHook(odbc_conn_id="bench", driver=given["connection"]["extra"]["driver"])
    from airflow.providers.mysql.hooks.mysql import MySqlHook

    return MySqlHook(mysql_conn_id="bench")


def _import(way: str, given: dict[str, Any]) -> None:
    """Import what a way needs, which a worker has done before a task starts its work."""
    if way.startswith("ours"):
        import openreg_airflow.extract.engine  # noqa: F401
        from openreg_airflow.extract.reader import find_reader

        find_reader(given["connection"]["conn_type"])
    elif way != "client":
        import pandas as pd
        import pyarrow.parquet  # noqa: F401
        import sqlalchemy  # noqa: F401

        _hook(given)
        pd.DataFrame({"a": [1]})


def _check(found: int, given: dict[str, Any]) -> None:
    if found != given["rows"]:
        sys.exit(f"{found} rows instead of {given['rows']}")


def main() -> None:
    """Run the way named by the first argument on the source described by the second."""
    given = json.loads(Path(sys.argv[2]).read_text())
    fields = dict(given["connection"])
    fields["schema"] = fields.pop("database")
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(fields)
    with tempfile.TemporaryDirectory(prefix="openreg-bench-") as folder:
        _import(sys.argv[1], given)
        with PeakMemory() as memory:
            started = time.monotonic()
            WAYS[sys.argv[1]](given, Path(folder))
            seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "peak_rss_mb": memory.peak / (1 << 20)}))


if __name__ == "__main__":
    main()
