"""A house that reports nested records and corrects them, as the tests of corrections need it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from lxml import etree

from openreg_airflow.artifacts.produce import produce
from openreg_airflow.records import Artifact, RunKey, Verdict
from openreg_airflow.references.guard import ReferenceGuard
from openreg_airflow.store.numbering import Numbering
from openreg_airflow.store.references import References, Said
from openreg_airflow.workspace import Workspace
from tests.artifact_files import RUN, dataset, spec_of
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LAYOUT = """<R xmlns:r="urn:openreg:layout:1">
  <Sent r:each="header">{made}</Sent>
  <Rec r:each="rows" r:key="id">
    <Act r:required="true">{action}</Act>
    <Id r:required="true">{id}</Id>
    <N>{n}</N>
    <At>{at}</At>
    <P r:each="parties" r:on="id" r:when="name != ''">
      <Name>{name}</Name>
      <A r:each="accounts" r:on="party">{iban}</A>
    </P>
  </Rec>
</R>
"""
CANCEL_AND_NEW = {"corrections": "cancel_and_new", "cancel_columns": []}
BY_ACTION = {
    "corrections": "by_action",
    "new": ["NEWT"],
    "cancel": ["EROR"],
    "about": ["MODI", "VALU"],
    "correct": {"NEWT": "CORR", "MODI": "CORR"},
    "revive": "REVI",
    "ignore": ["at"],
}
TYPES = {
    "header": {"made": pa.string()},
    "rows": {"action": pa.string(), "id": pa.string(), "n": pa.int64(), "at": pa.string()},
    "parties": {"id": pa.string(), "party": pa.string(), "name": pa.string()},
    "accounts": {"party": pa.string(), "iban": pa.string()},
}
#: Name of a party and its accounts.
Parties = dict[str, list[str]]
#: Action, reference, quantity and parties.
Row = tuple[str, str, int, Parties]


class House:
    """Makes and delivers versions of one artifact; the tests are the authority."""

    def __init__(self, folder: Path, rules: dict[str, Any], **artifact: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.url = new_store(folder)
        self.workspace = Workspace(folder / "workspace")
        (folder / "layout.xml").write_text(LAYOUT)
        self.spec = spec_of(
            format="xml",
            filename="out_{version}_{part}.xml",
            layout="layout.xml",
            references={"column": "id", "action": "action", "scope": "authority"} | rules,
            **artifact,
        )
        self.runs = 0
        self.delivered: set[str] = set()

    def make(
        self, rows: Sequence[Row], *, resubmission: int = 0, header: str = "1", at: str = "noon"
    ) -> tuple[RunKey, Artifact]:
        """Make an artifact."""
        self.runs += 1
        run = RUN.model_copy(update={"run_id": f"run-{self.runs}"})
        numbering = Numbering(self.url)
        made = produce(
            name="out",
            spec=self.spec,
            folder=self.folder,
            run=run,
            tables={
                name: dataset(table, self.folder / "in" / str(self.runs) / f"{name}.parquet")
                for name, table in tables(rows, header, at).items()
            },
            workspace=self.workspace,
            verdict=Verdict(results=(), resubmission=resubmission),
            allocate=lambda begun, parts: numbering.allocate(run, begun, parts, None, chained=True),
            reported=References(self.url),
        )
        if made.version:
            numbering.finish(run, made)
        return run, made

    def deliver(self, run: RunKey, artifact: Artifact) -> list[Row]:
        """Put it on record, and give the records in its files."""
        guard = ReferenceGuard(run, artifact, self.workspace, Numbering(self.url), again=False)
        guard.reserve()
        guard.delivered()
        # The ledger of deliveries knows content that went out before.
        if artifact.content in self.delivered:
            return []
        self.delivered.add(artifact.content)
        return [row for file in artifact.files for row in records(Path(file.uri))]

    def report(self, *rows: Row, **more: Any) -> list[Row]:
        """Make and deliver."""
        return self.deliver(*self.make(rows, **more))

    def reject(self, reference: str, submission: int = -1) -> None:
        """Let the authority refuse a record of a submission, the last one by default."""
        store = References(self.url)
        found = store.submissions("authority", RUN.report_id, RUN.business_date, "out")
        store.reject(found[submission].id, [[Said(-1, reference, True)]])


def tables(rows: Sequence[Row], header: str, at: str) -> dict[str, pa.Table]:
    found: dict[str, list[tuple[Any, ...]]] = {"header": [(header,)], "rows": []}
    found |= {"parties": [], "accounts": []}
    for action, reference, n, parties in rows:
        found["rows"].append((action, reference, n, at))
        for name, accounts in parties.items():
            party = f"{reference} {name}"
            found["parties"].append((reference, party, name))
            found["accounts"] += [(party, iban) for iban in accounts]
    return {
        name: pa.table(
            [
                pa.array([row[place] for row in found[name]], kind)
                for place, kind in enumerate(types.values())
            ],
            names=list(types),
        )
        for name, types in TYPES.items()
    }


def records(file: Path) -> Iterator[Row]:
    for record in etree.parse(file).iterfind("Rec"):
        parties = {p.findtext("Name"): [a.text for a in p.iterfind("A")] for p in record.iter("P")}
        yield (
            record.findtext("Act"),
            record.findtext("Id"),
            int(record.findtext("N") or 0),
            parties,
        )
