"""Writes Excel workbooks, a row at a time; the same rows give the same bytes."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from openreg_airflow.artifacts.formats.excel_spec import ExcelColumn
from openreg_airflow.artifacts.layouts.column_use import alike_titles, of_columns
from openreg_airflow.artifacts.writer import Progress, batches, unknown_column
from openreg_airflow.errors import ArtifactError
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

    from openreg_airflow.artifacts.formats.excel_spec import ExcelArtifact
    from openreg_airflow.artifacts.layouts.column_use import Use
    from openreg_airflow.artifacts.writer import Job

_MOST_ROWS = 1_048_576
_MOST_COLUMNS = 16_384
#: What a spreadsheet takes for a formula when somebody edits the cell or saves it as CSV.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_FORMATS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}


class ExcelWriter:
    """The writer of ``format: excel``."""

    def tables(self, spec: ExcelArtifact, folder: Path) -> frozenset[str]:  # noqa: ARG002
        """Only the artifact's own table."""
        return frozenset({spec.table})

    def write(self, job: Job, target: Path) -> str:
        """Write the workbook; see :class:`~openreg_airflow.artifacts.writer.Writer`."""
        import xlsxwriter
        from xlsxwriter.exceptions import FileCreateError

        from openreg_airflow.parquet_rows import opened
        from openreg_airflow.scratch import scratch_folder

        spec: ExcelArtifact = job.spec
        rows = job.rows[spec.table] + spec.header
        if rows > _MOST_ROWS:
            message = f"{rows} rows are more than the {_MOST_ROWS} of an Excel sheet"
            hint = "Split the artifact, or use another format."
            raise ArtifactError(message, where=f"artifact {job.artifact}", hint=hint)
        with (
            opened(job.tables[spec.table]) as table,
            scratch_folder(target.parent) as scratch,
        ):
            columns = spec.columns or {name: ExcelColumn() for name in table.schema_arrow.names}
            for name in columns:
                if name not in table.schema_arrow.names:
                    raise unknown_column(spec.table, name, table.schema_arrow.names)
            book = xlsxwriter.Workbook(str(target), {**_FORMATS, "tmpdir": str(scratch)})
            made = datetime.combine(job.run.business_date, datetime.min.time())
            book.set_properties({"title": spec.sheet, "created": made})
            sheet = _Sheet(book, spec, columns, table.schema_arrow)
            try:
                sheet.fill(table, job)
                book.close()
            except FileCreateError as error:
                if error.args and isinstance(error.args[0], OSError):
                    raise error.args[0] from error
                raise
            finally:
                sheet.close()
        return "not checked: Excel has no schema"

    def uses(self, spec: ExcelArtifact, folder: Path) -> Iterator[Use]:  # noqa: ARG002
        """The columns that are written."""
        yield from of_columns(spec.table, spec.columns)

    def check(self, spec: ExcelArtifact, folder: Path) -> Iterator[Problem]:  # noqa: ARG002
        """Titles that would stand twice in the first row, and too many columns."""
        if spec.header:
            yield from alike_titles(spec.columns, "the first row")
        if len(spec.columns or ()) > _MOST_COLUMNS:
            message = f"an Excel sheet has at most {_MOST_COLUMNS} columns"
            yield Problem(message=message, keys=("columns",))


class _Sheet:
    def __init__(
        self, book: Any, spec: ExcelArtifact, columns: Mapping[str, ExcelColumn], schema: pa.Schema
    ) -> None:
        from openreg_airflow.artifacts.formats import excel_cells

        self._columns = columns
        self._sheet = book.add_worksheet(spec.sheet)
        self._quoted = book.add_format({"quote_prefix": True})
        self._formats = []
        for name, column in columns.items():
            style = excel_cells.number_format(column, schema.field(name).type)
            self._formats.append(book.add_format({"num_format": style}) if style else None)
        self._row = 0
        if spec.header:
            bold = book.add_format({"bold": True})
            for place, (name, column) in enumerate(columns.items()):
                self._sheet.write_string(0, place, column.title or name, bold)
            self._row = 1

    def close(self) -> None:
        """Let go of the file of rows, which stays open when they could not be written."""
        rows = self._sheet.row_data_fh
        if rows is not None and not rows.closed:
            with suppress(OSError):  # what is still held cannot be written either
                rows.close()

    def fill(self, table: pq.ParquetFile, job: Job) -> None:
        progress = Progress(job.filename, job.rows[job.spec.table])
        first = 1
        for batch in batches(table, list(self._columns)):
            self._add(batch, first)
            first += batch.num_rows
            progress.at(first - 1)

    def _add(self, batch: pa.RecordBatch, first: int) -> None:
        from openreg_airflow.artifacts.formats import excel_cells
        from openreg_airflow.artifacts.values import field_error
        from openreg_airflow.artifacts.values.value_text import UnwritableValueError

        cells = []
        for name, column in self._columns.items():
            try:
                cells.append(excel_cells.of(column, batch.column(name)))
            except UnwritableValueError as error:
                raise field_error.unwritable(error, first, name) from error
        puts = [self._put(column.kind) for column in cells]
        rows = zip(*(column.values for column in cells), strict=True)
        for row, values in enumerate(rows, self._row):
            for place, value in enumerate(values):
                if value is not None:
                    puts[place](row, place, value)
        self._row += batch.num_rows

    def _put(self, kind: str) -> Any:
        sheet, formats, quoted = self._sheet, self._formats, self._quoted
        if kind == "boolean":
            return sheet.write_boolean
        if kind == "text":

            def text(row: int, place: int, value: str) -> None:
                style = quoted if value.startswith(_FORMULAS) else None
                sheet.write_string(row, place, value, style)

            return text

        def number(row: int, place: int, value: float) -> None:
            sheet.write_number(row, place, value, formats[place])

        return number
