"""A mapping set beside the simplest model of one, which hypothesis drives; of any database."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from openreg_airflow.errors import MappingError
from openreg_airflow.mappings.entries import Entries
from openreg_airflow.mappings.importing import upsert
from openreg_airflow.mappings.outcomes import ImportOptions
from openreg_airflow.mappings.proof import verify_revisions
from openreg_airflow.mappings.reading import snapshot_entries
from openreg_airflow.mappings.search import EntryFilter, search
from openreg_airflow.mappings.sets import Sets
from openreg_airflow.store.actor import Actor

ANNA = Actor("anna", "tests")
#: The model counts days; these are the open ends.
ALWAYS, FOREVER = -1, 9
_FIRST = date(2026, 1, 1)
_NAMES = itertools.count()

keys = st.sampled_from(["A", "B", "Ä"])
values = st.sampled_from(["1", "2"])
begins = st.integers(ALWAYS, 7)
ends = st.integers(0, FOREVER)


@dataclass(frozen=True, order=True)
class Line:
    """One entry of the model."""

    key: str
    begin: int
    end: int
    value: str

    def days(self) -> set[int]:
        return set(range(self.begin, self.end))


lines = st.builds(Line, keys, begins, ends, values)
State = frozenset[Line]


def _free(state: State, line: Line) -> bool:
    """Whether a line has a day and no other entry of its key has one of them."""
    return line.begin < line.end and not any(
        other.key == line.key and other.days() & line.days() for other in state
    )


def merged(state: State, file: list[Line]) -> State | None:
    """The state after a merge; None when a line is refused."""
    if any(line.begin >= line.end for line in file):
        return None
    if any(a.key == b.key and a.days() & b.days() for a, b in itertools.combinations(file, 2)):
        return None
    result = set(file)
    for known in state:
        of_key = [line for line in file if line.key == known.key]
        if any(line.begin == known.begin for line in of_key):
            continue
        reached = sorted(line.begin for line in of_key if line.days() & known.days())
        if not reached:
            result.add(known)
            continue
        covered = {day for line in of_key for day in line.days()}
        left = set(range(reached[0], known.end)) - covered
        if reached[0] < known.begin or left or known.begin in covered:
            return None
        result.add(Line(known.key, known.begin, reached[0], known.value))
    return frozenset(result)


class BitemporalMachine(RuleBasedStateMachine):
    """Every state that was ever reached is held against the model at its own instant."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.name = f"set_{next(_NAMES)}"
        Sets(url, ANNA).create(self.name, keys=[("code", "string")], values=[("mic", "string")])
        self.entries = Entries(url, self.name, ANNA)
        self.state: State = frozenset()
        self.seen: list[tuple[datetime, State]] = []
        self._remember()

    @rule(line=lines)
    def add(self, line: Line) -> None:
        allowed = _free(self.state, line)
        done = self._try(
            lambda: self.entries.add(
                {"code": line.key}, {"mic": line.value},
                effective_from=_day(line.begin), effective_to=_day(line.end),
            )
        )  # fmt: skip
        assert done == allowed
        self._become(self.state | {line} if allowed else self.state)

    @precondition(lambda self: self.state)
    @rule(pick=st.randoms(use_true_random=False), line=lines)
    def change(self, pick: Any, line: Line) -> None:
        old = pick.choice(sorted(self.state))
        new = Line(old.key, line.begin, line.end, line.value)
        rest = self.state - {old}
        allowed = new == old or _free(rest, new)
        record = self._record(old)
        done = self._try(
            lambda: self.entries.change(
                record, value={"mic": new.value},
                effective_from=_day(new.begin), effective_to=_day(new.end),
            )
        )  # fmt: skip
        assert done == allowed
        self._become(rest | {new} if allowed else self.state)

    @precondition(lambda self: self.state)
    @rule(pick=st.randoms(use_true_random=False), day=st.integers(0, 8))
    def end(self, pick: Any, day: int) -> None:
        old = pick.choice(sorted(self.state))
        record = self._record(old)
        done = self._try(lambda: self.entries.end(record, _FIRST + timedelta(day)))
        assert done == (old.begin < day < old.end)
        if done:
            self._become(self.state - {old} | {Line(old.key, old.begin, day, old.value)})

    @precondition(lambda self: self.state)
    @rule(pick=st.randoms(use_true_random=False))
    def delete(self, pick: Any) -> None:
        old = pick.choice(sorted(self.state))
        self.entries.delete(self._record(old))
        self._become(self.state - {old})

    @rule(file=st.lists(lines, max_size=5), dry=st.booleans())
    def merge(self, file: list[Line], dry: bool) -> None:
        expected = merged(self.state, file)
        done = self._upsert(file, ImportOptions(dry_run=dry))
        assert (done.refused == 0) == (expected is not None)
        assert done.applied == (not dry and expected not in (None, self.state))
        if expected is not None and not dry:
            self._become(expected)

    @rule(file=st.lists(lines, min_size=1, max_size=5))
    def replace(self, file: list[Line]) -> None:
        expected = merged(frozenset(), file)
        done = self._upsert(file, ImportOptions(mode="replace"))
        assert (done.refused == 0) == (expected is not None)
        if expected is not None:
            self._become(expected)

    @rule(day=st.integers(0, 8))
    def find_on_a_date(self, day: int) -> None:
        wanted = EntryFilter(business_date=_FIRST + timedelta(day))
        page = search(self.url, self.name, wanted)
        found = {entry.key["code"]: entry.value["mic"] for entry in page.entries}
        assert found == {line.key: line.value for line in self.state if day in line.days()}

    @invariant()
    def what_is_known_now_is_the_model(self) -> None:
        assert self._content(datetime.now(UTC)) == self.state

    def teardown(self) -> None:
        for at, state in self.seen:
            assert self._content(at) == state
        assert verify_revisions(self.url, self.name)[1] == ()

    def _upsert(self, file: list[Line], options: ImportOptions) -> Any:
        given = [
            ({"code": line.key}, {"mic": line.value}, _day(line.begin), _day(line.end))
            for line in file
        ]
        return upsert(self.url, self.name, given, ANNA, options=options)

    def _content(self, at: datetime) -> State:
        with snapshot_entries(self.url, self.name, None, at) as (_, batches):
            rows = batches.read_all().to_pylist()
        assert [row["code"] for row in rows] == sorted(row["code"] for row in rows)
        found = [
            Line(
                row["code"],
                ALWAYS if row["effective_from"] is None else (row["effective_from"] - _FIRST).days,
                FOREVER if row["effective_to"] is None else (row["effective_to"] - _FIRST).days,
                row["mic"],
            )
            for row in rows
        ]
        assert len(found) == len(set(found))
        return frozenset(found)

    def _record(self, line: Line) -> int:
        page = search(self.url, self.name, EntryFilter(prefix=line.key))
        [record] = [entry.id for entry in page.entries if entry.effective_from == _day(line.begin)]
        return record

    def _try(self, act: Any) -> bool:
        try:
            act()
        except MappingError:
            return False
        return True

    def _become(self, state: State) -> None:
        self.state = state
        self._remember()

    def _remember(self) -> None:
        self.seen.append((datetime.now(UTC), self.state))


def _day(number: int) -> date | None:
    return None if number in (ALWAYS, FOREVER) else _FIRST + timedelta(number)
