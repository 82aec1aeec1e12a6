"""Rows of a benchmark: medians of interleaved repeats, printed as a table or written as JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


@dataclass
class Row:
    """One measured way of doing one work; ``ratio`` is against what ``target`` speaks of."""

    work: str
    way: str
    seconds: float
    rate: float
    unit: str
    peak_rss_mb: float
    ratio: float | None = None
    target: str | None = None
    meets_target: bool | None = None


def arguments(description: str, *, rows: int, ways: Collection[str] = ()) -> argparse.Namespace:
    """The options that every benchmark has; ``--only`` where its ``ways`` can be chosen."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rows", type=int, default=rows, help=f"scale (default {rows:,})")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved repeats (default 3)")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    if ways:
        text = f"measure some of the ways, without targets that need others: {', '.join(ways)}"
        parser.add_argument("--only", nargs="+", choices=ways, metavar="WAY", help=text)
    return parser.parse_args()


def measure(
    commands: Mapping[str, Sequence[str]],
    *,
    repeats: int,
    environment: Mapping[str, str],
    once: Collection[str] = (),
) -> dict[str, tuple[float, float]]:
    """Run each command in a process of its own, in turn, ``repeats`` times; ``once`` those named.

    Each command prints one JSON object with ``seconds`` and ``peak_rss_mb``.

    Returns:
        For each command the median seconds and the highest peak memory in MB.
    """
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for number in range(repeats):
        for name, command in commands.items():
            if number and name in once:
                continue
            done = subprocess.run(
                [sys.executable, *command],
                env=dict(environment),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr[-4000:]}")
            seen[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: (
            statistics.median(run["seconds"] for run in runs),
            max(run["peak_rss_mb"] for run in runs),
        )
        for name, runs in seen.items()
    }


def show(title: str, rows: Sequence[Row], file: Path | None) -> None:
    """Print the rows; write them to ``file`` when one is given."""
    table = Table(title=title, title_justify="left")
    for name in ("work", "way", "seconds", "rate", "peak MB", "ratio", "target", "met"):
        right = name in ("seconds", "rate", "peak MB", "ratio")
        table.add_column(name, justify="right" if right else "left")
    for row in rows:
        met = {None: "", True: "yes", False: "NO"}[row.meets_target]
        table.add_row(
            row.work,
            row.way,
            f"{row.seconds:.3f}",
            f"{row.rate:,.1f} {row.unit}",
            f"{row.peak_rss_mb:,.0f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.target or "",
            met,
        )
    Console(width=140).print(table)
    if file is not None:
        file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
