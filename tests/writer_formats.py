"""One small artifact of every format, for what holds of all of them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = (
    '<d xmlns:r="urn:openreg:layout:1"><t>{sum.amount}</t>'
    '<e r:each="rows"><i>{id}</i><a>{amount}</a></e></d>'
)
TEMPLATE = {"t": "{sum.amount}", "all": [{"$each": "rows", "i": "{id}", "a": "{amount}"}]}
FORMATS: dict[str, dict[str, Any]] = {
    "csv": {"columns": {"id": {}, "amount": {}}, "trailer_records": ["T,{sum.amount}"]},
    "excel": {"columns": {"id": {}, "amount": {}}},
    "fixed": {
        "fields": [{"column": "id", "width": 9}, {"column": "amount", "width": 9, "decimals": 2}],
        "trailer_records": [[{"value": "sum.amount", "width": 18, "decimals": 2}]],
    },
    "json": {"template": "template.json"},
    "jsonl": {"columns": {"id": {}, "amount": {}}},
    "parquet": {"columns": {"id": {}, "amount": {}}},
    "xbrl-csv": {
        "filename": "out.zip",
        "extends": ["http://www.regulator.example/register.json"],
        "parameters": {"total": "{sum.amount}"},
        "tables": {"t": {"table": "rows", "columns": {"id": {}, "amount": {}}}},
    },
    "xml": {"layout": "layout.xml"},
}


def rows(count: int) -> pa.Table:
    return pa.table(
        {
            "id": [f"T{n}" for n in range(count)],
            "amount": pa.array([Decimal(n).scaleb(-2) for n in range(count)], pa.decimal128(18, 2)),
        }
    )


def folder_of(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "layout.xml").write_text(LAYOUT)
    (folder / "template.json").write_text(json.dumps(TEMPLATE))
    return folder
