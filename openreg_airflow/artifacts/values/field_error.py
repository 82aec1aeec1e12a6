"""Errors of records that are rows of fields: they name the record and the column."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.values.value_text import UnwritableValueError, is_text
from openreg_airflow.errors import ArtifactError


def refuse_null(values: pa.Array) -> None:
    """Make sure that a required column has a value in each row.

    Raises:
        UnwritableValueError: it has not.
    """
    if values.null_count:
        message = "the column is required and is NULL here"
        raise UnwritableValueError(message, pc.index(pc.is_null(values), True).as_py())


def unwritable(error: UnwritableValueError, first: int, column: str) -> ArtifactError:
    """The error of a value in a batch, of which the first row is record number ``first``."""
    record = "" if error.row is None else f"record {first + error.row}, "
    return ArtifactError(
        str(error),
        where=f"{record}column {column}",
        hint="Mend the data or the transform, or the column's format.",
    )


def outside(error: UnicodeEncodeError, encoding: str, where: str) -> ArtifactError:
    """The error of a character that an encoding does not have."""
    character = error.object[error.start]
    message = f"{character!r} (U+{ord(character):04X}) cannot be written in {encoding}"
    return ArtifactError(message, where=where, hint="Mend the data or the encoding.")


def place_of(error: UnicodeEncodeError, batch: pa.RecordBatch, first: int) -> str:
    """The record and column of the first text that holds the character of an error."""
    character = error.object[error.start]
    found: list[tuple[int, str]] = []
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        if is_text(values.type):
            holds = pc.match_substring(pc.cast(values, pa.string()), character)
            if (row := pc.index(holds, True).as_py()) >= 0:
                found.append((row, name))
    if not found:  # it is in a format of the spec
        return f"record {first}"
    row, name = min(found)
    return f"record {first + row}, column {name}"
