"""CSV and XML feedback of an authority's own, as the spec's ``form`` declares it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.feedback import (
    Answer,
    Feedback,
    FeedbackError,
    FileStatus,
    RecordStatus,
    page_said,
)
from openreg_airflow.deliver.acknowledgement.parsers.packing import refuse_packed
from openreg_airflow.deliver.acknowledgement.parsers.stream import pieces, text_at
from openreg_airflow.deliver.progress import Progress
from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.spec import FeedbackForm

_ASK = "Correct the form in the spec, or ask the authority; the file is kept."
#: Characters of one record of a CSV file; a file without line ends is none.
_LONGEST = 1 << 20
#: Lines between two looks at the clock.
_LINES = 10_000
#: A status of a record says the same of a file.
_FILES: dict[RecordStatus, FileStatus] = {
    "accepted": "accepted",
    "rejected": "rejected",
    "pending": "received",
}


class CsvParser:
    """Reads CSV with a header; each line speaks of a record."""

    def read(
        self, path: Path, form: FeedbackForm | None, take: Callable[[Answer], None]
    ) -> list[Feedback]:
        """Read a file; see :class:`~..feedback.Parser`."""
        form = _needed(form)
        refuse_packed(path, text=True)
        # A byte order mark is no part of the first column's name.
        utf8 = form.encoding.casefold().replace("_", "-") in ("utf-8", "utf8")
        reading = _Reading(path.name, form)
        with path.open("rb") as binary:
            file = io.TextIOWrapper(binary, "utf-8-sig" if utf8 else form.encoding, newline="")
            source = _Lines(file, path.name)
            lines = csv.reader(source, delimiter=form.delimiter, strict=True)
            progress = Progress(f"read {path.name}", path.stat().st_size)
            try:
                header = next(lines, [])
                places = _columns(header, form, path.name)
                for line in lines:
                    where = f"line {lines.line_num}"
                    source.record_ended()
                    if not line:
                        continue
                    if len(line) != len(header):
                        message = f"{path.name} has a line of another length than its header"
                        raise FeedbackError(message, where=where, hint=_ASK)
                    take(reading.answer({n: line[c] for n, c in places.items()}, where))
                    if lines.line_num % _LINES == 0:
                        progress.reached(binary.tell())
            except (UnicodeError, csv.Error) as error:
                refuse_packed(path)
                message = f"{path.name} is not CSV in {form.encoding}: {error}"
                where = f"after line {lines.line_num}"
                raise FeedbackError(message, where=where, hint=_ASK) from error
        return [Feedback(open_ended=True)]


class XmlParser:
    """Reads XML in which an element of a given name speaks of a record."""

    def read(
        self, path: Path, form: FeedbackForm | None, take: Callable[[Answer], None]
    ) -> list[Feedback]:
        """Read a file; see :class:`~..feedback.Parser`."""
        form = _needed(form)
        reading, record = _Reading(path.name, form), form.record or ""
        heads = {
            name: tuple(place.split("/"))
            for name, place in (
                ("status", form.file_status),
                ("original", form.original),
                ("page", form.page),
                ("pages", form.pages),
                ("last", form.last_page),
            )
            if place
        }
        said: dict[str, str] = {}
        records = 0
        for piece in pieces(path, {record, *(place[-1] for place in heads.values())}):
            if piece.name == record:
                records += 1
                values = {n: text_at(piece, p) for n, p in _places(form).items()}
                take(reading.answer(values, f"record {records}"))
                continue
            here = (*piece.above, piece.name)
            for name in (name for name, place in heads.items() if here[-len(place) :] == place):
                text = piece.text.strip()
                if said.setdefault(name, text) != text:
                    message = f"{path.name} says {said[name]!r} and {text!r} at {'/'.join(here)}"
                    raise FeedbackError(message, hint=_ASK)
        if not records and "status" not in said:
            message = f"{path.name} speaks of no record and not of the file"
            raise FeedbackError(message, hint=_ASK)
        found = Feedback(original=said.get("original") or None)
        if "page" in said:
            found.page = page_said(path.name, said["page"], said.get("last"), said.get("pages"))
        if "status" in said:
            found.status = _FILES[reading.status(said["status"], "the file")]
        return [found]


class _Lines:
    """The lines of a text file, of which a record may have only so many characters."""

    def __init__(self, file: io.TextIOWrapper, name: str) -> None:
        self._file = file
        self._name = name
        self._taken = 0

    def record_ended(self) -> None:
        """What comes now is another record's."""
        self._taken = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(_LONGEST):
            self._taken += len(line)
            if self._taken >= _LONGEST:
                message = f"{self._name} has a record of more than {_LONGEST} characters"
                raise FeedbackError(message, hint=_ASK)
            yield line


class _Reading:
    """Makes answers of what one file says.

    Args:
        name: the file's name, for messages.
        form: where it has what.
    """

    def __init__(self, name: str, form: FeedbackForm) -> None:
        self._name = name
        self._parts = len(form.names)
        kinds: tuple[RecordStatus, ...] = ("accepted", "rejected", "pending")
        self._words = {
            text.casefold(): kind for kind in kinds for text in getattr(form.words, kind)
        }

    def answer(self, values: dict[str, str | None], where: str) -> Answer:
        """What is said of one record.

        Args:
            values: ``reference`` and a number for each of its parts, ``status`` and, where the
                form has them, ``rule`` and ``text``.
            where: its place in the file.
        """
        reference = tuple((values[f"reference {n}"] or "").strip() for n in range(self._parts))
        if not all(reference):
            message = f"{self._name} has a record without a reference"
            raise FeedbackError(message, where=where, hint=_ASK)
        rule = (values.get("rule") or "").strip()
        return Answer(
            reference=reference[0] if len(reference) == 1 else reference,
            status=self.status((values["status"] or "").strip(), where),
            rules=(rule,) if rule else (),
            text=(values.get("text") or "").strip(),
        )

    def status(self, word: str, where: str) -> RecordStatus:
        """What a word of the authority's stands for."""
        found = self._words.get(word.casefold())
        if found is None:
            message = f"{self._name}: {word[:100]!r} is no known status"
            raise FeedbackError(message, where=where, hint="Add it to form.words in the spec.")
        return found


def _places(form: FeedbackForm) -> dict[str, str]:
    places: dict[str, str | None] = {
        **{f"reference {n}": place for n, place in enumerate(form.names)},
        "status": form.status,
        "rule": form.rule,
        "text": form.text,
    }
    return {name: path for name, path in places.items() if path}


def _columns(header: list[str], form: FeedbackForm, name: str) -> dict[str, int]:
    """Which column has what."""
    wanted = _places(form)
    for fault, columns in (
        ("no column", [c for c in wanted.values() if c not in header]),
        ("more than one column", [c for c in wanted.values() if header.count(c) > 1]),
    ):
        if columns:
            message = f"{name} has {fault} {', '.join(columns)}"
            raise FeedbackError(message, where="line 1", hint=_ASK)
    return {each: header.index(column) for each, column in wanted.items()}


def _needed(form: FeedbackForm | None) -> FeedbackForm:
    if form is None:
        message = "the acknowledgement has no form"
        raise SpecError(message, hint="Say in `form` where the feedback has what.")
    return form
