"""Reads large feedback files in a program of its own and tells the peak of its memory.

Run as a program: ``python -m tests.feedback_memory FOLDER KIND RECORDS``.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.deliver.acknowledgement.collect import Awaited, collect
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.records import Artifact, ArtifactFile, Column, Dataset, RunKey
from openreg_airflow.store import schema
from openreg_airflow.store.acknowledgements import Acknowledgements
from openreg_airflow.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = RunKey(report_id="trades", business_date=date(2026, 3, 2), run_id="manual__1")
ADVICE = "urn:iso:std:iso:20022:tech:xsd:auth.031.001.01"
FORM = {"reference": "id", "status": "s/c", "text": "why", "record": "rec"}
#: By kind: the spec, and what stands before, for and after each record.
KINDS: dict[str, tuple[dict[str, object], str, str, str]] = {
    "csv": (
        {"parser": "csv", "form": {"reference": "id", "status": "s", "text": "why"}},
        "id;s;why\n",
        "{reference};ok;taken over by the authority without any remark of its own\n",
        "",
    ),
    "xml": (
        {"parser": "xml", "form": FORM},
        "<all>",
        "<rec><id>{reference}</id><s><c>ok</c></s><why>without any remark</why></rec>\n",
        "</all>",
    ),
    "auth031": (
        {"parser": "auth031"},
        f'<Document xmlns="{ADVICE}"><FinInstrmRptgStsAdvc><StsAdvc>'
        "<MsgSts><Sts>PART</Sts></MsgSts>",
        "<RcrdSts><OrgnlRcrdId>{reference}</OrgnlRcrdId><Sts>PDNG</Sts><VldtnRule>"
        "<Id>CON-411</Id><Desc>instrument pending</Desc></VldtnRule></RcrdSts>\n",
        "</StsAdvc></FinInstrmRptgStsAdvc></Document>",
    ),
}


def references(records: int) -> Iterator[str]:
    """Names of records, each once and in no order that a database would like."""
    return (f"TRADE{number * 7_368_787 % 10_000_019:012}" for number in range(records))


def write(folder: Path, records: int) -> tuple[Dataset, Artifact]:
    """A table that was sent, and the artifact of it."""
    with Workspace(folder / "workspace").folder(RUN, "validate").writing("t.parquet") as pending:
        type_ = pa.schema([("reference", pa.string())])
        with pq.ParquetWriter(pending.path, type_) as writer:
            names = references(records)
            while chunk := list(islice(names, 50_000)):
                writer.write_table(pa.table({"reference": chunk}, schema=type_))
    columns = (Column(name="reference", type="string"),)
    file = ArtifactFile(
        uri="unused", bytes=1, sha256="0" * 64, filename="sent.xml", records=records
    )
    artifact = Artifact(
        name="trades", format="xml", records=records, schema_check="valid", files=(file,)
    )
    return Dataset(**dict(pending.ref), rows=records, columns=columns), artifact


def count(rejected: Iterator[object]) -> None:
    """Take the rejected records; there are none here."""
    assert next(rejected, None) is None


def peak() -> int:
    """MiB; of this program alone, which getrusage would not tell."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) // 1024 if found else 0


def main(folder: Path, kind: str, records: int) -> None:
    """Answer half of what was sent, then the rest."""
    spec, head, record, tail = KINDS[kind]
    (folder / "out").mkdir()
    url = f"sqlite:///{folder / 'store.db'}"
    schema.upgrade(url)
    table, artifact = write(folder, records)
    awaited = Awaited(
        run=RUN,
        route="regulator",
        spec=RouteSpec.model_validate(
            {
                "channel": "folder",
                "connection": "outbox",
                "acknowledgement": {
                    "pattern": "{stem}_*",
                    "folder": "out",
                    "reference": "reference",
                    **spec,
                },
            }
        ),
        artifact=artifact,
        table=table,
        due_at=datetime.now(UTC) + timedelta(days=1),
    )
    began, bytes_, standings = peak(), 0, []
    names = references(records)
    for number, most in enumerate((records // 2, records), 1):
        path = folder / "out" / f"sent_{number}"
        with path.open("w") as file:
            file.write(head)
            file.writelines(record.format(reference=name) for name in islice(names, most))
            file.write(tail)
        bytes_ += path.stat().st_size
        found = collect(
            awaited,
            connect=lambda _: Connection(id="outbox", type="fs", extra={"path": str(folder)}),
            workspace=Workspace(folder / "workspace"),
            store=Acknowledgements(url),
            reject=count,
        )
        [one] = found.standings
        standings.append([one.state, one.accepted, one.rejected, one.pending])
    size = (folder / "store.db").stat().st_size
    said = {"standings": standings, "bytes": bytes_, "store": size, "before": began, "peak": peak()}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
