"""The base of every section of a report spec."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

#: Names that become task ids, table names and parts of paths: lower case, digits, underscore.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]

#: A path below the report's own folder, never absolute and never upwards.
RelativeFile = Annotated[
    str, StringConstraints(pattern=r"^(?!/)(?!.*(?:^|/)\.\.(?:/|$))[^\\\0]+$", max_length=255)
]


class Section(BaseModel):
    """A part of a spec: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
