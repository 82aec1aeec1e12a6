"""Corrections of records with rows inside, and under the rules of formats with their own action."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.produce import produce
from openreg_airflow.errors import ArtifactError, ReferenceReuseError
from openreg_airflow.store.references import References
from tests.artifact_files import RUN, dataset
from tests.nested_house import BY_ACTION, CANCEL_AND_NEW, LAYOUT, House, Parties, Row, tables

if TYPE_CHECKING:
    from pathlib import Path


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


def test_artifact_that_does_not_list_its_records_is_not_let_through(house: House) -> None:
    run, made = house.make([("NEW", "A", 1, BUYER)])
    told = {name: value for name, value in made.metadata["references"].items() if name != "records"}
    old = made.model_copy(update={"metadata": made.metadata | {"references": told}})
    with pytest.raises(ArtifactError, match="does not say which records it has"):
        house.deliver(run, old)


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


def test_record_that_is_rejected_after_the_next_version_goes_out_again(repository: House) -> None:
    repository.report(("NEWT", "A", 1, {}), ("NEWT", "B", 1, {}))
    newest: list[Row] = [("NEWT", "A", 1, {}), ("NEWT", "B", 2, {})]
    assert repository.report(*newest) == [("CORR", "B", 2, {})]
    repository.reject("A", 0)
    assert repository.report(*newest) == [("NEWT", "A", 1, {})]
    _, again = repository.make(newest)
    assert [file.records for file in again.files] == [1], "a repeated run is known as such"


def test_late_rejection_of_what_is_gone_changes_no_repeated_run(repository: House) -> None:
    repository.report(("NEWT", "A", 1, {}), ("NEWT", "B", 1, {}))
    repository.reject("A")
    newest: list[Row] = [("NEWT", "B", 2, {})]
    run, made = repository.make(newest)
    assert repository.deliver(run, made) == [("CORR", "B", 2, {})]
    assert repository.make(newest)[1].files[0].sha256 == made.files[0].sha256


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
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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


def told(authority: dict[str, Row], row: Row) -> None:
    """What a trade repository makes of a row; it refuses what its rules forbid."""
    action, name, *_ = row
    stood = name in authority and authority[name][0] != "EROR"
    allowed = {"NEWT": name not in authority, "REVI": name in authority and not stood}
    assert allowed.get(action, stood), (row, authority)
    authority[name] = row


@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    history=st.lists(st.tuples(state(), st.sets(st.sampled_from("ABC"))), min_size=2, max_size=3)
)
def test_any_history_with_rejections_leaves_a_repository_the_newest(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[list[Row], set[str]]]
) -> None:
    house = House(tmp_path_factory.mktemp("history"), BY_ACTION)
    authority: dict[str, Row] = {}
    for table, refused in history:
        rows = [("NEWT", *row[1:]) for row in table]
        for rejected in (refused, set[str]()):
            sent = house.report(*rows)
            for row in sent:
                if row[1] not in rejected:
                    told(authority, row)
            for name in sorted(rejected & {row[1] for row in sent}):
                house.reject(name)
        assert house.report(*rows) == []
        standing = {name: row[2:] for name, row in authority.items() if row[0] != "EROR"}
        assert standing == {row[1]: row[2:] for row in rows}
