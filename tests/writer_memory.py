"""Measures how much more memory writers take for a long table than for a short one.

Runs in a process of its own: ``python -m tests.writer_memory FOLDER`` prints, for each format, the
growth in bytes of the peaks of Arrow's memory and of the process.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.artifacts import writer
from openreg_airflow.artifacts.layouts import inner_rows
from openreg_airflow.artifacts.writer import Job
from tests.writer_bench import RUN, spec_of

if TYPE_CHECKING:
    from openreg_airflow.artifacts.writer import Writer

#: Rows of the tables, and the length of a row.
SHORT, LONG, LENGTH = 5_000, 25_000, 1_000
#: Rows that are held at a time, a multiple of what DuckDB writes at once: few, so that the short
#: table has several times as many.
_HELD = 2048
_LAYOUT = (
    '<d xmlns:r="urn:openreg:layout:1">\n<e r:each="rows"><i>{id}</i><x>{text}</x>{inner}</e></d>'
)
_INNER = '<f r:each="legs" r:on="id"><l>{text}</l></f>'
_XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="d">
<xs:complexType><xs:sequence><xs:element name="e" maxOccurs="unbounded"><xs:complexType>
<xs:sequence><xs:element name="i" type="xs:string"/><xs:element name="x" type="xs:string"/>
</xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>
</xs:schema>"""
_COLUMNS: dict[str, Any] = {"columns": {"id": {}, "text": {}}}
_CASES: dict[str, dict[str, Any]] = {
    "csv": _COLUMNS | {"encoding": "iso-8859-1", "trailer_records": ["T,{run.records}"]},
    "excel": _COLUMNS,
    "fixed": {"fields": [{"column": "id", "width": 9}, {"column": "text", "width": LENGTH}]},
    "json": {"template": "template.json", "schema": {"file": "schema.json"}},
    "jsonl": _COLUMNS | {"schema": {"file": "line.json"}},
    "parquet": _COLUMNS | {"row_group": 1000},
    "xbrl-csv": {
        "filename": "out.zip",
        "extends": ["http://www.regulator.example/register.json"],
        "tables": {"t": {"table": "rows"}},
    },
    "xml": {"layout": "layout.xml", "schema": {"file": "schema.xsd"}},
    "nested": {"format": "xml", "layout": "nested.xml"},
}


def prepare(folder: Path) -> None:
    """Write the tables, of texts that do not compress, and what the specs name."""
    for count in (SHORT, LONG):
        for name in ("rows", "legs"):
            texts = [os.urandom(LENGTH // 2).hex() for _ in range(count)]
            table = pa.table({"id": [f"T{n}" for n in range(count)], "text": texts})
            target = folder / f"{name}_{count}.parquet"
            pq.write_table(table, target, compression="none", row_group_size=_HELD // 4)
    template = {"all": [{"$each": "rows", "id": "{id}", "text": "{text}"}]}
    schema = {"properties": {"all": {"type": "array", "items": {"type": "object"}}}}
    (folder / "layout.xml").write_text(_LAYOUT.replace("{inner}", ""))
    (folder / "nested.xml").write_text(_LAYOUT.replace("{inner}", _INNER))
    (folder / "template.json").write_text(json.dumps(template))
    (folder / "schema.json").write_text(json.dumps(schema))
    (folder / "line.json").write_text(json.dumps({"type": "object"}))
    (folder / "schema.xsd").write_text(_XSD)


def growth(folder: Path, name: str) -> tuple[str, int, int]:
    """How much higher the peaks of Arrow and of the process are when LONG, for a format."""
    writer._MAX_BATCH_ROWS = inner_rows._READ_ROWS = _HELD // 4
    inner_rows._MOST_ROWS = inner_rows._GROUP_ROWS = _HELD
    spec = spec_of(**({"format": name, "filename": "out.txt"} | _CASES[name]))
    writes = writer.writer(spec.format)
    # Once before: what is loaded and set up at the first use is no growth.
    _peaks(writes, spec, folder, SHORT)
    arrow, process = _peaks(writes, spec, folder, SHORT)
    more_arrow, more_process = _peaks(writes, spec, folder, LONG)
    return name, more_arrow - arrow, more_process - process


def _peaks(writes: Writer, spec: Any, folder: Path, count: int) -> tuple[int, int]:
    tables = {
        name: folder / f"{name}_{count}.parquet" for name in writes.tables(spec, folder) | {"rows"}
    }
    job = Job(
        artifact="out",
        spec=spec,
        filename=spec.filename,
        folder=folder,
        run=RUN,
        tables=tables,
        rows=dict.fromkeys(tables, count),
        schema_folders=(folder,),
    )
    Path("/proc/self/clear_refs").write_text("5")
    writes.write(job, folder / "written")
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return pa.default_memory_pool().max_memory(), int(found[1]) << 10


if __name__ == "__main__":
    # Arrow's peak only ever rises: each format begins anew, with all that is loaded.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        rows = pool.map(partial(growth, Path(sys.argv[1])), _CASES, chunksize=1)
    sys.stdout.write(json.dumps(rows))
