"""What the sandbox costs: its start, and a million rows through a typical transform.

The same function runs on the same Parquet files as plain pandas in a process of its own, which
reads, calls it and writes what it returns, and in the sandbox, from the task's call to decoded and
published tables. Start-up is measured on a handful of rows, where nothing else counts. Plain pandas
is timed after its imports; the sandbox imports them anew each time, within its start-up. What the
rows take beyond a start is the throughput.

It needs a Docker engine and the image of ``openreg sandbox build``. Peak memory of the sandbox is
that of the script's process, under the limit of its container.
"""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

from benchmarks.table import Row, arguments, measure, show

PROJECT = Path(__file__).resolve().parent.parent
FEW = 10
MEMORY_MB = 2048
CPUS = 1
SCRIPT = """\
def transform(inputs, context):
    trades = inputs["trades"]
    trades = trades[trades["quantity"] > 0]
    trades["amount"] = trades["price"] * trades["quantity"]
    trades["venue"] = trades["venue"].str.upper()
    trades["day"] = trades["traded_at"].dt.date
    totals = trades.groupby("venue", as_index=False)["amount"].sum()
    return {"trades": trades.sort_values("trade_id"), "totals": totals}
"""


def write_trades(path: Path, rows: int) -> None:
    """Write trades as an extract does."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    seed = np.random.default_rng(7)
    start = int(datetime(2026, 3, 2, 8, tzinfo=UTC).timestamp() * 1_000_000)
    # A decimal of Arrow is its whole number of units in 16 bytes, the lower eight first.
    units = np.zeros((rows, 2), dtype="<i8")
    units[:, 0] = seed.integers(100_000, 50_000_000, rows)
    price = pa.Array.from_buffers(pa.decimal128(18, 5), rows, [None, pa.py_buffer(units)])
    venues = pa.array(["xfra", "xpar", "xams", "xlon", "xmil"])
    table = pa.table(
        {
            "trade_id": pc.binary_join_element_wise(
                "T", pc.cast(pa.array(seed.permutation(rows)), pa.string()), ""
            ),
            "venue": venues.take(pa.array(seed.integers(0, 5, rows))),
            "isin": pc.binary_join_element_wise(
                "DE000", pc.cast(pa.array(seed.integers(1000000, 1009999, rows)), pa.string()), ""
            ),
            "price": price,
            "quantity": seed.integers(0, 10_000, rows),
            "traded_at": pa.array(start + seed.integers(0, 30_000_000_000, rows)).cast(
                pa.timestamp("us", tz="UTC")
            ),
        }
    )
    pq.write_table(table, path, compression="zstd", row_group_size=1 << 17)


def plain(folder: Path) -> None:
    """Read, transform and write with pandas alone; runs in its own process."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(CPUS)
    names: dict[str, object] = {}
    exec(compile(SCRIPT, "transform.py", "exec"), names)  # noqa: S102 - ours, above
    transform = names["transform"]
    pd.DataFrame({"warm": pd.array([1], dtype="int64[pyarrow]")})
    began = time.perf_counter()
    trades = pd.read_parquet(folder / "trades.parquet", dtype_backend="pyarrow")
    tables = transform({"trades": trades}, None)  # type: ignore[operator]
    for name, frame in tables.items():
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table, folder / f"plain-{name}.parquet", compression="zstd")
    _say(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def sandboxed(folder: Path) -> None:
    """Run the transform as its task does; runs in its own process."""
    from openreg_airflow.records import RunKey
    from openreg_airflow.settings import SANDBOX_IMPORTS
    from openreg_airflow.transform.container import run_in_container
    from openreg_airflow.transform.engine import address_from_environment, connect
    from openreg_airflow.transform.job import Job
    from openreg_airflow.transform.spec import TransformSection
    from openreg_airflow.workspace import Workspace

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("openreg_airflow.transform")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)

    client = connect(address_from_environment())
    run = RunKey(report_id="benchmark", business_date=date(2026, 3, 2), run_id="benchmark")
    limits = {"memory_mb": MEMORY_MB, "cpus": CPUS}
    job = Job(
        run=run,
        key=str(folder),
        spec=TransformSection.model_validate({"limits": limits}),
        source=SCRIPT,
        inputs={"trades": folder / "trades.parquet"},
        imports=SANDBOX_IMPORTS.split(),
    )
    image = os.environ.get("AIRFLOW__OPENREG__SANDBOX_IMAGE") or "openreg-sandbox:latest"
    output = Workspace(folder).folder(run, "transform")
    began = time.perf_counter()
    run_in_container(client, image, job, output, local=True)
    seconds = time.perf_counter() - began
    peak = re.search(r"(\d+) of \d+ MiB of memory", said[-1])
    sys.stderr.write(said[-1] + "\n")
    _say(seconds, float(peak[1]) if peak else 0)


def _say(seconds: float, peak_rss_mb: float) -> None:
    print(json.dumps({"seconds": seconds, "peak_rss_mb": peak_rss_mb}))


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rows=1_000_000)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with tempfile.TemporaryDirectory() as name:
        commands = {}
        for work, rows in (("few", FEW), ("many", options.rows)):
            folder = Path(name, work)
            folder.mkdir()
            write_trades(folder / "trades.parquet", rows)
            for way in ("plain", "sandboxed"):
                commands[f"{work} {way}"] = ("-m", "benchmarks.sandbox", way, str(folder))
        measured = measure(commands, repeats=options.repeats, environment=environment)
    show("The sandbox beside plain pandas (median)", _rows(measured, options.rows), options.json)


def _rows(measured: dict[str, tuple[float, float]], count: int) -> list[Row]:
    rows = []
    for work, scale, title in (
        ("few", FEW, f"start-up, {FEW} rows"),
        ("many", count, f"typical transform, {count:,} rows"),
    ):
        for way in ("plain", "sandboxed"):
            seconds, peak = measured[f"{work} {way}"]
            name = "plain pandas" if way == "plain" else "sandbox"
            rows.append(Row(title, name, seconds, scale / seconds, "rows/s", peak))
    plain_few, boxed_few, plain_many, boxed_many = rows
    overhead = boxed_few.seconds - plain_few.seconds
    boxed_few.target, boxed_few.meets_target = "at most 1.5 s more", overhead <= 1.5
    boxed_many.ratio = boxed_many.seconds / plain_many.seconds
    # What a start takes does not grow with the rows: throughput is what remains without it.
    for few, many in ((plain_few, plain_many), (boxed_few, boxed_many)):
        seconds = many.seconds - few.seconds
        title = f"throughput, {count:,} rows"
        rows.append(Row(title, many.way, seconds, count / seconds, "rows/s", many.peak_rss_mb))
    rows[-1].ratio = rows[-1].seconds / rows[-2].seconds
    rows[-1].target = f"1.3, within {MEMORY_MB} MB"
    rows[-1].meets_target = rows[-1].ratio <= 1.3 and rows[-1].peak_rss_mb <= MEMORY_MB
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["plain"]:
        plain(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["sandboxed"]:
        sandboxed(Path(sys.argv[2]))
    else:
        main()
