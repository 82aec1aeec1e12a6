"""Corrections by an authority's answers to single rows, where a file has several of a reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openreg_airflow.deliver.acknowledgement.collect import Awaited, collect
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.references.answers import free_rejected
from openreg_airflow.references.guard import written_table
from openreg_airflow.store.acknowledgements import Acknowledgements
from tests.nested_house import BY_ACTION, CANCEL_AND_NEW, House, Row

if TYPE_CHECKING:
    from pathlib import Path

ANSWER = {
    "pattern": "{stem}_*",
    "folder": "answers",
    "parser": "csv",
    "form": {"reference": ["id", "action"], "status": "status"},
}
RULES = BY_ACTION | {"record": ["id", "action"]}
#: Action and reference.
What = tuple[str, str]


class Firm(House):
    """Reports, and reads the answer to each file."""

    looks = 0

    def answered(self, *rows: Row, answer: Any) -> list[Row]:
        """Report and read what ``answer`` makes of the rows: a status each."""
        run, made = self.make(rows)
        sent = self.deliver(run, made)
        if sent:
            self.looks += 1
            folder = self.folder / "answers"
            folder.mkdir(exist_ok=True)
            [file] = made.files
            lines = [f"{name};{act};{answer((act, name, *rest))}" for act, name, *rest in sent]
            path = folder / f"{file.filename.removesuffix('.xml')}_{self.looks}"
            path.write_text("\n".join(["id;action;status", *lines, ""]))
            store = Acknowledgements(self.url)
            spec = {"channel": "folder", "connection": "there", "acknowledgement": ANSWER}
            awaited = Awaited(
                run=run,
                route="authority",
                spec=RouteSpec.model_validate(spec),
                artifact=made,
                table=written_table(made),
                due_at=datetime.now(UTC) + timedelta(days=1),
            )
            where = Connection(id="there", type="fs", extra={"path": str(self.folder)})
            found = collect(
                awaited,
                connect=lambda _: where,
                workspace=self.workspace,
                store=store,
                reject=lambda words: [*words].clear(),
            )
            [standing] = found.standings
            assert (standing.sent, found.refused) == (len(sent), ())
            free_rejected(run, "authority", made, store)
        return sent


@dataclass
class Repository:
    """What a trade repository has; it refuses what its rules forbid, and what it is told to."""

    refuse: set[What] = field(default_factory=set)
    trades: dict[str, Row] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)

    def answer(self, row: Row) -> str:
        """Take a row, or not; what it forbids may only follow from what it was told to refuse."""
        action, name, *_ = row
        known = name in self.trades
        stands = known and self.trades[name][0] != "EROR"
        allowed = {"NEWT": not known, "REVI": known and not stands}.get(action, stands)
        assert allowed or name in self.spoilt, (row, self.trades)
        if not allowed or (action, name) in self.refuse:
            self.spoilt.add(name)
            return "rejected"
        if action == "VALU":
            self.values[name] = row[2]
        else:
            self.trades[name] = row
        return "accepted"

    def next_file(self, refuse: set[What]) -> None:
        """Refuse other rows of the next one."""
        self.refuse, self.spoilt = refuse, set()


def trades() -> st.SearchStrategy[list[Row]]:
    """Trades, each with its valuation behind it."""
    numbers = st.tuples(st.integers(0, 1), st.integers(0, 1))
    return st.dictionaries(st.sampled_from("AB"), numbers, min_size=1).map(
        lambda found: [
            row
            for name, (n, value) in found.items()
            for row in (("NEWT", name, n, {}), ("VALU", name, value, {}))
        ]
    )


REFUSED = st.sets(
    st.tuples(st.sampled_from(["NEWT", "CORR", "VALU", "EROR"]), st.sampled_from("AB"))
)
A0: list[Row] = [("NEWT", "A", 0, {}), ("VALU", "A", 0, {})]
A1: list[Row] = [("NEWT", "A", 1, {}), ("VALU", "A", 1, {})]
B0: list[Row] = [("NEWT", "B", 0, {}), ("VALU", "B", 0, {})]


@settings(
    max_examples=1, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=st.lists(st.tuples(trades(), REFUSED), min_size=2, max_size=3))
@example(history=[([*A0, *B0], {("NEWT", "A")}), ([*A1, *B0], {("VALU", "A")}), (B0, set())])
@example(history=[([*A0, *B0], {("VALU", "A")}), (B0, {("EROR", "A")}), ([*A0, *B0], set())])
def test_any_history_with_answers_to_rows_leaves_a_repository_the_newest(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[list[Row], set[What]]]
) -> None:
    firm, repository = Firm(tmp_path_factory.mktemp("history"), RULES), Repository()
    for number, (rows, refused) in enumerate(history):
        for refuse in (refused, set[What]()):
            repository.next_file(refuse)
            firm.answered(*rows, answer=repository.answer)
        assert firm.report(*rows, at=f"later {number}") == []
        standing = {name: row[2] for name, row in repository.trades.items() if row[0] != "EROR"}
        assert standing == {row[1]: row[2] for row in rows if row[0] == "NEWT"}
        told = {row[1]: row[2] for row in rows if row[0] == "VALU"}
        assert {name: repository.values[name] for name in told} == told


@pytest.mark.parametrize(
    ("refused", "again"),
    [
        ({("CANCEL", "A")}, []),
        ({("NEW", "A")}, [("NEW", "A")]),
        ({("CANCEL", "A"), ("NEW", "A")}, [("CANCEL", "A"), ("NEW", "A")]),
    ],
)
def test_each_half_of_a_cancellation_and_new_report_is_answered_by_itself(
    tmp_path: Path, refused: set[What], again: list[What]
) -> None:
    firm = Firm(tmp_path / "house", CANCEL_AND_NEW | {"record": ["id", "action"]})
    firm.answered(("NEW", "A", 1, {}), answer=lambda _: "ok")
    sent = firm.answered(
        ("NEW", "A", 2, {}), answer=lambda row: "rejected" if row[:2] in refused else "ok"
    )
    assert [row[:2] for row in sent] == [("CANCEL", "A"), ("NEW", "A")]
    assert [row[:2] for row in firm.report(("NEW", "A", 2, {}), at="noon")] == again


def test_technical_record_id_is_no_change_and_names_derived_cancellations(tmp_path: Path) -> None:
    """The column ``at`` is a record id here."""
    house = House(tmp_path / "house", CANCEL_AND_NEW | {"record": "at"})
    with pytest.raises(Exception, match="2 rows are named 'noon' by at"):
        house.make([("NEW", "A", 1, {}), ("NEW", "B", 1, {})])
    house.report(("NEW", "A", 1, {}), at="one")
    assert house.report(("NEW", "A", 1, {}), at="two") == []
    _, made = house.make([("NEW", "A", 2, {})], at="one")
    assert b"<At>A-CANCEL</At>" in (house.folder / made.files[0].uri).read_bytes()
