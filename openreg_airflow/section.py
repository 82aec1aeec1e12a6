"""The base of every section of a report spec."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

#: How names are spelled; in Python to be matched in full, since $ also stands before a line end.
NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
#: Names that become task ids, table names and parts of paths: lower case, digits, underscore.
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def _below(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        message = f"{path!r} leads out of the report's folder"
        raise ValueError(message)
    return path


#: A path below the report's own folder, never absolute and never upwards.
RelativeFile = Annotated[
    str, StringConstraints(pattern=r"^[^\\\x00]+$", max_length=255), AfterValidator(_below)
]


class Section(BaseModel):
    """A part of a spec: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
