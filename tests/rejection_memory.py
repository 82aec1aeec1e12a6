"""Takes back many rejected records in a program of its own and tells the peak of its memory.

Run as a program: ``python -m tests.rejection_memory STEP FOLDER RECORDS [URL]``, first with the
step ``report`` and then with the step ``reject``.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from openreg_airflow.deliver.acknowledgement.rejected import keyed
from openreg_airflow.exception_queue import claims
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.rejections import Rejection
from openreg_airflow.exception_queue.set_aside import set_aside
from openreg_airflow.exception_queue.take_back import take_back
from openreg_airflow.records import Column, Dataset
from openreg_airflow.store.acknowledgement_records import RecordAnswer
from tests.exception_runs import PARTIES, RECORDS, TRADES, Desk, parties, trades
from tests.feedback_memory import peak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

_CHUNK = 10_000


def written(
    desk: Desk, name: str, schema: pa.Schema, records: int, made: Callable[..., pa.Table]
) -> Dataset:
    """A table of so many records, written piece by piece."""
    rows = 0
    folder = desk.workspace.folder(desk.key("run"), "transform")
    with (
        folder.writing(f"{name}.parquet") as pending,
        pq.ParquetWriter(pending.path, schema) as writer,
    ):
        for first in range(0, records, _CHUNK):
            numbers = range(first, min(first + _CHUNK, records))
            table = made({f"TRADE{number:012}": "12.5" for number in numbers})
            rows += table.num_rows
            writer.write_table(table)
    columns = tuple(Column(name=field.name, type=str(field.type)) for field in schema)
    return Dataset(**pending.ref.model_dump(), rows=rows, columns=columns)


def report(folder: Path, records: int, url: str | None) -> None:
    """Report all of the records from the source."""
    desk = Desk(folder, url)
    tables = {
        "trades": written(desk, "trades", TRADES, records, trades),
        "parties": written(desk, "parties", PARTIES, records, parties),
    }
    with ReasonWriter(folder / "none.parquet"):
        pass
    set_aside(
        run=desk.key("run"),
        stage="validate",
        origin="rule",
        records=RECORDS,
        tables=tables,
        reasons=folder / "none.parquet",
        workspace=desk.workspace,
        store_url=desk.url,
    )
    claims.settle(desk.url, desk.key("run"))
    (folder / "trades.json").write_text(tables["trades"].model_dump_json())
    (folder / "url").write_text(desk.url)


def rejected(records: int) -> Iterator[tuple[int, RecordAnswer]]:
    """What the authority says of each row."""
    for row in range(records):
        yield (
            row,
            RecordAnswer(
                route="regulator",
                artifact="trades",
                reference=f"TRADE{row:012}",
                position=1,
                status="rejected",
                rules="CON-412",
                text="the instrument is not in the reference data of the authority",
            ),
        )


def reject(folder: Path, records: int) -> None:
    """Have all of them rejected, twice."""
    table = Dataset.model_validate_json((folder / "trades.json").read_text())
    desk = Desk(folder, (folder / "url").read_text())
    began, found = peak(), []
    for _ in range(2):
        started = time.monotonic()
        with desk.workspace.open_local(table) as local:
            words = keyed(local, RECORDS["trades"].naming, rejected(records))
            new = take_back(
                run=desk.key("run"),
                rejections=(
                    Rejection(table="trades", key=key, rule=word.rules, message=word.text)
                    for _, key, word in words
                ),
                records=RECORDS,
                workspace=desk.workspace,
                store_url=desk.url,
            )
        found.append({"new": new, "seconds": round(time.monotonic() - started, 1), "peak": peak()})
    sys.stdout.write(json.dumps({"before": began, "tries": found}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    place, most = Path(sys.argv[2]), int(sys.argv[3])
    if sys.argv[1] == "report":
        report(place, most, sys.argv[4] if len(sys.argv) > 4 else None)
    else:
        reject(place, most)
