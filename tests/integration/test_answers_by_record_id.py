"""A trade repository answers by technical record id, and what it did not take goes out again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from lxml import etree

from openreg_airflow.deliver.acknowledgement.operator import AcknowledgeOperator
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.errors import ArtifactError
from tests.feedback_files import auth031
from tests.integration.test_example_corrections import (
    Firm,
    Tables,
    changed,
    context,
    firm,
    samples,
    without,
)
from tests.unit.test_example_reports import BUSINESS_DATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from openreg_airflow.records import Artifact, RunKey

__all__ = ["firm", "samples"]

ANSWER = {"pattern": "{stem}_STS_*.xml", "folder": "out"}
#: What was sent of which trade: the message, and the number of the trade.
Sent = list[tuple[str, str]]


@dataclass
class Repository:
    """Takes what it gets but for what it is told to reject; it goes by record ids alone."""

    firm: Firm
    reject: set[tuple[str, str]] = field(default_factory=set)

    def answers(self, tables: Tables) -> tuple[Sent, Any]:
        """Let the firm report, answer, and let it read that: what was sent, how it stands."""
        run, made = self.firm.run(tables)
        sent = self.firm.deliver(run, made)
        if not sent:
            return [], None
        [file] = made.files
        document = etree.parse(self.firm.folder / "outbox" / "in" / file.filename)
        identifiers = [one.text for one in document.iterfind(".//{*}TechRcrdId")]
        records = [
            (str(identifier), "RJCT", "EMIR-VR-1001", f"{what[0]} is refused")
            for identifier, what in zip(identifiers, sent, strict=True)
            if what in self.reject
        ]
        counts = {"ACPT": len(sent) - len(records), "RJCT": len(records)}
        text = auth031(
            "PART" if records else "ACPT",
            original=file.filename,
            total=len(sent),
            counts={code: number for code, number in counts.items() if number},
            records=records,
        )
        out = self.firm.folder / "outbox" / "out"
        out.mkdir(exist_ok=True)
        (out / f"{file.filename.removesuffix('.xml')}_STS_1.xml").write_text(text)
        return sent, self._read(run, made)

    def _read(self, run: RunKey, made: Artifact) -> Any:
        task = AcknowledgeOperator(
            task_id="acknowledge",
            report_id=run.report_id,
            business_date=BUSINESS_DATE.isoformat(),
            route="regulator",
            spec=RouteSpec.model_validate(
                {"channel": "folder", "connection": "outbox", "acknowledgement": ANSWER}
            ),
            artifact=made.model_dump(mode="json"),
            receipts=[{"delivered_at": "2026-10-01T21:00:00+00:00"}],
            tables={},
        )
        [standing] = task.execute(context(run))
        return standing["accepted"], standing["rejected"], standing["pending"]


def valued(tables: Tables) -> tuple[Tables, str, str]:
    """Two trades, each with its valuation in the same file; their UTIs."""
    rows = tables["reports"]
    actions, utis = (rows[name].to_pylist() for name in ("action", "uti"))
    first, second = (n for n, action in enumerate(actions) if action == "NEWT" and n < 2)
    value = actions.index("VALU")
    picked = rows.take(pa.array([first, second, value, value]))
    names = [utis[first], utis[second], utis[first], utis[second]]
    ids = [f"{uti}-{n}" for n, uti in enumerate(names)]
    for column, values in (("uti", names), ("record_id", ids)):
        place = picked.column_names.index(column)
        picked = picked.set_column(place, column, pa.array(values, pa.string()))
    return tables | {"reports": picked}, utis[first], utis[second]


def later(tables: Tables, hours: int) -> Tables:
    """The same, reported later: no change, but no repeated run either."""
    at = tables["reports"]["reported_at"][0].as_py()
    return changed(tables, "reports", "reported_at", 0, at + timedelta(hours=hours))


def test_what_a_repository_rejects_goes_out_again_and_nothing_else(
    samples: dict[str, Tables],
    firm: Callable[[str], Firm],
) -> None:
    tables, one, two = valued(samples["emir_refit"])
    repository = Repository(firm("emir_refit"), {("New", one)})
    first, standing = repository.answers(tables)
    assert first == [("New", one), ("New", two), ("ValtnUpd", one), ("ValtnUpd", two)]
    assert standing == (3, 1, 0)

    # The new report was never taken, so that it is none to correct; the other was.
    second = changed(tables, "reports", "first_leg_notional", 0, 11_000_000)
    second = changed(second, "reports", "first_leg_notional", 1, 12_000_000)
    second = changed(second, "reports", "valuation", 2, 7)
    repository.reject = {("ValtnUpd", one)}
    assert repository.answers(second) == (
        [("New", one), ("Crrctn", two), ("ValtnUpd", one)],
        (2, 1, 0),
    )

    repository.reject = {("Err", one)}
    assert repository.answers(second) == ([("ValtnUpd", one)], (1, 0, 0))
    assert repository.answers(later(second, 1)) == ([], None)

    # A cancellation that was derived is rejected by its own record id, and goes out again.
    gone = without(second, "uti", one)
    assert repository.answers(gone) == ([("Err", one)], (0, 1, 0))
    repository.reject = set()
    assert repository.answers(gone) == ([("Err", one)], (1, 0, 0))
    assert repository.answers(later(gone, 2)) == ([], None)


def test_record_id_that_stands_twice_in_a_file_is_not_sent(
    samples: dict[str, Tables],
    firm: Callable[[str], Firm],
) -> None:
    tables, _, _ = valued(samples["emir_refit"])
    twice = changed(tables, "reports", "record_id", 3, tables["reports"]["record_id"][0].as_py())
    with pytest.raises(ArtifactError, match="by record_id, rows 1 and 4 among them"):
        firm("emir_refit").report(twice)
    assert pc.count_distinct(twice["reports"]["record_id"]).as_py() == 3
