"""Corrections of records with rows inside, and under the rules of formats with their own action."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.produce import produce
from openreg_airflow.errors import ArtifactError, ReferenceReuseError
from openreg_airflow.records import Artifact, RunKey, Verdict
from openreg_airflow.references.guard import ReferenceGuard
from openreg_airflow.store.numbering import Numbering
from openreg_airflow.store.references import References
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
            allocate=lambda begun, parts: numbering.allocate(run, begun, parts, None),
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

    def reject(self, reference: str) -> None:
        """Let the authority refuse a record of the last submission."""
        store = References(self.url)
        [*_, last] = store.submissions("authority", RUN.report_id, RUN.business_date, "out")
        store.reject(last.id, [reference])


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


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "house", CANCEL_AND_NEW)


@pytest.fixture
def repository(tmp_path: Path) -> House:
    return House(tmp_path / "repository", BY_ACTION)


BUYER: Parties = {"buyer": ["DE1", "DE2"], "seller": []}


@pytest.mark.parametrize(
    "changed",
    [
        {"buyer": ["DE1", "DE3"], "seller": []},
        {"buyer": ["DE2", "DE1"], "seller": []},
        {"buyer": ["DE1"], "seller": ["DE2"]},
        {"seller": [], "buyer": ["DE1", "DE2"]},
        {"buyer": ["DE1", "DE2"]},
        {"buyer": ["DE1", "DE2"], "seller": [], "agent": []},
        {},
    ],
)
def test_changed_inner_rows_make_a_changed_record(house: House, changed: Parties) -> None:
    house.report(("NEW", "A", 1, BUYER), ("NEW", "B", 2, BUYER))
    sent = house.report(("NEW", "A", 1, changed), ("NEW", "B", 2, BUYER))
    assert [row[:3] for row in sent] == [("CANCEL", "A", 0), ("NEW", "A", 1)]
    assert list(sent[1][3].items()) == list(changed.items())


def test_cancelled_record_takes_no_inner_rows_along(house: House) -> None:
    house.report(("NEW", "A", 1, BUYER), ("NEW", "B", 2, {"buyer": ["X"]}))
    assert house.report(("NEW", "A", 1, BUYER)) == [("CANCEL", "B", 0, {})]


def test_repeated_run_of_nested_records_makes_the_same_bytes(house: House) -> None:
    house.report(("NEW", "A", 1, BUYER))
    new: tuple[Row, ...] = (("NEW", "B", 1, BUYER), ("NEW", "A", 1, {"buyer": []}))
    _, made = house.make(new)
    _, again = house.make(new)  # neither was delivered
    house.deliver(RUN, made)
    _, after = house.make(new)
    assert again.version == after.version == made.version == 2
    assert made.files[0].sha256 == again.files[0].sha256 == after.files[0].sha256


def test_changed_header_is_no_reason_to_send_the_records_again(house: House) -> None:
    house.report(("NEW", "A", 1, BUYER))
    _, made = house.make([("NEW", "A", 1, BUYER)], header="2")
    assert (made.version, made.files) == (0, ())


def test_rejected_nested_record_is_reported_anew(house: House) -> None:
    house.report(("NEW", "A", 1, BUYER), ("NEW", "B", 2, BUYER))
    house.reject("B")
    assert house.report(("NEW", "A", 1, BUYER), ("NEW", "B", 2, BUYER)) == [("NEW", "B", 2, BUYER)]


def test_resubmitted_nested_record_goes_beside_the_report(house: House) -> None:
    house.report(("NEW", "A", 1, BUYER))
    assert house.report(("NEW", "B", 2, BUYER), resubmission=1) == [("NEW", "B", 2, BUYER)]
    # The report without the record that was set aside does not take it back.
    assert [row[:2] for row in house.report(("NEW", "A", 1, {}))] == [("CANCEL", "A"), ("NEW", "A")]


def test_correction_is_split_with_its_inner_rows(tmp_path: Path) -> None:
    house = House(tmp_path / "house", CANCEL_AND_NEW, split={"records": 3, "repeat": ["header"]})
    rows: list[Row] = [("NEW", f"R{n}", n, {f"p{n}": [f"I{n}"]}) for n in range(5)]
    assert house.report(*rows) == rows
    changed: list[Row] = [("NEW", f"R{n}", n, {f"q{n}": [f"I{n}"]}) for n in range(4)]
    run, made = house.make([*changed, rows[4]])
    assert [file.records for file in made.reports] == [3, 3, 2]
    sent = house.deliver(run, made)
    assert [row[:2] for row in sent[:4]] == [("CANCEL", f"R{n}") for n in range(4)]
    assert sent[4:] == changed


def test_inner_row_of_no_record_is_refused(house: House) -> None:
    house.make([("NEW", "A", 1, BUYER)])
    table = house.folder / "in" / "1" / "accounts.parquet"
    lost = dataset(pa.table({"party": ["nobody"], "iban": ["X"]}), table)
    given = {
        name: dataset(rows, house.folder / "in" / "2" / f"{name}.parquet")
        for name, rows in tables([("NEW", "A", 1, BUYER)], "1", "noon").items()
    }
    with pytest.raises(ArtifactError, match="1 row belongs to no row of parties"):
        produce(
            name="out",
            spec=house.spec,
            folder=house.folder,
            run=RUN,
            tables=given | {"accounts": lost},
            workspace=house.workspace,
            reported=References(house.url),
        )


def test_changed_record_goes_out_under_the_action_for_corrections(repository: House) -> None:
    repository.report(("NEWT", "A", 1, BUYER), ("NEWT", "B", 2, {}), ("NEWT", "C", 3, {}))
    sent = repository.report(("NEWT", "A", 1, {"buyer": []}), ("NEWT", "B", 2, {}), at="later")
    assert sent == [("EROR", "C", 3, {}), ("CORR", "A", 1, {"buyer": []})]
    # What was corrected stands as it is; the next change is another correction.
    assert repository.report(("NEWT", "A", 1, {"buyer": []}), ("NEWT", "B", 2, {})) == []
    assert repository.report(("NEWT", "A", 9, {}), ("NEWT", "B", 2, {})) == [("CORR", "A", 9, {})]


def test_further_reports_go_out_once_and_corrected(repository: House) -> None:
    first: list[Row] = [("NEWT", "A", 1, {}), ("VALU", "A", 5, {}), ("MODI", "A", 2, {})]
    assert repository.report(*first) == first
    assert repository.report(*first, ("VALU", "A", 6, {})) == [("VALU", "A", 6, {})]
    assert repository.report(
        ("NEWT", "A", 1, {}), ("VALU", "A", 7, {}), ("MODI", "A", 3, {}), ("VALU", "A", 6, {})
    ) == [("VALU", "A", 7, {}), ("CORR", "A", 3, {})]
    with pytest.raises(ArtifactError, match="MODI of 'A' went out and is no longer in the table"):
        repository.make([("NEWT", "A", 1, {}), ("VALU", "A", 7, {}), ("VALU", "A", 6, {})])
    assert repository.report(("NEWT", "B", 1, {})) == [("EROR", "A", 1, {}), ("NEWT", "B", 1, {})]


def test_cancelled_record_is_revived_and_not_reported_anew(tmp_path: Path) -> None:
    house = House(tmp_path / "one", BY_ACTION)
    house.report(("NEWT", "A", 1, {}), ("NEWT", "B", 1, {}))
    assert house.report(("NEWT", "B", 1, {})) == [("EROR", "A", 1, {})]
    assert house.report(("NEWT", "A", 2, {}), ("NEWT", "B", 1, {})) == [("REVI", "A", 2, {})]
    never = House(tmp_path / "two", BY_ACTION | {"revive": None})
    never.report(("NEWT", "A", 1, {}), ("NEWT", "B", 1, {}))
    never.report(("NEWT", "B", 1, {}))
    with pytest.raises(ReferenceReuseError, match=r"'A' was cancelled by .*is reported anew"):
        never.report(("NEWT", "A", 2, {}), ("NEWT", "B", 1, {}))


def test_rejected_correction_goes_out_again(repository: House) -> None:
    repository.report(("NEWT", "A", 1, {}))
    assert repository.report(("NEWT", "A", 2, {})) == [("CORR", "A", 2, {})]
    repository.reject("A")
    assert repository.report(("NEWT", "A", 2, {})) == [("CORR", "A", 2, {})]


def test_report_about_an_unknown_record_is_stopped(tmp_path: Path) -> None:
    house = House(tmp_path / "one", BY_ACTION)
    with pytest.raises(ReferenceReuseError, match="'A' is spoken of and was never reported"):
        house.report(("VALU", "A", 1, {}))
    open_ = House(tmp_path / "two", BY_ACTION | {"elsewhere": True})
    assert open_.report(("VALU", "A", 1, {}), ("EROR", "B", 1, {}))
    with pytest.raises(ReferenceReuseError, match="'B' is spoken of and was cancelled before"):
        open_.report(("VALU", "A", 1, {}), ("EROR", "B", 1, {}), ("VALU", "B", 1, {}))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"about": ["EROR"]}, "a word stands for"),
        ({"correct": {"TERM": "CORR"}}, "correct speaks of TERM"),
        ({"correct": {}}, "by_action needs to know what a changed NEWT goes out as"),
        ({"corrections": "cancel_and_new"}, "no meaning with corrections: cancel_and_new"),
        ({"ignore": ["id"]}, "neither is ignored"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(
    tmp_path: Path, rules: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        House(tmp_path, BY_ACTION | rules)


def test_inner_rows_bound_to_the_action_are_found_without_data(repository: House) -> None:
    layout = LAYOUT.replace('r:each="parties" r:on="id"', 'r:each="parties" r:on="action"')
    (repository.folder / "layout.xml").write_text(layout)
    [problem] = check({"out": repository.spec}, repository.folder, {})
    assert "parties belong to records by action" in problem.message


def state() -> st.SearchStrategy[list[Row]]:
    parties = st.dictionaries(st.sampled_from("xy"), st.lists(st.sampled_from("12"), max_size=2))
    record = st.tuples(st.integers(0, 1), parties)
    return st.dictionaries(st.sampled_from("ABC"), record, min_size=1).map(
        lambda found: [("NEW", name, n, inner) for name, (n, inner) in found.items()]
    )


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=st.lists(state(), min_size=2, max_size=4))
def test_any_history_of_nested_records_leaves_the_newest(
    tmp_path_factory: pytest.TempPathFactory, history: list[list[Row]]
) -> None:
    house = House(tmp_path_factory.mktemp("history"), CANCEL_AND_NEW)
    authority: dict[str, Row] = {}
    for rows in history:
        for row in house.report(*rows):
            assert (row[1] in authority) == (row[0] == "CANCEL")
            if authority.pop(row[1], None) is None:
                authority[row[1]] = row
        assert authority == {row[1]: row for row in rows}
