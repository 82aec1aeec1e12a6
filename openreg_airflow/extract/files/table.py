"""What a format gives of one file: columns, batches of rows, and where each row stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from openreg_airflow.errors import SourceError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pyarrow as pa

    from openreg_airflow.extract.file_spec import FileSpec
    from openreg_airflow.extract.reader import SourceColumn


class FileTable(Protocol):
    """An open file. Memory is bounded whatever the file holds."""

    #: Known before the first row.
    columns: tuple[SourceColumn, ...]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, values in the plainest type that keeps them, once.

        Raises:
            SourceError: the file is not what it should be; names line or row.
        """

    def place(self, row: int) -> str:
        """Where a row of the batch that was given last stands, such as ``line 17``.

        Args:
            row: number of the row in the file, from 0.
        """


class OpensTable(Protocol):
    """One format."""

    def __call__(
        self, path: Path, name: str, spec: FileSpec, declared: Mapping[str, str]
    ) -> AbstractContextManager[FileTable]:
        """Open a file.

        Args:
            path: where it can be read.
            name: what it is called in messages.
            spec: how it is written.
            declared: the spec's column types, in the spec's spelling.

        Raises:
            SourceError: it is not a file of this format, or lacks a column.
        """


def check_names(
    found: Sequence[str], declared: Mapping[str, str], *, where: str, closed: bool = False
) -> None:
    """Refuse a header that does not give every column exactly one name.

    Args:
        found: the names in the file's order.
        declared: the spec's columns.
        where: for messages.
        closed: whether a column that is not declared is an error too.

    Raises:
        SourceError: a name is empty or there twice, or a declared column is missing.
    """
    for number, name in enumerate(found, 1):
        if not name:
            message = f"column {number} has no name"
            raise SourceError(message, where=where, hint="Correct the header of the file.")
    folded = [name.casefold() for name in found]
    twice = sorted({name for name in found if folded.count(name.casefold()) > 1})
    if twice:
        message = f"several columns have the same name: {', '.join(twice)}"
        hint = "Correct the header of the file; upper and lower case are the same."
        raise SourceError(message, where=where, hint=hint)
    if missing := [name for name in declared if name not in found]:
        message = f"the declared columns {', '.join(missing)} are not in the file"
        hint = f"It has {', '.join(found)}. Correct `columns:` or the file."
        raise SourceError(message, where=where, hint=hint)
    if closed and (more := [name for name in found if name not in declared]):
        message = f"the file has columns that are not declared: {', '.join(more)}"
        raise SourceError(message, where=where, hint="Declare them under `columns:`.")


def need_columns(declared: Mapping[str, str], what: str) -> None:
    """Refuse a spec that declares nothing where the file itself does not tell.

    Raises:
        SpecError: nothing is declared.
    """
    if not declared:
        message = f"{what} does not tell its columns"
        raise SpecError(message, hint="Declare them under `columns:`.")
