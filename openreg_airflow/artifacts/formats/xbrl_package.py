"""XBRL report packages (Report Packages 1.0) of xBRL-CSV reports (xBRL-CSV 1.0).

.. code-block:: text

    ROOT/META-INF/reportPackage.json
    ROOT/reports/report.json            names the taxonomy, which describes the tables
    ROOT/reports/parameters.csv
    ROOT/reports/FilingIndicators.csv
    ROOT/reports/TABLE.csv

Nothing in a package depends on the clock: the same rows give the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.formats.csv_lines import CsvLines
from openreg_airflow.artifacts.formats.csv_spec import CsvArtifact, CsvColumn
from openreg_airflow.artifacts.values import run_line, run_values
from openreg_airflow.artifacts.values.value_text import is_text
from openreg_airflow.artifacts.writer import Progress, batches
from openreg_airflow.parquet_rows import opened

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from openreg_airflow.artifacts.formats.xbrl_spec import XbrlCsvArtifact, XbrlTable
    from openreg_airflow.artifacts.writer import Job

_PACKAGE = "https://xbrl.org/report-package/2023"
_REPORT = "https://xbrl.org/2021/xbrl-csv"
#: The earliest that zip can hold.
_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_READABLE = 0o100644 << 16


def write(job: Job, target: Path) -> dict[str, XbrlTable]:
    """Write the package.

    Returns:
        The tables that are in it, by the names of their files without ending.

    Raises:
        ArtifactError: a value that CSV cannot carry, or a column that is not there.
    """
    spec: XbrlCsvArtifact = job.spec
    lines = (*spec.parameters.values(), spec.root or "")
    values = run_values.of(job, run_line.placeholders(lines))
    root = run_line.fill(spec.root, values, forbidden="/\\") if spec.root else _stem(job.filename)
    kept = {
        name: table
        for name, table in spec.tables.items()
        if job.rows[table.table] or spec.empty_tables == "write"
    }
    # Not through Job.create: a zip file that is written from beginning to end has the lengths of
    # its entries behind them, which not every reader takes.
    with zipfile.ZipFile(target, "w") as archive:
        kind = _PACKAGE + ("/xbr" if job.filename.endswith(".xbr") else "")
        _add(archive, f"{root}/META-INF/reportPackage.json", _json({"documentType": kind}))
        about = {"documentType": _REPORT, "extends": list(spec.extends)}
        _add(archive, f"{root}/reports/report.json", _json(about))
        filled = [(name, run_line.fill(line, values)) for name, line in spec.parameters.items()]
        _add(archive, f"{root}/reports/parameters.csv", _csv([("name", "value"), *filled]))
        if indicators := _indicators(job):
            data = _csv([("templateID", "reported"), *indicators])
            _add(archive, f"{root}/reports/FilingIndicators.csv", data)
        for name, table in kept.items():
            _add_table(archive, f"{root}/reports/{name}.csv", table, job)
    return kept


def _indicators(job: Job) -> list[tuple[str, str]]:
    spec: XbrlCsvArtifact = job.spec
    found: dict[str, bool] = {}
    for table in spec.tables.values():
        if table.template is not None:
            found[table.template] = found.get(table.template, False) or job.rows[table.table] > 0
    found |= spec.filing_indicators
    return [(code, "true" if reported else "false") for code, reported in found.items()]


def _add_table(archive: zipfile.ZipFile, path: str, table: XbrlTable, job: Job) -> None:
    columns = {
        name: CsvColumn(title=column.title, format=column.format, required=column.required)
        for name, column in (table.columns or {}).items()
    }
    spec = CsvArtifact(format="csv", table=table.table, filename="t.csv", columns=columns or None)
    progress = Progress(f"{job.filename}: {path}", job.rows[table.table])
    with (
        opened(job.tables[table.table]) as file,
        archive.open(_entry(path), "w", force_zip64=True) as entry,
    ):
        lines = CsvLines(spec, file.schema_arrow)
        entry.write(lines.header({"records": job.rows[table.table]}))
        first = 1
        for batch in batches(file, lines.names):
            entry.write(lines.of(_spelled(batch), first))
            first += batch.num_rows
            progress.at(first - 1)


def _spelled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Texts that an XBRL processor would not read as texts, in its own spelling.

    An empty cell is no fact at all, ``#empty`` an empty text, and a text that begins with ``#``
    has it twice (xBRL-CSV 1.0, section 3.1.9).
    """
    columns: list[Any] = []
    for values in batch.columns:
        if not is_text(values.type):
            columns.append(values)
            continue
        texts = pc.cast(values, pa.string())
        texts = pc.if_else(pc.starts_with(texts, "#"), _doubled(texts), texts)
        columns.append(pc.if_else(pc.equal(texts, ""), "#empty", texts))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _doubled(texts: pa.StringArray) -> pa.StringArray:
    return pc.binary_join_element_wise("#", texts, "")


def _json(about: dict[str, Any]) -> bytes:
    return (json.dumps({"documentInfo": about}, indent=2, ensure_ascii=False) + "\n").encode()


def _csv(lines: Iterable[tuple[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def _add(archive: zipfile.ZipFile, path: str, data: bytes) -> None:
    with archive.open(_entry(path), "w") as entry:
        entry.write(data)


def _entry(path: str) -> zipfile.ZipInfo:
    about = zipfile.ZipInfo(path, _TIME)
    about.compress_type = zipfile.ZIP_DEFLATED
    about.create_system = _UNIX
    about.external_attr = _READABLE
    return about


def _stem(filename: str) -> str:
    return filename.rpartition(".")[0]
