"""The formats of files that a source may name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from openreg_airflow.extract.file_spec import FileSpec
    from openreg_airflow.extract.files.table import FileTable, OpensTable


def open_table(
    path: Path, name: str, spec: FileSpec, declared: Mapping[str, str]
) -> AbstractContextManager[FileTable]:
    """Open a file of any format; see :class:`~openreg_airflow.extract.files.table.OpensTable`."""
    opens: OpensTable
    if spec.format == "csv":
        from openreg_airflow.extract.files.csv_table import open_csv as opens
    elif spec.format == "jsonl":
        from openreg_airflow.extract.files.jsonl_table import open_jsonl as opens
    elif spec.format == "parquet":
        from openreg_airflow.extract.files.parquet_table import open_parquet as opens
    else:
        from openreg_airflow.extract.files.excel_table import open_excel as opens
    return opens(path, name, spec, declared)
