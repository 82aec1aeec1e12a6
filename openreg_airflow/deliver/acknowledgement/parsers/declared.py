"""CSV and XML feedback of an authority's own, as the spec's ``form`` declares it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from lxml import etree

from openreg_airflow.deliver.acknowledgement.feedback import (
    Answer,
    Feedback,
    FeedbackError,
    FileStatus,
    RecordStatus,
)
from openreg_airflow.deliver.acknowledgement.parsers.stream import elements, text_at
from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.spec import FeedbackForm

_ASK = "Correct the form in the spec, or ask the authority; the file is kept."
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
        wanted = [name for name in (form.reference, form.status, form.rule, form.text) if name]
        try:
            with path.open(encoding=form.encoding, newline="") as file:
                lines = csv.DictReader(file, delimiter=form.delimiter, strict=True)
                missing = [name for name in wanted if name not in (lines.fieldnames or ())]
                if missing:
                    message = f"{path.name} has no column {', '.join(missing)}"
                    raise FeedbackError(message, where="line 1", hint=_ASK)
                for line in lines:
                    take(_line(line, lines.line_num, form, path))
        except (UnicodeDecodeError, csv.Error) as error:
            message = f"{path.name} is not CSV in {form.encoding}: {error}"
            raise FeedbackError(message, hint=_ASK) from error
        return [Feedback()]


class XmlParser:
    """Reads XML in which an element of a given name speaks of a record."""

    def read(
        self, path: Path, form: FeedbackForm | None, take: Callable[[Answer], None]
    ) -> list[Feedback]:
        """Read a file; see :class:`~..feedback.Parser`."""
        form = _needed(form)
        record = form.record or ""
        heads = {
            text.rpartition("/")[2]: name
            for name, text in (("status", form.file_status), ("original", form.original))
            if text
        }
        found, records = Feedback(), 0
        for element in elements(path, frozenset({record, *heads}), record):
            name = etree.QName(element).localname
            if name == record:
                records += 1
                values = {n: text_at(element, p) for n, p in _places(form).items()}
                take(_answer(values, f"record {records}", form, path))
            elif not _is_inside(element, record):
                text = (element.text or "").strip()
                if heads[name] == "status":
                    found.status = _FILES[_status(text, form, path, "the file")]
                else:
                    found.original = text or None
        if not records and found.status is None:
            message = f"{path.name} speaks of no record and not of the file"
            raise FeedbackError(message, hint=_ASK)
        return [found]


def _places(form: FeedbackForm) -> dict[str, str]:
    places = {
        "reference": form.reference,
        "status": form.status,
        "rule": form.rule,
        "text": form.text,
    }
    return {name: path for name, path in places.items() if path}


def _line(line: dict[str, str | None], number: int, form: FeedbackForm, path: Path) -> Answer:
    if None in line or None in line.values():
        message = f"{path.name} has a line of another length than its header"
        raise FeedbackError(message, where=f"line {number}", hint=_ASK)
    values = {name: line[column] for name, column in _places(form).items()}
    return _answer(values, f"line {number}", form, path)


def _answer(values: dict[str, str | None], where: str, form: FeedbackForm, path: Path) -> Answer:
    reference = (values["reference"] or "").strip()
    if not reference:
        message = f"{path.name} has a record without a reference"
        raise FeedbackError(message, where=where, hint=_ASK)
    rule = (values.get("rule") or "").strip()
    return Answer(
        reference=reference,
        status=_status((values["status"] or "").strip(), form, path, where),
        rules=(rule,) if rule else (),
        text=(values.get("text") or "").strip(),
    )


def _status(word: str, form: FeedbackForm, path: Path, where: str) -> RecordStatus:
    known: dict[str, RecordStatus] = {}
    for name in ("accepted", "rejected", "pending"):
        known |= {text.casefold(): name for text in getattr(form.words, name)}
    if word.casefold() not in known:
        message = f"{path.name}: {word!r} is no known status"
        raise FeedbackError(message, where=where, hint="Add it to form.words in the spec.")
    return known[word.casefold()]


def _is_inside(element: etree._Element, name: str) -> bool:
    return any(
        isinstance(above.tag, str) and etree.QName(above).localname == name
        for above in element.iterancestors()
    )


def _needed(form: FeedbackForm | None) -> FeedbackForm:
    if form is None:
        message = "the acknowledgement has no form"
        raise SpecError(message, hint="Say in `form` where the feedback has what.")
    return form
