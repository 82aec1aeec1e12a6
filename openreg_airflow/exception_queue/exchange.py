"""Items as a CSV file that is corrected in a spreadsheet and read back.

One line an item: its number and version, what is wrong with it, an empty ``#decision`` and
``#why``, then the values of its row and, as ``parties.1.lei``, of its inner rows, all with what
they were amended to. A cell with another value amends the item; ``#decision`` may say ``reject`` or
``release`` instead. NULL is an empty cell, and a cell that is emptied becomes NULL. Cells that a
spreadsheet would take for a formula are written as text.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from openreg_airflow.errors import DecisionError
from openreg_airflow.exception_queue import columns, decisions
from openreg_airflow.exception_queue.decisions import Decision
from openreg_airflow.exception_queue.item import DECIDABLE
from openreg_airflow.exception_queue.listing import Wanted, find, get_all
from openreg_airflow.exception_queue.rows import queue_transaction
from openreg_airflow.formula import guarded, unguarded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from openreg_airflow.exception_queue.columns import Kinds
    from openreg_airflow.exception_queue.item import Item
    from openreg_airflow.store.actor import Actor

#: Columns about the item; the sign keeps them apart from those of its row.
_FIXED = (
    "#item", "#version", "#table", "#key", "#state", "#rules", "#messages", "#decision", "#why",
)  # fmt: skip
_DECISIONS = ("", "amend", "reject", "release")
_CHUNK = 500
#: Faults that are told at most.
MOST_FAULTS = 100
#: Characters of one cell; csv would otherwise refuse more than 128 KiB.
_CELL = 4 << 20


@dataclass
class Correction:
    """What a file asks for.

    Attributes:
        decisions: by item.
        versions: the version of each of them as the file has it.
        unchanged: items of which nothing is said.
        faults: what is wrong, with the line; nothing is done when there is any.
        faulty: how many lines are wrong.
    """

    decisions: dict[int, Decision] = field(default_factory=dict)
    versions: dict[int, int | None] = field(default_factory=dict)
    unchanged: int = 0
    faults: list[str] = field(default_factory=list)
    faulty: int = 0

    def decided(self, action: str) -> int:
        """How many items are amended, rejected or released."""
        return sum(decision.action == action for decision in self.decisions.values())


def write_csv(store_url: str, wanted: Wanted, file: IO[str]) -> int:
    """Write items as CSV; those whose state can no longer be changed are left out.

    Args:
        store_url: the product's own database.
        wanted: which; all must be of one table of records.
        file: opened with ``newline=""``.

    Returns:
        How many items were written.

    Raises:
        DecisionError: they are of several tables.
    """
    states = tuple(state for state in wanted.states or DECIDABLE if state in DECIDABLE)
    wanted = Wanted(**{**wanted.__dict__, "states": states})
    header: dict[str, None] = {}
    tables = set()
    # Inner rows are not equally many in all items, and the header must have room for the most.
    for one in find(store_url, wanted):
        header.update(dict.fromkeys(_cells(one)))
        tables.add((one.report_id, one.table))
    if len(tables) > 1:
        message = f"the items are of {len(tables)} tables, which have different columns"
        raise DecisionError(message, hint="Choose one with --report and --table.")
    writer = csv.writer(file)
    writer.writerow([*_FIXED, *header])
    rows = 0
    for one in find(store_url, wanted):
        cells = _cells(one)
        messages = "; ".join(reason.message for reason in one.reasons)
        rules = " ".join(dict.fromkeys(reason.rule for reason in one.reasons))
        told = (one.table, one.name, one.state, rules, messages)
        line = [one.id, one.version, *map(guarded, told), "", ""]
        writer.writerow(line + [guarded(cells.get(column, "")) for column in header])
        rows += 1
    return rows


def read_csv(store_url: str, file: IO[str], why: str | None = None) -> Correction:
    """Read a corrected file and hold it against the items; nothing is changed.

    Args:
        store_url: the product's own database.
        file: opened with ``newline=""``; comma, semicolon or tab between the cells.
        why: the reason of lines that give none.

    Raises:
        DecisionError: it is not such a file.
    """
    reading = _Reading(store_url, why)
    waiting = _lines(file)
    while chunk := list(islice(waiting, _CHUNK)):
        reading.take(chunk)
    return reading.found


def apply(store_url: str, correction: Correction, actor: Actor) -> int:
    """Do what a file asks for, all of it or nothing.

    Raises:
        DecisionError: the file has faults, or an item is no longer as the file has it.
    """
    if correction.faulty:
        message = f"{correction.faulty} lines are wrong: {correction.faults[0]}"
        raise DecisionError(message, hint="Nothing was changed.")
    return decisions.decide(store_url, correction.decisions, correction.versions, actor)


def _cells(one: Item) -> dict[str, str]:
    row, inner = one.amended()
    cells = {name: _text(value) for name, value in row.items()}
    for table, rows in inner.items():
        for number, below in enumerate(rows, start=1):
            cells |= {f"{table}.{number}.{name}": _text(value) for name, value in below.items()}
    return cells


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _lines(file: IO[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines with their numbers, the header being the first."""
    before = csv.field_size_limit(_CELL)
    try:
        head = file.readline()
        delimiter = max(",;\t", key=head.count)
        header = next(csv.reader([head], delimiter=delimiter), [])
        if missing := [name for name in ("#item", "#version") if name not in header]:
            message = f"the file has no column {missing[0]!r}"
            raise DecisionError(message, hint="Begin with a file of openreg exceptions export.")
        if len(set(header)) < len(header):
            message = "the file has a column twice"
            raise DecisionError(message, hint="Each column may be there once.")
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(header):
                message = f"line {reader.line_num + 1} has {len(cells)} cells, not {len(header)}"
                raise DecisionError(message, hint="Save the file as CSV again.")
            yield reader.line_num + 1, dict(zip(header, map(unguarded, cells), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        message = f"the file cannot be read: {error}"
        raise DecisionError(message, hint="Save it as CSV in UTF-8.") from error
    finally:
        csv.field_size_limit(before)


class _Reading:
    """Holds lines against their items and gathers what they ask for."""

    def __init__(self, store_url: str, why: str | None) -> None:
        self._store_url = store_url
        self._why = why
        self._kinds: Kinds = {}
        self._seen: set[int] = set()
        self.found = Correction()

    def take(self, lines: list[tuple[int, dict[str, str]]]) -> None:
        """Take some lines, each with its number."""
        numbers = {int(cells["#item"]) for _, cells in lines if cells["#item"].isdecimal()}
        there = {one.id: one for one in get_all(self._store_url, numbers)}
        for number, cells in lines:
            try:
                self._take_line(cells, there)
            except DecisionError as error:
                self.found.faulty += 1
                if len(self.found.faults) < MOST_FAULTS:
                    self.found.faults.append(f"line {number}: {error.message}")

    def _take_line(self, cells: dict[str, str], there: dict[int, Item]) -> None:
        one = there.get(int(cells["#item"]) if cells["#item"].isdecimal() else -1)
        if one is None:
            message = f"there is no item {cells['#item'][:40]!r}"
            raise DecisionError(message)
        if one.id in self._seen:
            message = f"item {one.id} is there twice"
            raise DecisionError(message)
        self._seen.add(one.id)
        action = cells.get("#decision", "").strip().lower()
        if action not in _DECISIONS:
            message = f"the decision {action[:40]!r} is none of amend, reject and release"
            raise DecisionError(message)
        changed = self._checked(one, _changed(one, cells))
        if not changed and not action:
            self.found.unchanged += 1
            return
        if not cells["#version"].isdecimal():
            message = f"item {one.id} has no version: {cells['#version'][:20]!r}"
            raise DecisionError(message)
        decisions.require_decidable(one, int(cells["#version"]))
        why = cells.get("#why", "").strip() or self._why or ""
        self.found.decisions[one.id] = self._decision(one, action or "amend", why, changed)
        self.found.versions[one.id] = one.version

    def _checked(self, one: Item, changed: dict[str, str | None]) -> dict[str, Any]:
        """The new values as they are kept, without those that are only written otherwise."""
        if not changed:
            return {}
        with queue_transaction(self._store_url, write=False) as connection:
            kinds = columns.schemas(connection, one, self._kinds)
        new = columns.checked_values(one, changed, kinds)
        now = _cells(one)
        return {path: value for path, value in new.items() if _text(value) != now[path]}

    @staticmethod
    def _decision(one: Item, action: str, why: str, changed: dict[str, Any]) -> Decision:
        if not why:
            message = f"item {one.id} has no reason"
            raise DecisionError(message)
        if action == "amend" and not changed:
            message = f"nothing is amended of item {one.id}"
            raise DecisionError(message)
        if action != "amend" and changed:
            message = f"item {one.id} has changed values, and its decision is {action}"
            raise DecisionError(message)
        return Decision(action, why, changed or None)


def _changed(one: Item, cells: dict[str, str]) -> dict[str, str | None]:
    now = _cells(one)
    changed: dict[str, str | None] = {}
    for name, text in _of_row(cells):
        if name not in now and text:
            message = f"item {one.id} has no column {name!r}"
            raise DecisionError(message)
        if name in now and text != now[name]:
            changed[name] = text or None
    return changed


def _of_row(cells: dict[str, str]) -> Iterable[tuple[str, str]]:
    return ((name, text) for name, text in cells.items() if name not in _FIXED)
