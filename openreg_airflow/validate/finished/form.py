"""What is known of how an artifact's files were written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openreg_airflow.validate.finished.spec import ReadBack

#: Formats that can be read back.
FORMATS = ("csv", "json", "jsonl", "parquet", "xml")
#: Those whose records are somewhere in a document.
_DOCUMENTS = {"json": "JSON", "xml": "XML"}


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
    encrypted: bool = False


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
    if form.format == "csv" and not form.header and not form.names:
        return "the file has no line with names, and the artifact declares no columns"
    known = {*reading.fields, *reading.document}
    if reading.fields and (strange := reading.columns.keys() - known):
        return f"columns gives types of {', '.join(sorted(strange))}, which nothing names"
    return None
