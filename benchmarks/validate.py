"""How long 25 rules over 2 million rows take: ours, beside what else is used for it.

Every way gets the same Parquet file and must find the same failing rows: each rule is broken by
about one row in ten thousand. A figure is the time from importing the library to having the rules'
counts, in a fresh process, as every Airflow task is one; ours has the start of its fenced process
in it, and writes the failing rows. Everybody computes with exact decimals, as a report to a
supervisor must; for comparison pandera runs with floats as well.

Run it as ``make benchmark-validate``, which installs pandera and great-expectations into a folder
of their own; ``BENCHMARK_ARGS="--rows 100000"`` sets the number of rows, ``--only ours
pandera`` measures those ways alone.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.table import Row, arguments, measure, show
from benchmarks.validate_rules import COLUMNS, EVERY, RULES, SELECT

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parent.parent
#: The peers have a place of their own: they bring an older pandas along.
PEERS_INSTALLED = PROJECT / ".benchmarks" / "validation"
WAYS = {
    "ours": "OpenReg",
    "pandas": "pandas",
    "pandera": "pandera 0.33",
    "pandera_floats": "pandera 0.33, floats",
    "great_expectations": "great-expectations 1.24",
    "per_row": "Python per row",
}
MOST_MEMORY = 600


def write_trades(file: Path, rows: int) -> None:
    """Write the table; row numbers decide which rule a row breaks."""
    import duckdb

    with duckdb.connect(config={"threads": 2, "memory_limit": "512MiB"}) as connection:
        connection.execute(
            f"COPY ({SELECT}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)", {"rows": rows}
        )


def run(way: str, file: Path, rows: int) -> None:
    """Evaluate the rules in one way and print how long it took; runs in its own process."""
    if way in ("pandera", "pandera_floats", "great_expectations"):
        sys.path.insert(0, str(PEERS_INSTALLED))
    from benchmarks import validate_ways

    began = time.perf_counter()
    validation = getattr(validate_ways, way)()
    failed: Mapping[str, int] = validation(file)
    seconds = time.perf_counter() - began
    expected = {rule.name: rule.breaks(rows) for rule in RULES}
    if failed != expected:
        wrong = {name: (failed.get(name), n) for name, n in expected.items()}
        sys.exit(f"{way}: found and expected: { {k: v for k, v in wrong.items() if v[0] != v[1]} }")
    peak = sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps({"seconds": seconds, "peak_rss_mb": peak / 1024}))


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rows=2_000_000, ways=WAYS)
    if options.rows < EVERY:
        sys.exit(f"at least {EVERY} rows are needed for every rule to fail")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "trades.parquet"
        # In a process of its own: what this one has used counts as used by those it starts.
        command = (sys.executable, "-m", "benchmarks.validate", "write", str(file))
        subprocess.run((*command, str(options.rows)), check=True)
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "GX_ANALYTICS_ENABLED": "false"}
        commands = {
            way: ("-m", "benchmarks.validate", "run", way, str(file), str(options.rows))
            for way in options.only or WAYS
        }
        measured = measure(commands, repeats=options.repeats, environment=environment)
    rows = _rows(measured, options.rows)
    show(f"{len(RULES)} rules over {COLUMNS} columns", rows, options.json)


def _rows(measured: Mapping[str, tuple[float, float]], count: int) -> list[Row]:
    ours, _ = measured.get("ours", (None, None))
    rows = []
    for way, (took, peak) in measured.items():
        title = WAYS[way]
        row = Row(f"{count:,} rows", title, took, count / took, "rows/s", peak)
        targets: dict[str, Any] = {"pandera": 8, "per_row": 20}
        if way == "ours":
            row.target = f"at most {MOST_MEMORY} MB"
            row.meets_target = peak <= MOST_MEMORY
        elif ours is not None:
            row.ratio = took / ours
        if way in targets and row.ratio is not None:
            row.target = f"ours at least {targets[way]} times as fast"
            row.meets_target = row.ratio >= targets[way]
        rows.append(row)
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "run":
        run(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    elif len(sys.argv) > 1 and sys.argv[1] == "write":
        write_trades(Path(sys.argv[2]), int(sys.argv[3]))
        Path(sys.argv[2]).with_suffix(".rows").write_text(sys.argv[3])
    else:
        main()
