"""How fast files are written from a table of 40 columns, and held against a schema, in MB/s.

Ours write every row, in the table's order; so does DuckDB, in any order. What is slow, and so
usually written, takes a part of the rows: its speed does not depend on their number, its memory
does. A figure is the time from importing the library to the finished file, in a process of its
own. Ours run on a quarter of the rows as well, to see whether memory grows.

``make benchmark-artifacts BENCHMARK_ARGS="--rows 4000000 --repeats 1"`` takes more rows;
``--only csv csv_less`` measures some of the ways.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.artifact_rows import COLUMNS, write_parties, write_table
from benchmarks.memory import own_peak
from benchmarks.table import Row, arguments, measure, show

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parent.parent
#: How many rows the slow ways write.
_SOME = 50_000
_MOST_MEMORY = 600
_MOST_GROWTH = 1.15


@dataclass(frozen=True)
class Way:
    """One way; ``share`` of the rows are written, or at most ``some``."""

    work: str
    title: str
    call: str
    some: int | None = None
    share: int = 1


_LESS = "OpenReg, a quarter of the rows"
WAYS = {
    "xml": Way("XML", "OpenReg", "our_xml"),
    "xml_less": Way("XML", _LESS, "our_xml", share=4),
    "nested": Way("XML", "OpenReg, with rows in each record", "our_nested_xml"),
    "nested_less": Way("XML", f"{_LESS}, with rows in each", "our_nested_xml", share=4),
    "xml_lxml": Way("XML", "lxml tree", "lxml_tree", _SOME),
    "xml_limit": Way("XML", "limit: DuckDB, text joined", "duckdb_text", share=4),
    "csv": Way("CSV", "OpenReg", "our_csv"),
    "csv_less": Way("CSV", _LESS, "our_csv", share=4),
    "csv_pandas": Way("CSV", "pandas to_csv", "pandas_csv", _SOME),
    "csv_limit": Way("CSV", "limit: DuckDB COPY", "duckdb_csv"),
    "jsonl": Way("JSON lines", "OpenReg", "our_jsonl"),
    "jsonl_less": Way("JSON lines", _LESS, "our_jsonl", share=4),
    "jsonl_dumps": Way("JSON lines", "json.dumps per row", "json_rows", _SOME),
    "jsonl_limit": Way("JSON lines", "limit: DuckDB COPY", "duckdb_json"),
}
CHECKS = {
    "xsd": Way("XSD check", "OpenReg", "our_xsd"),
    "xsd_less": Way("XSD check", _LESS, "our_xsd", share=4),
    "xsd_lxml": Way("XSD check", "lxml tree", "lxml_xsd", _SOME),
}
#: The file that each of them checks.
_CHECKED = {"xsd": "xml", "xsd_less": "xml_less", "xsd_lxml": "xml_lxml"}
#: For each work: MB/s that ours reaches at least, and how many times as fast as which way it is.
TARGETS = {
    "xml": (60, 10, "xml_lxml"),
    "csv": (60, 5, "csv_pandas"),
    "jsonl": (60, 0, ""),
    "nested": (60, 0, ""),
}
_LEAST_XSD, _MOST_XSD_MEMORY = 25, 300


def run(call: str, table: Path, target: Path, rows: int) -> None:
    """Write the file in one way and print how long it took; runs in its own process."""
    from benchmarks import artifact_ways

    began = time.perf_counter()
    getattr(artifact_ways, call)(table, target, rows)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak_rss_mb": own_peak() / (1 << 20)}))


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rows=1_000_000, ways=(*WAYS, *CHECKS))
    ways, checks = _chosen(options.only)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = {share: folder / f"rows_{share}.parquet" for share in (1, 4)}
        for share, table in tables.items():
            command = (sys.executable, "-m", "benchmarks.artifacts", "write", str(table))
            subprocess.run((*command, str(options.rows // share)), check=True)
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        figures: dict[str, tuple[float, float]] = {}
        sizes: dict[str, float] = {}
        for work in dict.fromkeys(way.work for way in ways.values()):
            commands = {
                key: _command(way, key, tables[way.share], folder, options.rows)
                for key, way in ways.items()
                if way.work == work
            }
            figures |= measure(commands, repeats=options.repeats, environment=environment)
            for key in commands:
                sizes[key] = (folder / key).stat().st_size / 1e6
                if key not in _CHECKED.values():
                    (folder / key).unlink()
        commands = {
            key: _command(way, key, folder / _CHECKED[key], folder, options.rows)
            for key, way in checks.items()
        }
        figures |= measure(commands, repeats=options.repeats, environment=environment)
    sizes |= {key: sizes[_CHECKED[key]] for key in checks}
    title = f"{options.rows:,} rows of {COLUMNS} columns"
    show(title, _rows(figures, sizes), options.json)


def _chosen(only: list[str] | None) -> tuple[dict[str, Way], dict[str, Way]]:
    """The ways of writing and of checking; those that write a file that is checked are needed."""
    names = set(only or (*WAYS, *CHECKS))
    names |= {_CHECKED[key] for key in names & CHECKS.keys()}
    ways, checks = (
        {key: way for key, way in known.items() if key in names} for known in (WAYS, CHECKS)
    )
    return ways, checks


def _command(way: Way, key: str, source: Path, folder: Path, rows: int) -> tuple[str, ...]:
    count = str(_count(way, rows))
    target = str(folder / key)
    return ("-m", "benchmarks.artifacts", "run", way.call, str(source), target, count)


def _count(way: Way, rows: int) -> int:
    return min(rows // way.share, way.some or rows)


def _rows(figures: Mapping[str, tuple[float, float]], sizes: Mapping[str, float]) -> list[Row]:
    rates = {key: sizes[key] / figures[key][0] for key in figures}
    rows = []
    for key, way in (WAYS | CHECKS).items():
        if key not in figures:
            continue
        seconds, peak = figures[key]
        row = Row(way.work, way.title, seconds, rates[key], "MB/s", peak)
        work = key.split("_")[0]
        if key in TARGETS:
            least, _, _ = TARGETS[key]
            row.target = f"{least} MB/s, {_MOST_MEMORY} MB"
            row.meets_target = rates[key] >= least and peak <= _MOST_MEMORY
        elif key == "xsd":
            row.target = f"{_LEAST_XSD} MB/s, {_MOST_XSD_MEMORY} MB"
            row.meets_target = rates[key] >= _LEAST_XSD and peak <= _MOST_XSD_MEMORY
        elif work not in figures:
            pass  # what it is compared with was not chosen
        elif key.endswith("_less"):
            growth = figures[work][1] / peak
            row.target = "memory does not grow with the rows"
            row.meets_target = growth <= _MOST_GROWTH
        else:
            row.ratio = rates[work] / rates[key]
            for _, times, peer in TARGETS.values():
                if peer == key:
                    row.target = f"ours at least {times} times as fast"
                    row.meets_target = row.ratio >= times
        rows.append(row)
    return rows


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "run":
        run(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    elif len(sys.argv) > 1 and sys.argv[1] == "write":
        file, count = Path(sys.argv[2]), int(sys.argv[3])
        write_table(file, count)
        write_parties(file.with_name(file.name.replace("rows", "parties")), count)
    else:
        main()
