"""A correction leaves the authority with the records of the newest version, and stops reuse."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openreg_airflow.artifacts.produce import produce
from openreg_airflow.errors import ArtifactError, ReferenceReuseError
from openreg_airflow.records import Artifact, RunKey, Verdict
from openreg_airflow.references.guard import ReferenceGuard, written_table
from openreg_airflow.store import schema
from openreg_airflow.store.numbering import Numbering
from openreg_airflow.store.references import References, Said
from openreg_airflow.workspace import Workspace
from tests.artifact_files import RUN, dataset, spec_of
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NUMBERS = count()
REFERENCES = {
    "column": "id",
    "action": "action",
    "scope": "authority",
    "corrections": "cancel_and_new",
}


class House:
    """Makes and delivers versions of one artifact, and is the authority that reads them."""

    def __init__(self, folder: Path, url: str, **references: Any) -> None:
        self.folder = folder
        self.workspace = Workspace(folder / "workspace")
        self.url = url
        self.spec = spec_of(
            format="csv",
            filename="out_{version}.csv",
            references=REFERENCES | references,
        )
        self.authority: dict[str, int] = {}
        self.delivered: set[str] = set()
        self.runs = 0

    def make(
        self,
        rows: list[tuple[str, str, int]],
        *,
        resubmission: int = 0,
        run: RunKey | None = None,
    ) -> tuple[RunKey, Artifact]:
        """Make an artifact of rows of action, reference and quantity."""
        self.runs += 1
        run = run or RUN.model_copy(update={"run_id": f"run-{self.runs}"})
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        types = [pa.string(), pa.string(), pa.int64()]
        table = pa.table(
            {
                name: pa.array(values, kind)
                for name, values, kind in zip(("action", "id", "n"), columns, types, strict=True)
            }
        )
        numbering = Numbering(self.url)
        made = produce(
            name="out",
            spec=self.spec,
            folder=self.folder,
            run=run,
            tables={"rows": dataset(table, self.folder / "in" / f"{self.runs}.parquet")},
            workspace=self.workspace,
            verdict=Verdict(results=(), resubmission=resubmission),
            allocate=lambda begun, parts: numbering.allocate(run, begun, parts, None, chained=True),
            reported=References(self.url),
        )
        if made.version:
            numbering.finish(run, made)
        return run, made

    def deliver(self, run: RunKey, artifact: Artifact) -> list[tuple[str, str, int]]:
        """Let the authority read what was written; it refuses reuse."""
        guard = ReferenceGuard(run, artifact, self.workspace, Numbering(self.url), again=False)
        guard.reserve()
        # The ledger of deliveries knows content that went out before.
        sent = [] if artifact.content in self.delivered else self.written(artifact)
        self.delivered.add(artifact.content)
        for action, reference, n in sent:
            assert (reference in self.authority) == (action == "CANCEL"), sent
            if action == "CANCEL":
                del self.authority[reference]
            else:
                self.authority[reference] = n
        guard.delivered()
        return sent

    def written(self, artifact: Artifact) -> list[tuple[str, str, int]]:
        """The rows in an artifact's files."""
        table = written_table(artifact)
        if not artifact.files or table is None:
            return []
        rows = pq.read_table(table.uri).to_pylist()
        return [(row["action"], row["id"], row["n"]) for row in rows]

    def report(self, **records: int) -> list[tuple[str, str, int]]:
        """Report these records and no others."""
        return self.deliver(*self.make([("NEW", name, n) for name, n in records.items()]))


@pytest.fixture
def house(tmp_path: Path) -> House:
    url = new_store(tmp_path)
    return House(tmp_path, url)


def test_changed_record_is_cancelled_and_reported_anew(house: House) -> None:
    assert house.report(A=1, B=2, C=3) == [("NEW", "A", 1), ("NEW", "B", 2), ("NEW", "C", 3)]
    # The old values stand in the cancellation; what did not change is left out.
    assert house.report(D=4, B=5, A=1) == [
        ("CANCEL", "B", 2),
        ("CANCEL", "C", 3),
        ("NEW", "D", 4),
        ("NEW", "B", 5),
    ]
    assert house.authority == {"A": 1, "B": 5, "D": 4}


def test_correction_that_goes_back_is_another_one_each_time(house: House) -> None:
    contents = set()
    for n in (1, 2, 1, 2, 1):
        run, made = house.make([("NEW", "A", n)])
        contents.add(made.content)
        house.deliver(run, made)
        assert house.authority == {"A": n}
    assert len(contents) == 5


def test_repeated_run_makes_the_same_artifact(house: House) -> None:
    house.report(A=1, B=2)
    run, made = house.make([("NEW", "A", 1), ("NEW", "B", 3)])
    house.deliver(run, made)
    for repeated in (run, None):
        _, again = house.make([("NEW", "A", 1), ("NEW", "B", 3)], run=repeated)
        assert (again.version, again.content) == (2, made.content)
        assert [file.sha256 for file in again.files] == [made.files[0].sha256]


def test_nothing_changed_gives_no_file(house: House) -> None:
    house.report(A=1, B=2)
    _, made = house.make([("NEW", "B", 2), ("NEW", "A", 1)])
    assert (made.version, made.files) == (0, ())


def test_empty_source_cancels_nothing(house: House) -> None:
    house.report(A=1)
    with pytest.raises(ArtifactError, match="has no rows"):
        house.make([])


def test_rejected_record_is_reported_without_a_cancellation(house: House) -> None:
    house.report(A=1, B=2)
    store = References(house.url)
    [one] = store.submissions("authority", RUN.report_id, RUN.business_date, "out")
    store.reject(one.id, [[Said(-1, "A", True)]])
    del house.authority["A"]
    assert house.report(A=7, B=2) == [("NEW", "A", 7)]


def test_resubmission_goes_beside_the_report(house: House) -> None:
    house.report(A=1, B=2)
    run, made = house.make([("NEW", "C", 3), ("NEW", "B", 9)], resubmission=1)
    assert house.deliver(run, made) == [("CANCEL", "B", 2), ("NEW", "C", 3), ("NEW", "B", 9)]
    # The report without the record that was set aside does not take it back.
    assert house.report(A=5, B=9) == [("CANCEL", "A", 1), ("NEW", "A", 5)]
    assert house.authority == {"A": 5, "B": 9, "C": 3}


def test_version_that_is_on_its_way_is_not_corrected(house: House) -> None:
    run, made = house.make([("NEW", "A", 1)])
    guard = ReferenceGuard(run, made, house.workspace, Numbering(house.url), again=False)
    guard.reserve()
    with pytest.raises(ArtifactError, match="version 1 of run run-1 is not delivered yet"):
        house.make([("NEW", "A", 2)])
    # Nothing was sent, as the ledger knows: the other content takes its place.
    guard.ended(None, OSError(), None)
    assert house.report(A=2) == [("NEW", "A", 2)]


def test_reference_of_another_date_is_stopped_and_not_cancelled(house: House) -> None:
    house.report(A=1)
    other = RUN.model_copy(update={"business_date": RUN.business_date.replace(day=1)})
    run, made = house.make([("NEW", "A", 1)], run=other)
    with pytest.raises(ReferenceReuseError, match="'A' was reported by report daily"):
        house.deliver(run, made)


def test_cancellation_of_another_date_goes_out_once(house: House) -> None:
    house.report(A=1)
    other = RUN.model_copy(update={"business_date": RUN.business_date.replace(day=1)})
    first = house.make([("CANCEL", "A", 0), ("NEW", "B", 1)], run=other)
    house.deliver(*first)
    later = other.model_copy(update={"run_id": "later"})
    second = house.make([("CANCEL", "A", 0), ("NEW", "B", 2)], run=later)
    assert house.deliver(*second) == [("CANCEL", "B", 1), ("NEW", "B", 2)]
    with pytest.raises(ArtifactError, match="the cancellation of 'A' went out"):
        house.make([("NEW", "B", 2)], run=later.model_copy(update={"run_id": "last"}))


def test_as_written_correction_without_cancellation_is_stopped(house: House) -> None:
    plain = House(house.folder, house.url, corrections="as_written")
    plain.report(A=1)
    run, made = plain.make([("NEW", "A", 2)])
    with pytest.raises(ReferenceReuseError, match="run run-1, and is not cancelled"):
        plain.deliver(run, made)
    assert plain.deliver(*plain.make([("CANCEL", "A", 1), ("NEW", "A", 2)]))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("NEW", "A", 1), ("NEW", "A", 2)], "'A' is reported twice in the table"),
        ([("MAYBE", "A", 1)], "action of 'A' is 'MAYBE'"),
        ([(None, "A", 1)], "action of 'A' is None"),
        ([("NEW", None, 1)], "id is None, which is no reference"),
        ([("NEW", "", 1)], "id is '', which is no reference"),
        ([("NEW", "x" * 251, 1)], "which is no reference"),
    ],
)
def test_rows_that_cannot_be_told_apart_are_refused(
    house: House, rows: list[Any], said: str
) -> None:
    with pytest.raises(ArtifactError, match=said):
        house.make(rows)


def versions() -> st.SearchStrategy[list[Mapping[str, int]]]:
    record = st.dictionaries(st.sampled_from("ABCDE"), st.integers(0, 2), min_size=1)
    return st.lists(record, min_size=1, max_size=5)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('shared')}/store.db"
    schema.upgrade(url)
    return url


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=versions())
@example(history=[{"A": 0}, {"A": 0}, {"B": 0}, {"A": 0}])
def test_any_history_leaves_the_authority_with_the_newest_version(
    tmp_path: Path, shared: str, history: list[Mapping[str, int]]
) -> None:
    number = next(NUMBERS)
    house = House(tmp_path / str(number), shared, scope=f"scope_{number}")
    house.folder.mkdir()
    day = RunKey(report_id=f"report_{number}", business_date=RUN.business_date, run_id="x")
    for place, records in enumerate(history):
        rows = [("NEW", name, n) for name, n in records.items()]
        run = day.model_copy(update={"run_id": f"run-{place}"})
        house.deliver(*house.make(rows, run=run))
        assert house.authority == records
