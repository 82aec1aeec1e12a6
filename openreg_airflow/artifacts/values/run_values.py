"""What a file says of itself and its run: ``{run.records}``, ``{sum.amount}`` and the like.

The same names stand in XML layouts, JSON templates, and the header and trailer records of lines.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

from openreg_airflow.artifacts.values.placeholder import RUN_PREFIX, SUM_PREFIX
from openreg_airflow.artifacts.writer import unknown_column
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from openreg_airflow.artifacts.values.placeholder import Placeholder
    from openreg_airflow.artifacts.writer import Job

NAMES = (
    "business_date",
    "report_id",
    "artifact",
    "filename",
    "records",
    "page",
    "pages",
    "last_page",
    "first_record",
    "total_records",
    "sender",
    "sequence",
    "version",
    "replaces",
    "replaces_file",
)
_MOST_DIGITS = 76
_EXACT = Context(prec=_MOST_DIGITS)


def fault(found: Placeholder, names: Iterable[str] = NAMES) -> str | None:
    """What is wrong with a placeholder that speaks of the run; None when it is right.

    Args:
        found: the placeholder.
        names: what is known of the run where it stands.
    """
    if found.name.startswith(SUM_PREFIX) or found.name.removeprefix(RUN_PREFIX) in names:
        return None
    known = ", ".join(RUN_PREFIX + name for name in names)
    return f"{found} is unknown; known are {known} and {SUM_PREFIX}COLUMN"


def of(job: Job, wanted: Iterable[Placeholder] = ()) -> dict[str, Any]:
    """The values by name, ``business_date`` for ``{run.business_date}``.

    Args:
        job: the file that is written.
        wanted: the placeholders that will be filled in; those of sums need a pass over a column.

    Raises:
        ArtifactError: a sum of a column that is not there or does not hold exact numbers.
    """
    values: dict[str, Any] = {
        "business_date": job.run.business_date,
        "report_id": job.run.report_id,
        "artifact": job.artifact,
        "filename": job.filename,
        "records": job.rows[job.spec.table],
        "page": job.page.number,
        "pages": job.page.count,
        "last_page": job.page.number == job.page.count,
        "first_record": job.page.first_record,
        "total_records": job.page.total_records,
        "sender": job.spec.sender or "",
        "sequence": job.page.sequence or "",
        "version": job.page.version,
        "replaces": job.page.replaces,
        "replaces_file": job.page.replaces_file,
    }
    names = {found.name for found in wanted if found.name.startswith(SUM_PREFIX)}
    for name in sorted(names):
        column = name.removeprefix(SUM_PREFIX)
        values[name] = control_sum(job.tables[job.spec.table], job.spec.table, column)
    return values


def control_sum(path: Path, table: str, column: str) -> Decimal:
    """The exact sum of a column; NULL counts as nothing.

    Raises:
        ArtifactError: the column is not there, or is not of whole or decimal numbers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from openreg_airflow.parquet_rows import opened

    with opened(path) as file:
        schema = file.schema_arrow
        if column not in schema.names:
            raise unknown_column(table, column, schema.names)
        kind = schema.field(column).type
        if pa.types.is_integer(kind):
            wide = pa.decimal256(_MOST_DIGITS, 0)
        elif pa.types.is_decimal(kind):
            wide = pa.decimal256(_MOST_DIGITS, kind.scale)
        else:
            message = f"column {column} is {kind}, of which there is no exact sum"
            hint = "Declare decimal(p,s) or integer for it in the extract or the transform."
            raise ArtifactError(message, where=f"table {table}", hint=hint)
        total = Decimal(0).scaleb(-wide.scale)
        for batch in file.iter_batches(columns=[column], use_threads=False):
            values = batch.column(0)
            if pa.types.is_integer(kind):
                values = pc.cast(values, pa.decimal128(20, 0))
            total = _EXACT.add(total, pc.sum(pc.cast(values, wide)).as_py() or Decimal(0))
        return total
