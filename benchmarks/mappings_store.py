"""Keeping a large set: its import, its export and pages of searches, in one database.

Run by :mod:`benchmarks.mappings` in a process of its own.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from datetime import date
from pathlib import Path

from openreg_airflow.mappings.exporting import export_file
from openreg_airflow.mappings.importing import import_file
from openreg_airflow.mappings.search import EntryFilter, search
from openreg_airflow.mappings.sets import Sets
from openreg_airflow.store import schema
from openreg_airflow.store.actor import Actor

SET = "benchmark"
ACTOR = Actor("benchmark", "benchmark")
PAGES = 40
ALL_PAGES = "page: all of these"


def write_csv(path: Path, entries: int) -> None:
    """Lines of dated entries, two of each code."""
    with path.open("w", encoding="utf-8") as out:
        out.write("code,mic,name,effective_from,effective_to\n")
        for number in range(entries):
            begin, end = ("2020-01-01", "2025-07-01") if number % 2 else ("2025-07-01", "")
            code = f"V{number // 2:07d}"
            out.write(f"{code},M{number:07d},Venue number {number} of {code},{begin},{end}\n")


def measure(url: str, folder: Path, entries: int) -> dict[str, float]:
    """Seconds of an import and an export, and the median seconds of a page of each search."""
    schema.upgrade(url)
    values = (("mic", "string"), ("name", "string"))
    Sets(url, ACTOR).create(SET, keys=(("code", "string"),), values=values)
    began = time.perf_counter()
    outcome = import_file(url, SET, folder / "entries.csv", ACTOR)
    imported = time.perf_counter()
    count = export_file(url, SET, folder / "exported.csv")
    exported = time.perf_counter()
    if count != entries:
        sys.exit(f"{count} entries were exported of {entries}: {outcome}")
    return {
        "import": imported - began,
        "export": exported - imported,
        **_pages(url, entries),
    }


def _pages(url: str, entries: int) -> dict[str, float]:
    codes = [f"V{number * (entries // 2) // PAGES:07d}" for number in range(PAGES)]
    places: list[str | None] = [search(url, SET, EntryFilter(prefix=c[:-2])).next for c in codes]
    day = date(2026, 3, 31)
    following = zip(codes, places, strict=True)
    searches: dict[str, list[tuple[EntryFilter, str | None]]] = {
        "key prefix": [(EntryFilter(prefix=code[:-2]), None) for code in codes],
        "as of a date": [
            (EntryFilter(prefix=code[:-3], business_date=day), None) for code in codes
        ],
        "page that follows": [(EntryFilter(prefix=code[:-2]), place) for code, place in following],
        "rare text": [(EntryFilter(text=f"of {code}"), None) for code in codes[:10]],
    }
    medians, everything = {}, []
    for name, asked in searches.items():
        seconds = []
        for wanted, after in asked:
            began = time.perf_counter()
            search(url, SET, wanted, after=after)
            seconds.append(time.perf_counter() - began)
        medians[f"page: {name}"] = statistics.median(seconds)
        everything += seconds
    return medians | {ALL_PAGES: statistics.median(everything)}


def main() -> None:
    """Measure and print as JSON; arguments: the store's URL, a folder, how many entries."""
    url, folder, entries = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    write_csv(folder / "entries.csv", entries)
    found = measure(url, folder, entries)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": found, "peak_rss_mb": peak}))


if __name__ == "__main__":
    main()
