"""The ``transform`` section of a report spec: the author's script, and the fence around it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, StringConstraints

from openreg_airflow.column_types import ColumnType
from openreg_airflow.section import Name, RelativeFile, Section

#: What a script may be told by its spec.
Parameter = StrictBool | StrictInt | StrictFloat | StrictStr | date | None

#: A distribution's name and an exact version, as the Python packaging specifications spell them.
Package = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
Version = Annotated[
    str, StringConstraints(pattern=r"^([0-9]+!)?[0-9]+(\.[0-9]+)*[A-Za-z0-9.+_-]*$", max_length=64)
]


class Limits(Section):
    """What one run of the script may use.

    Each is bounded by the installation as well: a spec that asks for more than
    ``[openreg] max_memory_mb``, ``max_cpus`` and so on is refused.
    """

    memory_mb: int = Field(
        default=1024,
        ge=256,
        description="Memory in MiB, with everything written to /tmp. There is no swap beside it.",
    )
    cpus: float = Field(default=1, gt=0, description="Processors, as a hard quota.")
    seconds: int = Field(default=300, ge=1, description="Wall time from start to end.")
    processes: int = Field(
        default=128, ge=32, le=1024, description="Processes and threads at any one time."
    )
    tmp_mb: int = Field(default=64, ge=1, le=4096, description="Size of /tmp in MiB.")
    output_mb: int = Field(
        default=2048, ge=1, le=65_536, description="Size of all returned tables as Parquet in MiB."
    )


class TableSpec(Section):
    """A table that the script returns."""

    columns: dict[str, ColumnType] = Field(
        default_factory=dict,
        description="The table's columns in order, with their types. The table must have exactly "
        "these, and each value must fit its type without loss. Left out: as returned.",
    )


class TransformSection(Section):
    """Python that turns the extracted tables into the report's tables.

    The script defines ``transform(inputs, context)``. ``inputs`` maps each source's name to its
    table. What it returns is stored: a dict of named tables, or one table by itself, which is
    named by ``tables`` when that declares just one, and otherwise like the report's only source.
    It may also yield such results, whose rows are stored one after another.
    """

    script: RelativeFile = Field(
        default="transform.py", description="A file in the report's folder."
    )
    frames: Literal["pandas", "arrow"] = Field(
        default="pandas",
        description="What inputs holds: pandas DataFrames backed by Arrow, decimals exact; or "
        "pyarrow Tables. Either may be returned.",
    )
    batch_rows: int | None = Field(
        default=None,
        ge=1,
        description="For data larger than memory: inputs holds batches of at most so many rows "
        "instead of whole tables. The script goes through them and yields the report's rows.",
    )
    tables: dict[Name, TableSpec] = Field(
        default_factory=dict,
        description="The tables that the script returns, by name. When given, it must return "
        "exactly these.",
    )
    parameters: dict[Name, Parameter] = Field(
        default_factory=dict, description="Values that the script finds in context.parameters."
    )
    packages: dict[Package, Version] = Field(
        default_factory=dict,
        description="Packages beside those of the sandbox, with exact versions, from the admin's "
        "list. `openreg sandbox build --for REPORT` builds the image with them.",
    )
    limits: Limits = Limits()
