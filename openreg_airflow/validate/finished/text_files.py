"""Delimited lines and JSON lines, read back as a stranger would read them."""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from typing import IO, TYPE_CHECKING, Any

from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.validate.finished.form import FileForm
    from openreg_airflow.validate.finished.records import RecordWriter
    from openreg_airflow.validate.finished.spec import ReadBack

_LONGEST_FIELD = 1 << 27
_LONGEST_LINE = 4000


class Lines:
    """The lines of a text, of which the first and the last are remembered."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._lines = io.TextIOWrapper(stream, encoding=encoding, newline="")
        self.first: str | None = None
        self.last: str | None = None

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.last = line.rstrip("\r\n")[:_LONGEST_LINE]
            if self.first is None:
                self.first = self.last
            yield line


def read_csv(lines: Lines, name: str, form: FileForm, reading: ReadBack, into: RecordWriter) -> int:
    """Read delimited lines.

    Args:
        lines: the file.
        name: its name.
        form: how it was written.
        reading: what is wanted of it.
        into: takes the records.

    Returns:
        The number of records.

    Raises:
        ArtifactError: it is no such file: a record has another number of values than there are
            columns, a column is missing, or lines before or after the records are.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    source = iter(lines)
    for _ in range(form.before):
        if next(source, None) is None:
            message = f"{name} ends within its header"
            raise ArtifactError(message)
    rows = csv.reader(
        source,
        delimiter=form.delimiter,
        quotechar=form.quote,
        quoting=csv.QUOTE_MINIMAL if form.quoted else csv.QUOTE_NONE,
        strict=True,
    )
    titles = next(rows, None) if form.header else list(form.names)
    if titles is None:
        message = f"{name} has no line with the names of its columns"
        raise ArtifactError(message)
    wanted = wanted_columns(titles, reading, name)
    records = into.of_file(name, list(wanted))
    for number, row in enumerate(_without_last(rows, form.after, name), start=1):
        if len(row) != len(titles):
            message = f"{name}, record {number} has {len(row)} values for {len(titles)} columns"
            raise ArtifactError(message)
        records.add([None if row[at] == form.null else row[at] for at in wanted.values()])
    return records.end()


def wanted_columns(titles: list[str], reading: ReadBack, name: str) -> dict[str, int]:
    """Where the wanted fields are in a line."""
    fields = reading.fields or {title: title for title in titles}
    missing = [title for title in fields.values() if title not in titles]
    if missing or len(set(titles)) < len(titles):
        what = f"lacks the columns {', '.join(missing)}" if missing else "names a column twice"
        message = f"{name} {what}; it has {', '.join(titles)[:500]}"
        raise ArtifactError(message)
    return {field: titles.index(title) for field, title in fields.items()}


def _without_last(rows: Iterator[list[str]], count: int, name: str) -> Iterator[list[str]]:
    """All rows but the last ones, which are trailer records."""
    held: deque[list[str]] = deque()
    try:
        for row in rows:
            held.append(row)
            if len(held) > count:
                yield held.popleft()
    except csv.Error as error:
        message = f"{name} is not well written: {error}"
        raise ArtifactError(message) from error
    if len(held) < count:
        message = f"{name} ends within its trailer"
        raise ArtifactError(message)


def read_json_lines(lines: Lines, name: str, reading: ReadBack, into: RecordWriter) -> int:
    """Read one JSON object a line; see :func:`read_csv`. Numbers keep their digits as text."""
    fields = {field: path.split("/") for field, path in reading.fields.items()}
    records = into.of_file(name, list(fields)) if fields else None
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line, parse_float=str, parse_int=str)
        except (ValueError, RecursionError) as error:
            message = f"{name}, line {number} is not JSON: {error}"
            raise ArtifactError(message) from error
        if not isinstance(record, dict):
            message = f"{name}, line {number} is no object"
            raise ArtifactError(message)
        if records is None:
            fields = {member: [member] for member in record}
            records = into.of_file(name, list(fields))
        if not reading.fields and (strange := record.keys() - fields.keys()):
            message = f"{name}, line {number} has members that the first line has not: "
            hint = "Say in read_back which fields are wanted."
            raise ArtifactError(message + ", ".join(sorted(strange)), hint=hint)
        records.add([text_of(member(record, path)) for path in fields.values()])
    return records.end() if records else 0


def member(record: Any, path: list[str]) -> Any:
    """What is in a JSON object at a path of members; None when nothing is."""
    for step in path:
        if not isinstance(record, dict):
            return None
        record = record.get(step)
    return record


def text_of(value: Any) -> str | None:
    """A value of JSON as text."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
