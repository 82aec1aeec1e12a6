"""Small reports that go wrong, each in its own way, for the end-to-end tests."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

GOOD_SQL = "SELECT id, price FROM trades WHERE day = :business_date ORDER BY id\n"
GOOD_SCRIPT = "def transform(inputs, context):\n    return inputs['trades']\n"


def make_source(path: Path) -> None:
    """Three trades of one day, one of them without a price above zero."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE trades (id INTEGER, price TEXT, day TEXT)")
        rows = [(1, "10.50", "2026-09-30"), (2, "0.00", "2026-09-30"), (3, "7.25", "2026-09-30")]
        database.executemany("INSERT INTO trades VALUES (?, ?, ?)", rows)
    database.close()


def write(
    root: Path,
    report_id: str,
    *,
    sql: str | None = GOOD_SQL,
    script: str = GOOD_SCRIPT,
    source: str = "e2e_source",
    inbox: str = "openreg_demo_inbox",
    severity: str = "warning",
    retries: int = 0,
    more: dict[str, Any] | None = None,
) -> Path:
    """Write one report; with the defaults it is right, and one warning rule fails.

    ``more`` are further sections of its spec.
    """
    spec: dict[str, Any] = {
        "openreg": 1,
        "id": report_id,
        "title": f"Test report {report_id}",
        "retries": {"count": retries, "delay_seconds": 1, "max_delay_seconds": 2},
        "extract": {
            "sources": {
                "trades": {
                    "connection": source,
                    "sql": "trades.sql",
                    "columns": {"price": "decimal(18,2)", "id": "integer"},
                }
            }
        },
        "transform": {"script": "transform.py"},
        "validate": {
            "rules": {
                "price_positive": {
                    "title": "Prices are positive",
                    "table": "trades",
                    "severity": severity,
                    "sql": "SELECT * FROM trades WHERE price <= 0",
                    "message": "price {price} of trade {id}",
                }
            }
        },
        "artifacts": {
            "trades": {
                "format": "csv",
                "table": "trades",
                "filename": report_id + "_{business_date:%Y%m%d}.csv",
            }
        },
        "deliver": {
            "routes": {"regulator": {"channel": "sftp", "connection": inbox, "folder": "inbox"}}
        },
    }
    folder = root / report_id
    folder.mkdir(parents=True)
    (folder / "report.yaml").write_text(yaml.safe_dump(spec | (more or {}), sort_keys=False))
    (folder / "transform.py").write_text(script)
    if sql is not None:
        (folder / "trades.sql").write_text(sql)
    return folder


def write_correctable(root: Path, report_id: str) -> Path:
    """Write a report that sets trades without a price aside and goes on without them."""
    folder = write(root, report_id, severity="correctable")
    spec = yaml.safe_load((folder / "report.yaml").read_text())
    spec["records"] = {"trades": {"key": ["id"]}}
    (folder / "report.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return folder


def write_rerouted(root: Path, report_id: str) -> Path:
    """Write a report whose destination is down, and whose other one answers with a file."""
    folder = write_correctable(root, report_id)
    spec = yaml.safe_load((folder / "report.yaml").read_text())
    answer = {
        "pattern": "{stem}_FDB.csv",
        "folder": "out",
        "parser": "csv",
        "form": {"reference": "ref", "status": "state", "rule": "rule", "text": "why"},
        "reference": "id",
        "poll_seconds": 10,
    }
    spare = {"channel": "folder", "connection": "e2e_outbox", "folder": "in"}
    spec["deliver"]["routes"] = {
        "regulator": {"channel": "ftp", "connection": "e2e_down"},
        "spare": spare | {"instead_of": "regulator", "acknowledgement": answer},
    }
    (folder / "report.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return folder


def write_incremental(root: Path, report_id: str) -> Path:
    """Write a report whose two sources are one state of the database, one of them only what is new.

    It has neither script nor rules, so that nothing but the tables decides how it ends.
    """
    folder = write(root, report_id, sql="SELECT * FROM trades WHERE id > :since AND id <= :until\n")
    spec = yaml.safe_load((folder / "report.yaml").read_text())
    sources = spec["extract"]["sources"]
    sources["all_trades"] = {"connection": "e2e_source", "sql": "all.sql"}
    sources["trades"]["incremental"] = {"column": "id", "type": "integer", "start": 1}
    spec["extract"]["snapshot"] = True
    del spec["transform"], spec["validate"]
    (folder / "report.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    (folder / "all.sql").write_text("SELECT count(*) AS number FROM trades\n")
    return folder


def write_broken(root: Path, report_id: str) -> Path:
    """Write a report whose spec has an unknown key."""
    folder = write(root, report_id)
    spec = folder / "report.yaml"
    spec.write_text(spec.read_text().replace("artifacts:", "artefacts:", 1))
    return folder
