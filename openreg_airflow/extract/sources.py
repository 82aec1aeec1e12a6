"""The extraction that a source's spec asks for, with its connection taken from Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from openreg_airflow.extract.engine import Extraction
    from openreg_airflow.extract.files.extraction import FileExtraction
    from openreg_airflow.extract.spec import SourceSpec


def extraction(
    spec: SourceSpec, folder: Path, business_date: date, *, source_folders: Sequence[Path]
) -> Extraction | FileExtraction:
    """Make the extraction of a source whose window is open.

    Args:
        spec: the source's section of the spec.
        folder: the report's folder.
        business_date: the reported day.
        source_folders: folders of the local disk that file sources may read.

    Raises:
        SpecError: the connection or the SQL file is missing or cannot be used.
    """
    from openreg_airflow.extract.connections import source_connection
    from openreg_airflow.extract.engine import Extraction

    if spec.file is not None:
        return file_extraction(spec, business_date, source_folders=source_folders)
    connection = source_connection(str(spec.connection))
    return Extraction(spec, folder, connection, business_date)


def file_extraction(
    spec: SourceSpec, business_date: date, *, source_folders: Sequence[Path]
) -> FileExtraction:
    """Make the extraction of a file source; see :func:`extraction`."""
    from openreg_airflow.extract.connections import file_connection
    from openreg_airflow.extract.files.extraction import FileExtraction
    from openreg_airflow.extract.files.places import opener

    assert spec.file is not None  # noqa: S101 - seen by the caller
    conn_id = spec.file.connection
    connection = file_connection(conn_id) if conn_id else None
    return FileExtraction(spec, business_date, opener(connection, source_folders))
