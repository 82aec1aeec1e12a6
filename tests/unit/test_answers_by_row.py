"""Answers mean the rows that they name, also where one file says several things of a reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.artifacts.produce import produce
from openreg_airflow.deliver.acknowledgement.collect import Awaited, collect
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.errors import ArtifactError
from openreg_airflow.exception_queue import claims
from openreg_airflow.exception_queue.listing import Wanted, find
from openreg_airflow.exception_queue.reasons import ReasonWriter
from openreg_airflow.exception_queue.rejections import Rejection
from openreg_airflow.exception_queue.set_aside import set_aside
from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.exception_queue.take_back import take_back
from openreg_airflow.records import Artifact, ArtifactFile, Column, Dataset
from openreg_airflow.references.names import refuse_alike
from openreg_airflow.references.spec import ReferencesSpec
from openreg_airflow.store.acknowledgements import Acknowledgements
from openreg_airflow.workspace import Workspace
from tests import exception_runs
from tests.artifact_files import RUN, dataset, spec_of
from tests.feedback_files import auth031
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CSV = {"parser": "csv", "form": {"reference": ["uti", "act"], "status": "state", "text": "why"}}
ONE = {"parser": "csv", "form": {"reference": "uti", "status": "state", "text": "why"}}


@dataclass
class Desk:
    """A table that was sent in files of some records, and the folder where answers appear."""

    folder: Path
    rows: Sequence[tuple[str, str, str]]
    parts: Sequence[int]
    answer: dict[str, Any]
    files: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Acknowledgements(new_store(self.folder))
        (self.folder / "out").mkdir()
        columns = zip(("uti", "action", "record_id"), zip(*self.rows, strict=True), strict=True)
        workspace = Workspace(self.folder / "workspace")
        with workspace.folder(RUN, "validate").writing("t.parquet") as pending:
            pq.write_table(pa.table({name: list(c) for name, c in columns}), pending.path)
        files = tuple(
            ArtifactFile(
                uri="x", bytes=1, sha256="0" * 64, filename=f"f{n}.xml", records=count, part=n
            )
            for n, count in enumerate(self.parts, 1)
        )
        spec = {"pattern": "{stem}_*", "folder": "out"} | self.answer
        self.awaited = Awaited(
            run=RUN,
            route="authority",
            spec=RouteSpec.model_validate(
                {"channel": "folder", "connection": "outbox", "acknowledgement": spec}
            ),
            artifact=Artifact(
                name="trades",
                format="xml",
                records=len(self.rows),
                schema_check="",
                files=files,
            ),
            table=Dataset(
                **dict(pending.ref),
                rows=len(self.rows),
                columns=(Column(name="uti", type="string"),),
            ),
            due_at=datetime.now(UTC) + timedelta(days=1),
        )

    def said(self, text: str, part: int = 1) -> list[str]:
        """Let the authority say something of a part; why it was refused, if it was."""
        self.files += 1
        (self.folder / "out" / f"f{part}_{self.files}").write_text(text)
        found = collect(
            self.awaited,
            connect=lambda _: Connection(id="outbox", type="fs", extra={"path": str(self.folder)}),
            workspace=Workspace(self.folder / "workspace"),
            store=self.store,
            reject=lambda words: self.rejected.extend((w.row, w.text) for w in words),
        )
        return [file.reason for file in found.refused]

    def csv(self, *lines: str, part: int = 1) -> list[str]:
        head = "uti;act;state;why" if self.answer is CSV_NAMED else "uti;state;why"
        return self.said("\n".join((head, *lines, "")), part)

    @property
    def standings(self) -> list[tuple[str, int, int, int]]:
        found = self.store.of_run(RUN, "authority", "trades")
        assert all(s.sent == s.accepted + s.rejected + s.pending for s in found)
        return [(s.state, s.accepted, s.rejected, s.pending) for s in found]

    @property
    def words(self) -> dict[int, str]:
        """What is known of rows that were not simply accepted."""
        return {a.row: a.status for a in self.store.answers(RUN, "authority", "trades")}


CSV_NAMED = CSV | {"reference": ["uti", "action"]}
BY_UTI = ONE | {"reference": "uti"}
ROWS = [("A", "NEWT", "1"), ("B", "NEWT", "2"), ("A", "VALU", "3"), ("B", "VALU", "4")]
PAIR = [("A", "CANC", "1"), ("A", "NEWT", "2"), ("B", "NEWT", "3")]


def test_several_columns_name_a_row(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ROWS, [4], CSV_NAMED)
    assert desk.csv("A;NEWT;rejected;no such party", "A;VALU;pending;", "B;NEWT;ok;") == []
    assert desk.standings == [("received", 1, 1, 2)]
    assert desk.csv("B;VALU;rejected;late", "A;VALU;ok;") == []
    assert desk.standings == [("partly accepted", 2, 2, 0)]
    assert desk.rejected == [(0, "no such party"), (3, "late")]
    assert desk.words == {0: "rejected", 2: "accepted", 3: "rejected"}


def test_record_id_names_a_row(tmp_path: Path) -> None:
    desk = Desk(tmp_path, ROWS, [4], {"reference": "record_id"})
    foreign = auth031("PART", records=[("A", "RJCT", "Y", "")])
    assert "not sent, such as 'A'" in desk.said(foreign)[0]
    records = [("1", "RJCT", "X", "unknown"), ("3", "PDNG", "", "")]
    counts = {"ACPT": 2, "RJCT": 1, "PDNG": 1}
    assert desk.said(auth031("PART", total=4, counts=counts, records=records)) == []
    assert desk.standings == [("partly accepted", 2, 1, 1)]
    assert desk.said(auth031("PART", records=[("3", "RJCT", "Y", "no price")])) == []
    assert desk.standings == [("partly accepted", 2, 2, 0)]
    assert desk.rejected == [(0, "unknown"), (2, "no price")]


@pytest.mark.parametrize(
    ("lines", "standing", "words"),
    [
        (["A;rejected;x"], ("received", 1, 1, 1), {1: "rejected"}),
        (["A;rejected;x", "A;rejected;y"], ("received", 0, 2, 1), {0: "rejected", 1: "rejected"}),
        (["A;ok;", "A;rejected;x"], ("received", 1, 1, 1), {1: "rejected"}),
        (["A;rejected;x", "A;ok;"], ("received", 1, 1, 1), {1: "rejected"}),
        (["A;ok;", "A;rejected;x", "A;rejected;y"], ("received", 1, 1, 1), {1: "rejected"}),
        (["A;pending;"], ("received", 1, 0, 2), {1: "pending"}),
        (["A;ok;"], ("received", 2, 0, 1), {}),
        (["A;ok;", "A;ok;", "B;ok;"], ("accepted", 3, 0, 0), {}),
        (["A;ok;", "B;ok;"], ("accepted", 3, 0, 0), {}),
    ],
)
def test_answer_to_a_reference_means_the_report_behind_its_cancellation(
    tmp_path: Path, lines: list[str], standing: tuple[str, int, int, int], words: dict[int, str]
) -> None:
    desk = Desk(tmp_path, PAIR, [3], BY_UTI)
    assert desk.csv(*lines) == []
    assert desk.standings == [standing]
    assert desk.words == words


@pytest.mark.parametrize(
    "lines", [["A;rejected;", "A;pending;"], ["B;ok;", "B;rejected;x"], ["B;ok;", "B;pending;"]]
)
def test_answers_that_no_order_of_rows_explains_are_refused(
    tmp_path: Path, lines: list[str]
) -> None:
    desk = Desk(tmp_path, PAIR, [3], BY_UTI)
    assert "two different states" in desk.csv(*lines)[0]
    assert desk.standings == [("awaited", 0, 0, 3)]


def test_pending_report_behind_a_cancellation_is_followed_up(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PAIR, [3], BY_UTI)
    desk.csv("A;pending;", "B;ok;")
    assert desk.standings == [("partly accepted", 2, 0, 1)]
    desk.csv("A;rejected;x")
    assert desk.standings == [("partly accepted", 2, 1, 0)]
    [(row, text)] = desk.rejected
    assert (row, text.startswith("x (the answer names only the reference: ")) == (1, True)


def test_what_was_rejected_is_not_accepted_by_a_later_word_on_its_reference(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, PAIR, [3], BY_UTI)
    desk.csv("A;rejected;x", "A;rejected;x")
    desk.csv("A;rejected;x")
    assert desk.standings == [("received", 0, 2, 1)]


def test_cancellation_and_report_in_two_files_have_an_answer_each(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PAIR, [1, 2], BY_UTI)
    assert desk.csv("A;rejected;not there", part=1) == []
    assert desk.csv("A;ok;", "B;ok;", part=2) == []
    assert desk.standings == [("rejected", 0, 1, 0), ("accepted", 2, 0, 0)]
    assert desk.rejected == [(0, "not there")]


def test_record_of_a_file_that_is_not_answered_is_refused(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PAIR, [2, 1], BY_UTI)
    [said] = desk.csv("B;rejected;x", part=1)
    assert "speaks of records of f2.xml, which it does not answer" in said


RULES = {
    "column": "uti",
    "action": "action",
    "new": ["NEWT"],
    "cancel": ["CANC"],
    "about": ["VALU"],
}


def table_of(folder: Path, rows: Sequence[tuple[str | None, ...]]) -> Path:
    columns = zip(("uti", "action", "record_id"), zip(*rows, strict=True), strict=True)
    pq.write_table(pa.table({n: pa.array(c, pa.string()) for n, c in columns}), folder / "t")
    return folder / "t"


@pytest.mark.parametrize(
    ("rows", "names", "rules", "said"),
    [
        (ROWS, ["uti", "action"], None, None),
        (ROWS, ["record_id"], RULES, None),
        (ROWS, ["uti"], None, "2 rows are named 'A' by uti, rows 1 and 3 among them"),
        (ROWS, ["uti"], RULES, "2 rows are named 'A' by uti, rows 1 and 3"),
        (PAIR, ["uti"], RULES, None),
        (PAIR, ["uti"], RULES | {"record": "uti"}, "2 rows are named 'A' by uti, rows 1 and 2"),
        (PAIR, ["uti"], None, "2 rows are named 'A' by uti, rows 1 and 2"),
        ([*ROWS, ("B", "VALU", "5")], ["uti", "action"], RULES, "named 'B / VALU' by uti, action"),
        ([("A", "NEWT", None)], ["record_id"], RULES, "record_id is empty, and answers name"),
        ([("A", "NEWT", "")], ["record_id"], RULES, "record_id is empty, and answers name"),
        ([("A", "NEWT", "x" * 251)], ["record_id"], RULES, "record_id has 251 characters"),
        (ROWS, ["trade"], None, "no column trade, by which answers name its rows"),
    ],
)
def test_rows_that_answers_could_not_tell_apart_are_refused(
    tmp_path: Path, rows: Any, names: list[str], rules: dict[str, Any] | None, said: str | None
) -> None:
    about = ReferencesSpec.model_validate(rules) if rules else None
    table = table_of(tmp_path, rows)
    if said is None:
        refuse_alike(table, names, about, tmp_path)
        return
    with pytest.raises(ArtifactError, match=said):
        refuse_alike(table, names, about, tmp_path)


@pytest.mark.parametrize("routes", [{"authority": {"names": ["record_id"]}}, {}])
def test_file_whose_record_ids_are_not_unique_gets_no_number(
    tmp_path: Path, routes: dict[str, Any]
) -> None:
    rules = {"references": RULES | {"record": "record_id"}} if not routes else {}
    rows = pq.read_table(table_of(tmp_path, [("A", "NEWT", "1"), ("B", "NEWT", "1")]))
    with pytest.raises(ArtifactError, match="2 rows are named '1' by record_id"):
        produce(
            name="out",
            spec=spec_of(format="csv", filename="out.csv", **rules),
            folder=tmp_path,
            run=RUN,
            tables={"rows": dataset(rows, tmp_path / "rows.parquet")},
            workspace=Workspace(tmp_path / "workspace"),
            routes=routes,
            allocate=lambda *_: pytest.fail("it was given a number"),
        )


def test_row_of_several_with_one_key_is_taken_back_alone(tmp_path: Path) -> None:
    desk = exception_runs.Desk(tmp_path)
    run, records = desk.key("run"), {"trades": RecordTable(key=("day",))}
    table = desk.dataset(run, "trades", exception_runs.trades({"A": "1", "B": "2", "C": "3"}))
    with ReasonWriter(tmp_path / "none.parquet"):
        pass
    given: dict[str, Any] = {"run": run, "records": records, "workspace": desk.workspace}
    given |= {"store_url": desk.url}
    set_aside(
        stage="validate",
        origin="rule",
        tables={"trades": table},
        reasons=tmp_path / "none.parquet",
        **given,
    )
    claims.settle(desk.url, run)
    key = (str(exception_runs.DAY),)
    rejection = Rejection(table="trades", key=key, row=1, rule="X", message="no")
    take_back(rejections=[rejection], numbered={"trades": table.sha256}, **given)
    found = find(desk.url, Wanted(report_id=run.report_id))
    assert [item.values["id"] for item in found] == ["B"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("action", "tell the rows of a file apart"),
        (["uti", "uti"], "each once"),
        (["uti", "day"], "record has day, which derived cancellations do not have"),
    ],
)
def test_record_that_names_no_row_is_refused(record: Any, said: str) -> None:
    derived = {"corrections": "cancel_and_new", "cancel_columns": [], "about": []}
    with pytest.raises(ValueError, match=said):
        ReferencesSpec.model_validate(RULES | derived | {"record": record})
