"""Records of fields of fixed widths, read back by their places."""

from __future__ import annotations

import io
import re
from collections import deque
from typing import IO, TYPE_CHECKING

from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.validate.finished.form import FileForm, FixedPlace
    from openreg_airflow.validate.finished.records import RecordWriter
    from openreg_airflow.validate.finished.spec import ReadBack

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
#: The last digit with the sign in it, as COBOL's zoned decimals are printed.
_OVERPUNCHED = {
    letter: (str(digit), sign)
    for sign, letters in (("", "{ABCDEFGHI"), ("-", "}JKLMNOPQR"))
    for digit, letter in enumerate(letters)
}
_LONGEST = 1 << 20


def read_fixed(
    stream: IO[bytes], name: str, form: FileForm, reading: ReadBack, into: RecordWriter
) -> dict[str, int | str | None]:
    """Read a file of records.

    A text loses the spaces, or what it is filled up with, at its ends, but no zeros; a number with
    decimals or a sign gets its point and its minus. What is empty is NULL.

    Args:
        stream: its bytes.
        name: of the file.
        form: how it was written.
        reading: what is wanted of it.
        into: takes the records.

    Returns:
        The number of records as ``found``; ``first_line`` and ``last_line``.

    Raises:
        ArtifactError: a record has another length than its fields, or a number is none.
    """
    places = form.wanted_places(reading)
    records = into.of_file(name, list(places))
    about: dict[str, int | str | None] = {"first_line": None, "last_line": None}
    for number, line in enumerate(_between(_lines(stream, name, form), form, about, name), start=1):
        if form.lengths and len(line) not in form.lengths:
            expected = " or ".join(map(str, sorted(form.lengths)))
            message = f"{name}, record {number} is {len(line)} characters long and not {expected}"
            raise ArtifactError(message)
        try:
            values = [value_at(line, place) for place in places.values()]
        except ValueError as error:
            message = f"{name}, record {number}: {error}"
            raise ArtifactError(message) from error
        records.add(values)
    return {"found": records.end(), **about}


def value_at(line: str, place: FixedPlace) -> str | None:
    """The value at a place of a record.

    Raises:
        ValueError: it should be a number and is none.
    """
    raw = line[place.start : place.start + place.width]
    if raw == place.null.ljust(place.width):
        return None
    fill = " " if place.pad in (None, "0") else f" {place.pad}"
    text = raw.strip(fill)
    if not place.is_number:
        return text or None
    digits, minus = _unsigned(text, place)
    if place.decimal_mark:
        digits = digits.replace(place.decimal_mark, ".")
    elif place.decimals:
        digits = digits.zfill(place.decimals + 1)
        digits = f"{digits[: -place.decimals]}.{digits[-place.decimals :]}"
    if not _NUMBER.fullmatch(digits):
        message = f"{raw!r} is no number of {place.name}"
        raise ValueError(message)
    return minus + digits


def _unsigned(text: str, place: FixedPlace) -> tuple[str, str]:
    if place.sign == "overpunch":
        digit, minus = _OVERPUNCHED.get(text[-1:], ("?", ""))
        return text[:-1] + digit, minus
    if place.sign == "none":
        return text, ""
    minus = "-" if "-" in (text[:1], text[-1:]) else ""
    if place.sign == "trailing" and place.plus == "0":
        return text[:-1], minus
    return text.strip("-+ "), minus


def _between(
    lines: Iterator[str], form: FileForm, about: dict[str, int | str | None], name: str
) -> Iterator[str]:
    """The lines between header and trailer records; the first and last of all are noted."""
    held: deque[str] = deque()
    count = 0
    for count, line in enumerate(lines, start=1):
        about["last_line"] = line
        if count == 1:
            about["first_line"] = line
        if count > form.before:
            held.append(line)
        if len(held) > form.after:
            yield held.popleft()
    if count < form.before + form.after:
        message = f"{name} has {count} records and ends within its header or trailer"
        raise ArtifactError(message)


def _lines(stream: IO[bytes], name: str, form: FileForm) -> Iterator[str]:
    text = io.TextIOWrapper(stream, encoding=form.encoding, newline="\n")
    if not form.line_end:
        [length] = form.lengths
        while line := text.read(length):
            yield line
        return
    while line := text.readline(_LONGEST):
        if not line.endswith(form.line_end):
            message = f"{name} has a record without the end that every record has"
            raise ArtifactError(message)
        yield line.removesuffix(form.line_end)
