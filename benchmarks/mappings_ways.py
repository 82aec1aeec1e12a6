"""The ways that are measured by :mod:`benchmarks.mappings`; each gives the mapped rows."""

from __future__ import annotations

import sys
import time
from bisect import bisect_right
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable

BUSINESS_DATE = date(2026, 3, 31)
KEYS, PERIODS = 40_000, 3
#: One row in so many has a code that no entry has.
UNMAPPED_EVERY = 1000
THREADS = 2


def write_tables(folder: Path, rows: int, entries: int) -> None:
    """Write trades with a code and a date, and the entries of a set, two or three of each code."""
    import numpy as np

    seed = np.random.default_rng(7)
    keys = max(1, entries * 2 // 5)
    codes = np.array([f"V{number:06d}" for number in range(keys)] + ["?"])
    own = np.minimum(np.arange(entries) // PERIODS, keys - 1)
    bounds = np.array([-(10**5), 19_500, 20_000, 10**6])
    period = np.arange(entries) % PERIODS
    own, period = own[: keys * PERIODS], period[: keys * PERIODS]
    table = pa.table(
        {
            "code": pa.array(codes[own]),
            "mic": pa.array([f"M{number:06d}" for number in range(len(own))]),
            "effective_from": pa.array(bounds[period].astype("int32")).cast(pa.date32()),
            "effective_to": pa.array(bounds[period + 1].astype("int32")).cast(pa.date32()),
        }
    )
    pq.write_table(table, folder / "entries.parquet", compression="zstd")
    # Only codes with all their periods, so that every other row is mapped.
    whole = len(own) // PERIODS
    picked = seed.integers(0, max(1, whole), rows)
    picked[::UNMAPPED_EVERY] = keys
    trades = pa.table(
        {
            "id": pa.array(np.arange(rows)),
            "code": pa.array(codes).take(pa.array(picked)),
            "day": pa.array(seed.integers(19_000, 20_500, rows).astype("int32")).cast(pa.date32()),
            "amount": pa.array(seed.integers(1, 10**6, rows)).cast(pa.decimal128(21, 2)),
        }
    )
    pq.write_table(trades, folder / "trades.parquet", compression="zstd", row_group_size=122_880)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long something takes, and what it gives."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def mapped(column: Any) -> int:
    """The rows that were mapped."""
    if hasattr(column, "null_count"):
        return int(len(column) - column.null_count)
    return int(column.notna().sum())


def range_join(folder: Path) -> tuple[float, int]:
    """DuckDB's bare range join of two tables in memory: the limit."""
    import duckdb

    trades, entries = pq.read_table(folder / "trades.parquet"), _entries(folder)
    with duckdb.connect(config={"threads": THREADS}) as connection:
        connection.register("trades", trades.select(["code", "day"]))
        connection.register("entries", entries)
        query = connection.sql(
            "SELECT entries.mic FROM trades LEFT JOIN entries ON trades.code = entries.code "
            "AND trades.day >= entries.effective_from AND trades.day < entries.effective_to"
        )
        seconds, made = timed(query.to_arrow_table)
    return seconds, mapped(made["mic"])


def look_up(folder: Path) -> tuple[float, int]:
    """Ours, of two tables in memory; the entries are made ready within the time."""
    from openreg_airflow.transform.runner.lookup import Entries

    trades, table = pq.read_table(folder / "trades.parquet"), _entries(folder)

    def work() -> pa.Array:
        entries = Entries(table, ["code"], ["mic"])
        found = entries.find([trades["code"]], trades["day"])
        return entries.take("mic", found.entries)

    seconds, made = timed(work)
    return seconds, mapped(made)


def merge_asof(folder: Path) -> tuple[float, int]:
    """pandas, back in the order of the rows, without entries that have ended."""
    import pandas as pd

    trades = pq.read_table(folder / "trades.parquet", columns=["code", "day"]).to_pandas()
    entries = _entries(folder).to_pandas()
    for frame, names in ((trades, ["day"]), (entries, ["effective_from", "effective_to"])):
        for name in names:
            frame[name] = pd.to_datetime(frame[name]).astype("datetime64[s]")

    def work() -> Any:
        left = trades.reset_index().sort_values("day", kind="stable")
        right = entries.sort_values("effective_from", kind="stable")
        made = pd.merge_asof(left, right, left_on="day", right_on="effective_from", by="code")
        made["mic"] = made["mic"].where(made["day"] < made["effective_to"])
        return made.set_index("index").sort_index()["mic"]

    seconds, made = timed(work)
    return seconds, mapped(made)


def dict_per_row(folder: Path) -> tuple[float, int]:
    """A dict of lists, asked for each row, as scripts do it that know no other way."""
    trades = pq.read_table(folder / "trades.parquet", columns=["code", "day"])
    series, days = _series(trades, "code"), _series(trades, "day")
    entries = _entries(folder).to_pylist()

    def work() -> Any:
        import pandas as pd

        periods: dict[str, tuple[list[Any], list[Any]]] = {}
        for entry in entries:
            starts, rest = periods.setdefault(entry["code"], ([], []))
            starts.append(entry["effective_from"])
            rest.append((entry["effective_to"], entry["mic"]))

        def one(code: str, day: date) -> str | None:
            starts, rest = periods.get(code, ([], []))
            at = bisect_right(starts, day) - 1
            return rest[at][1] if at >= 0 and day < rest[at][0] else None

        made = [one(code, day) for code, day in zip(series, days, strict=True)]
        return pd.Series(made, index=series.index, dtype="string[pyarrow]")

    seconds, made = timed(work)
    return seconds, mapped(made)


def script(folder: Path) -> tuple[float, int]:
    """``context.mapping("venues").map(column, as_of=column)`` in a script, on pandas columns."""
    pa.set_cpu_count(1)
    from openreg_airflow.transform.runner.mapping import MappingSets

    trades = pq.read_table(folder / "trades.parquet", columns=["code", "day"])
    series, days = _series(trades, "code"), _series(trades, "day")
    described = {"venues": {"file": "venues", "keys": ["code"], "values": ["mic"]}}
    sets = MappingSets(described, {"venues": str(folder / "entries.parquet")}, BUSINESS_DATE)
    seconds, made = timed(lambda: sets.get("venues").map(series, as_of=days, unmapped="none"))
    return seconds, mapped(made)


def copy_join(folder: Path) -> tuple[float, int]:
    """DuckDB's bare range join from Parquet to Parquet, in no order."""
    import duckdb

    into = folder / "joined.parquet"
    with duckdb.connect(config={"threads": THREADS}) as connection:
        connection.execute("SET preserve_insertion_order = false")
        seconds, _ = timed(
            lambda: connection.execute(
                f"COPY (SELECT t.*, e.mic FROM '{folder}/trades.parquet' AS t "
                f"LEFT JOIN '{folder}/entries.parquet' AS e ON t.code = e.code "
                "AND t.day >= e.effective_from AND t.day < e.effective_to) "
                f"TO '{into}' (FORMAT parquet, COMPRESSION zstd)"
            )
        )
    return seconds, mapped(pq.read_table(into, columns=["mic"])["mic"])


def map_step(folder: Path) -> tuple[float, int]:
    """A map step from Parquet to Parquet, in the order of the rows; unmapped values are counted."""
    from openreg_airflow.mappings.fill import Filling, entries_of, fill
    from openreg_airflow.mappings.spec import MapStep

    step = MapStep.model_validate(
        {
            "table": "trades",
            "set": "venues",
            "key": ["code"],
            "as_of": "day",
            "fill": {"mic": "mic"},
            "unmapped": "none",
        }
    )
    source, into = folder / "trades.parquet", folder / "filled.parquet"

    def work() -> Filling:
        entries = entries_of(_snapshot(folder), folder / "entries.parquet")
        filling = Filling("venue", step, entries, pq.read_schema(source), BUSINESS_DATE)
        fill(source, into, [filling])
        return filling

    seconds, filling = timed(work)
    assert filling.tally.unmapped == -(-filling.tally.rows // UNMAPPED_EVERY)  # noqa: S101
    return seconds, mapped(pq.read_table(into, columns=["mic"])["mic"])


def rule(folder: Path) -> tuple[float, int]:
    """A rule with a look-up in its condition, evaluated over the table's file.

    What is measured finds the failing rows, fetches the few that are shown, and learns about the
    set's periods on the way.
    """
    from openreg_airflow.validate.duckdb_syntax import functions
    from openreg_airflow.validate.job import Job, MappingTable, Rule, TableFile
    from openreg_airflow.validate.passes import Passes
    from openreg_airflow.validate.session import mapping_views, open_session
    from openreg_airflow.validate.spec import RuleSpec, ValidateLimits
    from openreg_airflow.validate.written import written

    functions()  # As the process of the rules does while it waits for its job.
    source, snapshot = folder / "trades.parquet", _snapshot(folder)
    table = TableFile(path=source, rows=pq.read_metadata(source).num_rows)
    demand = RuleSpec(
        title="Codes are known",
        table="trades",
        condition='mapping("venues", code, as_of=day) is not None',
        message="code {code}",
    )
    entries = folder / "entries.parquet"
    sets = {"venues": MappingTable(path=entries, keys=snapshot.keys, values=snapshot.values)}
    job = written(
        Job(
            rules=(Rule(rule_id="known", spec=demand),),
            tables={"trades": table},
            mappings=sets,
            business_date=BUSINESS_DATE,
            limits=ValidateLimits(threads=THREADS),
            failing_rows=100,
            failures=folder / "failures.parquet",
            scratch=folder,
        )
    )
    views = mapping_views(sets, BUSINESS_DATE)
    session = open_session({"trades": source}, job.limits, folder, views)
    seconds, sweep = timed(lambda: Passes(job, job.failing_rows).sweep("known", session))
    session.close()
    return seconds, table.rows - sweep.counts["known"]


def count_join(folder: Path) -> tuple[float, int]:
    """DuckDB's bare range join over the table's file, counted: the limit of a rule."""
    import duckdb

    with duckdb.connect(config={"threads": THREADS}) as connection:
        seconds, [(count,)] = timed(
            lambda: connection.execute(
                f"SELECT count(e.mic) FROM '{folder}/trades.parquet' AS t "
                f"LEFT JOIN '{folder}/entries.parquet' AS e ON t.code = e.code "
                "AND t.day >= e.effective_from AND t.day < e.effective_to"
            ).fetchall()
        )
    return seconds, int(count)


def _entries(folder: Path) -> pa.Table:
    return pq.read_table(folder / "entries.parquet")


def _series(table: pa.Table, name: str) -> Any:
    import pandas as pd

    return pd.Series(pd.arrays.ArrowExtensionArray(table[name]))


def _snapshot(folder: Path) -> Any:
    from openreg_airflow.mapping_records import MappingSnapshot, TypedColumn

    return MappingSnapshot(
        uri=str(folder / "entries.parquet"),
        bytes=0,
        sha256="",
        name="venues",
        set_id=1,
        version=1,
        known_at=datetime(2026, 3, 31, tzinfo=UTC),
        keys=(TypedColumn(name="code", type="string"),),
        values=(TypedColumn(name="mic", type="string"),),
        rows=0,
    )


def expected(folder: Path) -> int:
    """The rows that every way must map."""
    codes = pq.read_table(folder / "trades.parquet", columns=["code"])["code"]
    return int(len(codes) - pc.sum(pc.equal(codes, "?")).as_py())


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
