from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.validate.session import open_session
from openreg_airflow.validate.spec import ValidateLimits

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = ValidateLimits(memory_mb=64, disk_mb=64, threads=1)


@pytest.fixture
def session(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    for name in ("trades", "secret"):
        pq.write_table(pa.table({"a": [1, 2]}), tmp_path / f"{name}.parquet")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    return open_session({"trades": tmp_path / "trades.parquet"}, LIMITS, tmp_path)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '{folder}/secret.parquet'",
        "SELECT * FROM read_parquet('{folder}/secret.parquet')",
        "SELECT * FROM read_parquet('{folder}/*.parquet')",
        "SELECT * FROM read_csv('{folder}/secret.csv')",
        "SELECT * FROM read_text('{folder}/secret.csv')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM parquet_metadata('{folder}/secret.parquet')",
        "SELECT * FROM sniff_csv('{folder}/secret.csv')",
        "SELECT * FROM read_parquet('http://127.0.0.1:9/a.parquet')",
        "COPY trades TO '{folder}/out.csv'",
        "COPY trades TO '{folder}/trades.parquet' (FORMAT parquet)",
        "ATTACH '{folder}/other.db'",
        "EXPORT DATABASE '{folder}/export'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '{folder}/evil.duckdb_extension'",
        "SET memory_limit = '100GB'",
        "SET threads = 64",
        "SET lock_configuration = false",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/passwd']",
        "SET allowed_directories = ['/etc']",
        "SET temp_directory = '/etc'",
        "SET python_enable_replacements = true",
        "SET TimeZone = 'Europe/Berlin'",
        "RESET memory_limit",
        "PRAGMA memory_limit = '100GB'",
        "SELECT * FROM session",
    ],
)
def test_nothing_but_the_tables_can_be_reached(
    session: duckdb.DuckDBPyConnection, tmp_path: Path, sql: str
) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(duckdb.Error):
        session.execute(sql.format(folder=tmp_path)).fetchall()
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    assert session.execute("SELECT sum(a) FROM trades").fetchone() == (3,)


@pytest.mark.parametrize("sql", ["1 / 0", "1.0 / 0", "1 // 0", "1 % 0", "0.0 / 0", "ln(0)"])
def test_an_undefined_result_is_an_error(session: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises(duckdb.Error):
        session.execute(f"SELECT {sql}").fetchall()


def test_a_sort_that_exceeds_the_memory_goes_to_the_private_folder(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    limits = ValidateLimits(memory_mb=64, disk_mb=512, threads=1)
    session = open_session({}, limits, scratch)
    rows = session.execute(
        "SELECT * FROM (SELECT hash(range) AS h, repeat('x', 50) || range AS t FROM range(2000000))"
        " ORDER BY h"
    )
    assert rows.fetchone() is not None
    assert any((scratch / "spill").iterdir())


@pytest.mark.parametrize("name", ["it's [1] *?", "Grüße", 'a"b', "a;b -- c"])
def test_any_path_and_name_can_be_a_table(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    pq.write_table(pa.table({"a": [1]}), folder / "t.parquet")
    link = tmp_path / "link"
    link.symlink_to(folder)
    tables = {name: folder / "t.parquet", "linked": link / "t.parquet"}
    session = open_session(tables, LIMITS, tmp_path)
    quoted = name.replace('"', '""')
    assert session.execute(f'SELECT * FROM "{quoted}" JOIN linked USING (a)').fetchall() == [(1,)]
