"""The ``file`` part of a source: a file, or several, in place of a query."""

from __future__ import annotations

import codecs
import re
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from openreg_airflow.section import Section

ConnectionId = Annotated[str, StringConstraints(pattern=r"^[\w.\-]+$", max_length=200)]
FileFormat = Literal["csv", "jsonl", "parquet", "excel"]

#: What a date in a file may be spelled with: how many digits each directive has.
DIRECTIVES = {"Y": "4", "m": "2", "d": "2", "H": "2", "M": "2", "S": "2", "f": "1,6"}
_PLACEHOLDER = re.compile(r"\{business_date(?::([^{}]*))?\}")
_DAY_DIRECTIVES = re.compile(r"%(.?)")
_GLOB = re.compile(r"[*?]")

#: Options by the formats that know them; the others refuse them.
_OPTIONS = {
    "compression": ("csv", "jsonl"),
    "delimiter": ("csv",),
    "quote": ("csv",),
    "encoding": ("csv",),
    "header": ("csv",),
    "skip_lines": ("csv",),
    "multiline": ("csv",),
    "decimal_mark": ("csv",),
    "null_values": ("csv", "excel"),
    "formats": ("csv", "jsonl", "excel"),
    "sheet": ("excel",),
    "header_row": ("excel",),
}


def _no_escape(path: str) -> str:
    plain = _PLACEHOLDER.sub("2000-01-01", path)
    if "{" in plain or "}" in plain:
        message = (
            f"{path!r}: the only placeholder is {{business_date}}, as {{business_date:%Y%m%d}}"
        )
        raise ValueError(message)
    if ".." in plain.split("/"):
        message = f"{path!r} leads upwards with '..'"
        raise ValueError(message)
    if _GLOB.search(plain.rpartition("/")[0]):
        message = f"{path!r}: * and ? stand only in the file's name, not in a folder's"
        raise ValueError(message)
    if not plain.rpartition("/")[2]:
        message = f"{path!r} names a folder, not a file"
        raise ValueError(message)
    return path


def _one_byte(text: str) -> str:
    if len(text.encode()) != 1 or text in "\r\n\0":
        message = f"{text!r} is not one plain character"
        raise ValueError(message)
    return text


Character = Annotated[str, AfterValidator(_one_byte)]


class FileSpec(Section):
    """Where the file is and how it is written."""

    connection: ConnectionId | None = Field(
        default=None,
        description="Id of an Airflow connection of type aws or sftp. When left out, the file is "
        "on the worker's own disk, below a folder of [openreg] source_folders.",
    )
    path: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\\\x00-\x1f]+$"),
        AfterValidator(_no_escape),
    ] = Field(
        description="The file, such as in/positions_{business_date:%Y%m%d}.csv; on S3 "
        "s3://bucket/key. * and ? in the name read all files that match, in the order of names.",
    )
    format: FileFormat = Field(description="How the file is written.")
    if_missing: Literal["retry", "fail"] = Field(
        default="retry",
        description="Whether a file that is not there may still come, so that the task is tried "
        "again, or fails the run at once.",
    )
    at_least: int = Field(
        default=1, ge=1, le=10_000, description="How many files must match a path with * or ?."
    )
    compression: Literal["none", "gzip"] = Field(
        default="none", description="Whether the file is compressed."
    )
    delimiter: Character = Field(default=",", description="What separates the values of a line.")
    quote: Character = Field(
        default='"', description="What surrounds values that hold a delimiter; doubled inside."
    )
    encoding: str = Field(default="utf-8", description="The text's encoding, such as cp1252.")
    header: bool = Field(
        default=True,
        description="Whether the first line names the columns; otherwise they are those under "
        "`columns:`, in that order.",
    )
    skip_lines: int = Field(default=0, ge=0, le=1000, description="Lines before the first.")
    multiline: bool = Field(
        default=False, description="Whether quoted values may hold line breaks."
    )
    decimal_mark: Literal[".", ","] = Field(
        default=".", description="The mark before the fraction of a number."
    )
    null_values: tuple[str, ...] = Field(
        default=("",),
        max_length=100,
        description='Texts that mean NULL. A quoted empty value ("") in CSV is an empty text.',
    )
    formats: dict[str, str] = Field(
        default_factory=dict,
        description="How dates and booleans are spelled, by column, such as %d.%m.%Y or Y/N. "
        "Without: 2026-01-05, 2026-01-05 09:00:00, true/false.",
    )
    sheet: str | None = Field(
        default=None, min_length=1, max_length=31, description="The sheet; needed if several."
    )
    header_row: int = Field(
        default=1, ge=1, le=1_048_576, description="The row that names the columns."
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            name = codecs.lookup(encoding).name
            "aA1,".encode(name)
        except (LookupError, ValueError) as error:
            message = f"{encoding!r} is not an encoding of text"
            raise ValueError(message) from error
        return name

    @field_validator("formats")
    @classmethod
    def _known_formats(cls, formats: dict[str, str]) -> dict[str, str]:
        for column, spelled in formats.items():
            if "%" not in spelled and not re.fullmatch(r"[^/]+/[^/]+", spelled):
                message = f"{column}: {spelled!r} is neither like %d.%m.%Y nor like Y/N"
                raise ValueError(message)
            used = re.findall(r"%(.?)", spelled)
            if unknown := [name for name in used if name not in DIRECTIVES]:
                message = (
                    f"{column}: %{unknown[0]} is not known; known are %{' %'.join(DIRECTIVES)}"
                )
                raise ValueError(message)
            if len(used) != len(set(used)):
                message = f"{column}: {spelled!r} names a part of the date twice"
                raise ValueError(message)
        return formats

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for name in self.model_fields_set & set(_OPTIONS):
            if self.format not in _OPTIONS[name]:
                message = f"`{name}` says nothing about {self.format}: remove it"
                raise ValueError(message)
        if self.delimiter == self.quote:
            message = "delimiter and quote are the same character"
            raise ValueError(message)
        for directive in _DAY_DIRECTIVES.findall("".join(_PLACEHOLDER.findall(self.path))):
            if directive not in ("Y", "m", "d", "%"):
                message = f"{self.path!r}: a business date is written with %Y, %m and %d"
                raise ValueError(message)
        if self.path.startswith("s3://") and self.connection is None:
            message = "a file on S3 needs a `connection` of type aws"
            raise ValueError(message)
        return self

    @property
    def several(self) -> bool:
        """Whether the path matches any number of files."""
        return _GLOB.search(self.path) is not None

    def path_on(self, business_date: date) -> str:
        """The path with the business date filled in."""

        def fill(found: re.Match[str]) -> str:
            if not found[1]:
                return business_date.isoformat()
            return datetime.combine(business_date, datetime.min.time()).strftime(found[1])

        return _PLACEHOLDER.sub(fill, self.path)
