"""What mapping sets cost: look-ups beside what else is used for them, and keeping the sets.

Two million rows, each with a code and a date of its own, are looked up in 100,000 dated entries
in the three ways that a report has (a map step, a column in a script, a rule), beside DuckDB's
bare range join, pandas' merge_asof and a dict that is asked for each row. All ways must map the
same rows. A figure is the time of the look-up itself, in a fresh process and after its imports;
tables are in memory where the way has them there, and a map step reads and writes Parquet, as
DuckDB does beside it. A rule reads Parquet as well: it counts the rows that break it and fetches
the few that are shown, where DuckDB only counts.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import Row, arguments, measure, show

PROJECT = Path(__file__).resolve().parent.parent
ENTRIES = 100_000
#: Each work's ways, its limit or peer first: the way, its title, and what its ratio is against.
WORKS = {
    "as-of join in memory": {
        "range_join": ("DuckDB, bare range join", None),
        "look_up": ("OpenReg", "range_join"),
        "merge_asof": ("pandas merge_asof", "range_join"),
    },
    "column in a script": {
        "dict_per_row": ("dict per row", None),
        "script": ("OpenReg, context.mapping", "dict_per_row"),
    },
    "table to table": {
        "copy_join": ("DuckDB, bare range join", None),
        "map_step": ("OpenReg, map step", "copy_join"),
    },
    "rule": {
        "count_join": ("DuckDB, bare range join", None),
        "rule": ("OpenReg, mapping() in a condition", "count_join"),
    },
}
MOST = {"look_up": 1.5, "map_step": 1.5, "rule": 1.5}
TIMES_FASTER = 5
#: Seconds of a page of a search, at the median.
MOST_PAGE = 0.05


def run(way: str, folder: Path) -> None:
    """Look up in one way and print how long it took; runs in its own process."""
    from benchmarks import mappings_ways

    seconds, found = getattr(mappings_ways, way)(folder)
    expected = mappings_ways.expected(folder)
    if found != expected:
        sys.exit(f"{way} mapped {found} rows, expected are {expected}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_rss_mb": peak}))


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rows=2_000_000)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with tempfile.TemporaryDirectory() as name:
        # In a process of its own: what this one has used counts as used by those it starts.
        command = (sys.executable, "-m", "benchmarks.mappings_ways", name)
        subprocess.run((*command, str(options.rows), str(ENTRIES)), check=True)
        commands = {
            way: ("-m", "benchmarks.mappings", "run", way, name)
            for ways in WORKS.values()
            for way in ways
        }
        measured = measure(commands, repeats=options.repeats, environment=environment)
        kept = _kept(Path(name), options.rows // 2, environment)
    rows = [*_rows(measured, options.rows), *kept]
    show(f"{options.rows:,} rows against {ENTRIES:,} dated entries (median)", rows, options.json)


def _kept(folder: Path, entries: int, environment: dict[str, str]) -> list[Row]:
    """A set of many entries in both databases, once: it takes its time."""
    from tests.services import postgres

    with postgres.started() as server:
        stores = {"SQLite": f"sqlite:///{folder / 'store.db'}", "PostgreSQL": server.url}
        return [
            row
            for title, url in stores.items()
            for row in _of_store(title, url, folder, entries, environment)
        ]


def _of_store(
    title: str, url: str, folder: Path, entries: int, environment: dict[str, str]
) -> list[Row]:
    command = (sys.executable, "-m", "benchmarks.mappings_store", url, str(folder), str(entries))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{title} failed:\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    rows = []
    for work, seconds in found["seconds"].items():
        page = work.startswith("page")
        count, unit = (100, "entries/s") if page else (entries, "entries/s")
        row = Row(f"{entries:,} entries, {title}", work, seconds, count / seconds, unit, 0)
        row.peak_rss_mb = found["peak_rss_mb"]
        if work == "page: all of these":
            row.target = f"at most {MOST_PAGE * 1000:.0f} ms"
            row.meets_target = seconds <= MOST_PAGE
        elif work == "import":
            row.target = "at least 1M entries a minute"
            row.meets_target = entries / seconds >= 1_000_000 / 60
        rows.append(row)
    return rows


def _rows(measured: dict[str, tuple[float, float]], count: int) -> list[Row]:
    rows = []
    for work, ways in WORKS.items():
        for way, (title, against) in ways.items():
            seconds, peak = measured[way]
            row = Row(work, title, seconds, count / seconds, "rows/s", peak)
            if against is not None:
                row.ratio = seconds / measured[against][0]
            if way in MOST:
                row.target = f"at most {MOST[way]} times the range join"
                row.meets_target = (row.ratio or 0) <= MOST[way]
            if way == "script":
                row.target = f"at least {TIMES_FASTER} times as fast as a dict"
                row.meets_target = (row.ratio or 1) <= 1 / TIMES_FASTER
            rows.append(row)
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
