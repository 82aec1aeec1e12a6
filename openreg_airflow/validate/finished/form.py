"""What is known of how an artifact's files were written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openreg_airflow.validate.finished.spec import ReadBack

#: Formats that can be read back.
FORMATS = ("csv", "excel", "fixed", "json", "jsonl", "parquet", "xml")
#: Those whose records are somewhere in a document.
_DOCUMENTS = {"json": "JSON", "xml": "XML"}


_PLACE = re.compile(r"([1-9][0-9]{0,6})-([1-9][0-9]{0,6})")


@dataclass(frozen=True, kw_only=True)
class FixedPlace:
    """Where a value is in a record of fixed widths, and how it is set into its place.

    Attributes:
        name: of the column.
        start: characters before it.
        width: its own.
        null: what stands for NULL.
        pad: what fills the rest.
        decimals, decimal_mark, sign, plus: of a number.
    """

    name: str
    start: int
    width: int
    null: str = ""
    pad: str | None = None
    decimals: int | None = None
    decimal_mark: str = ""
    sign: str = "none"
    plus: str = " "

    @property
    def is_number(self) -> bool:
        """Whether it is known to be a number."""
        return self.decimals is not None or self.sign != "none"


@dataclass(frozen=True, kw_only=True)
class FileForm:
    """How files look; those of other formats cannot be read back.

    Attributes:
        format: of the artifact.
        delimiter, quote, quoted, encoding, null: of CSV.
        decimal_mark: of numbers in CSV.
        header: whether a line names the columns.
        names: the columns when none does.
        before, after: lines before that line and after the last record.
        line_end: of fixed width, what stands behind each record.
        lengths: of records of fixed width.
        places: of the columns in such a record; empty when records are of several types.
    """

    format: str
    delimiter: str = ","
    quote: str = '"'
    quoted: bool = True
    encoding: str = "utf-8"
    null: str = ""
    decimal_mark: str = "."
    header: bool = True
    names: tuple[str, ...] = ()
    before: int = 0
    after: int = 0
    line_end: str = "\n"
    lengths: frozenset[int] = frozenset()
    places: tuple[FixedPlace, ...] = ()
    encrypted: bool = False

    def wanted_places(self, reading: ReadBack) -> dict[str, FixedPlace]:
        """Where the wanted fields are in a record of fixed width.

        Raises:
            ValueError: a field is neither a column nor two places.
        """
        known = {place.name: place for place in reversed(self.places)}
        if not reading.fields:
            return dict(reversed(known.items()))
        found = {}
        for field, where in reading.fields.items():
            if numbers := _PLACE.fullmatch(where):
                first, last = map(int, numbers.groups())
                found[field] = FixedPlace(name=field, start=first - 1, width=last - first + 1)
            elif where in known:
                found[field] = known[where]
            if field not in found or found[field].width < 1:
                message = f"{where!r} is neither a column of its records nor places such as 1-10"
                raise ValueError(message)
        return found


def fault(form: FileForm, reading: ReadBack) -> str | None:
    """Why an artifact of this form cannot be read back in this way; None when it can."""
    if form.format not in FORMATS:
        return f"files of format {form.format} cannot be read back; {', '.join(FORMATS)} can"
    if form.encrypted:
        return "encrypted files cannot be read back: only the receiver can open them"
    document = _DOCUMENTS.get(form.format)
    if document and (reading.record is None or not reading.fields):
        return f"of {document} read_back must say record and fields"
    if not document and (reading.record or reading.document):
        return f"record and document go with XML and JSON, and this is {form.format}"
    if form.format == "fixed" and (why := _fault_of_fixed(form, reading)):
        return why
    if form.format in ("csv", "excel") and not form.header and not form.names:
        return "the file does not name its columns, and the artifact declares no columns"
    known = {*reading.fields, *reading.document}
    if reading.fields and (strange := reading.columns.keys() - known):
        return f"columns gives types of {', '.join(sorted(strange))}, which nothing names"
    return None


def _fault_of_fixed(form: FileForm, reading: ReadBack) -> str | None:
    if not form.places and not reading.fields:
        return "its records are of several types; read_back must say fields by places such as 1-10"
    if not form.line_end and len(form.lengths) != 1:
        return "its records have no ends and no record_length, so that none can be told apart"
    try:
        form.wanted_places(reading)
    except ValueError as error:
        return str(error)
    return None
