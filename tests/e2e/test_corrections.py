from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING

from lxml import etree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Stack

#: A day of the sample trades that no other test reports.
DAY = date(2026, 9, 29)
NS = {"d": "urn:iso:std:iso:20022:tech:xsd:auth.016.001.01"}


def files(stack: Stack) -> list[Path]:
    return sorted(stack.site.inbox.rglob(f"DEMO_DATTRA_DE_{DAY:%Y%m%d}_*.xml"))


def records(path: Path) -> list[tuple[str, str, str | None]]:
    """What each record of a file is, the transaction that it speaks of, and its quantity."""
    found = etree.parse(path).findall(".//d:Tx/*[d:TxId]", NS)
    return [
        (
            etree.QName(one).localname,
            str(one.findtext("d:TxId", None, NS)),
            one.findtext("d:Tx/d:Qty/d:Unit", None, NS),
        )
        for one in found
    ]


def test_what_was_reported_wrongly_is_cancelled_and_reported_anew(stack: Stack) -> None:
    first = stack.run("mifir_transactions", DAY)
    assert first.proven, first.failures
    (report,) = files(stack)
    reported = [transaction for kind, transaction, _ in records(report) if kind == "New"]

    unchanged = stack.run("mifir_transactions", DAY)
    assert unchanged.state == "success", unchanged.failures
    assert files(stack) == [report]

    wrong, *_, gone = reported
    with closing(sqlite3.connect(stack.site.source)) as source, source:
        source.execute("UPDATE trades SET quantity = '777' WHERE trade_id = ?", [wrong])
        source.execute("DELETE FROM trades WHERE trade_id = ?", [gone])
    corrected = stack.run("mifir_transactions", DAY)
    assert corrected.proven, corrected.failures
    _, correction = files(stack)
    assert records(correction) == [
        ("Cxl", wrong, None),
        ("Cxl", gone, None),
        ("New", wrong, "777"),
    ]
