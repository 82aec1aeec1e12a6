"""Runs of a small report whose records can be set aside, for the tests of the exception queue."""

from __future__ import annotations

import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.exception_queue import claims, resubmission
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.rejections import Rejection
from openreg_airflow.exception_queue.set_aside import SetAside, set_aside
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.exception_queue.take_back import take_back
from openreg_airflow.records import Column, Dataset, RunKey
from openreg_airflow.store import schema
from openreg_airflow.workspace import Workspace
from tests.new_store import new_store

DAY = date(2026, 3, 31)
RECORDS = {
    "trades": RecordTable(key=("id",)),
    "parties": RecordTable(parent="trades", on={"trade_id": "id"}),
}
TRADES = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("price", pa.decimal128(18, 5)),
        pa.field("day", pa.date32()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("lots", pa.int64()),
    ]
)
PARTIES = pa.schema([pa.field("trade_id", pa.string()), pa.field("lei", pa.string())])


class Desk:
    """A report's workspace and store; a price that is not positive is set aside.

    Args:
        folder: for the workspace and, without ``url``, for a store in SQLite.
        url: the store.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        if url is not None:
            schema.upgrade(url)
        self.url = url or new_store(folder)
        self.workspace = Workspace(folder / "workspace")

    def key(self, run_id: str) -> RunKey:
        """A run of the report."""
        return RunKey(report_id="desk", business_date=DAY, run_id=run_id)

    def dataset(self, run: RunKey, name: str, table: pa.Table) -> Dataset:
        """A table in the workspace."""
        with self.workspace.folder(run, "transform").writing(f"{name}.parquet") as pending:
            pq.write_table(table, pending.path)
        columns = tuple(Column(name=f.name, type=str(f.type)) for f in table.schema)
        return Dataset(**pending.ref.model_dump(), rows=table.num_rows, columns=columns)

    def read(self, table: Dataset) -> list[dict[str, Any]]:
        """The rows of a table."""
        with self.workspace.open_local(table) as path:
            rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows

    def source_run(
        self, run_id: str, prices: dict[str, str], *, settle: bool = True, stage: str = "validate"
    ) -> SetAside:
        """A run that reads the source: trades by id with their prices, two parties each."""
        run = self.key(run_id)
        tables = {
            "trades": self.dataset(run, "trades", trades(prices)),
            "parties": self.dataset(run, "parties", parties(prices)),
            "venues": self.dataset(run, "venues", pa.table({"mic": ["XETR"]})),
        }
        done = set_aside(
            run=run,
            stage=stage,
            origin="rule",
            records=RECORDS,
            tables=tables,
            reasons=self._reasons(list(prices.items())),
            workspace=self.workspace,
            store_url=self.url,
        )
        if settle:
            claims.settle(self.url, run)
        return done

    def take(self, run_id: str) -> Any:
        """The beginning of a resubmission."""
        return resubmission.take(self.key(run_id), RECORDS, self.workspace, self.url)

    def go_on(self, run_id: str, tables: dict[str, Dataset]) -> SetAside:
        """Its validation."""
        rows = [(row["id"], str(row["price"])) for row in self.read(tables["trades"])]
        return resubmission.go_on(
            run=self.key(run_id),
            stage="validate",
            records=RECORDS,
            tables=tables,
            reasons=self._reasons(rows),
            workspace=self.workspace,
            store_url=self.url,
        )

    def resubmit(self, run_id: str) -> list[str]:
        """A whole resubmission; the ids that it reported."""
        taken = self.take(run_id)
        if taken is None:
            return []
        done = self.go_on(run_id, taken.tables)
        claims.settle(self.url, self.key(run_id))
        return [row["id"] for row in self.read(done.tables["trades"])]

    def rejected(self, run_id: str, trade: str) -> int:
        """The authority rejects a trade that a run reported."""
        said = Rejection(table="trades", key=(trade,), rule="CON-412", message="unknown")
        return take_back(
            run=self.key(run_id),
            rejections=[said],
            records=RECORDS,
            workspace=self.workspace,
            store_url=self.url,
        )

    def _reasons(self, rows: list[tuple[str, str]]) -> Path:
        path = Path(tempfile.mkdtemp(dir=self.folder)) / "reasons.parquet"
        with ReasonWriter(path) as writer:
            for trade, price in rows:
                if Decimal(price) <= 0:
                    message = f"price {price} of {trade} is not positive"
                    writer.add("trades", "price_positive", message, key=[trade])
        return path


def trades(prices: dict[str, str]) -> pa.Table:
    """Trades with these prices."""
    rows = [
        {"id": trade, "price": Decimal(price), "day": DAY, "at": None, "lots": 2**60}
        for trade, price in prices.items()
    ]
    return pa.Table.from_pylist(rows, schema=TRADES)


def parties(prices: dict[str, str]) -> pa.Table:
    """Two parties of each trade."""
    rows = [{"trade_id": t, "lei": f"{t}-{side}"} for t in prices for side in ("buyer", "seller")]
    return pa.Table.from_pylist(rows, schema=PARTIES)
