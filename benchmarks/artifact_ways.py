"""The ways of writing the table of the artifacts benchmark.

A way is a function from the Parquet file, the file to write and the number of rows.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from benchmarks.artifact_rows import groups, layout, nested_layout, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Way = Callable[[Path, Path, int], None]


def _ours(form: str, **fields: Any) -> Way:
    def write(table: Path, target: Path, rows: int) -> None:
        from pydantic import TypeAdapter

        from openreg_airflow.artifacts.spec import ArtifactSpec
        from openreg_airflow.artifacts.writer import Job, writer
        from openreg_airflow.records import RunKey

        adapter: TypeAdapter[Any] = TypeAdapter(ArtifactSpec)
        section = {"format": form, "table": "rows", "filename": target.name} | fields
        (target.parent / "layout.xml").write_text(layout())
        (target.parent / "nested.xml").write_text(nested_layout())
        parties = table.with_name(table.name.replace("rows", "parties"))
        job = Job(
            artifact="benchmark",
            spec=adapter.validate_python(section),
            filename=target.name,
            folder=target.parent,
            run=RunKey(report_id="benchmark", business_date=date(2026, 3, 31), run_id="benchmark"),
            tables={"rows": table, "parties": parties},
            rows={"rows": rows, "parties": 2 * rows},
        )
        writer(form).write(job, target)

    return write


def _records(table: Path, rows: int) -> Iterator[dict[str, Any]]:
    """The first rows as Python objects, with memory that does not grow."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(table) as file:
        for batch in file.iter_batches(10_000):
            yield from batch.slice(0, rows).to_pylist()
            rows -= batch.num_rows
            if rows <= 0:
                return


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def lxml_tree(table: Path, target: Path, rows: int) -> None:
    """A tree of elements, then written: as it is usually done."""
    from lxml import etree

    namespace = "{urn:example:transactions}"
    root = etree.Element(namespace + "Document", nsmap={None: "urn:example:transactions"})
    described = groups()
    for record in _records(table, rows):
        transaction = etree.SubElement(root, namespace + "Tx")
        for group, columns in described.items():
            if all(record[column] is None for column in columns.values()):
                continue
            above = etree.SubElement(transaction, namespace + group)
            for name, column in columns.items():
                if (value := record[column]) is not None:
                    etree.SubElement(above, namespace + name).text = _text(value)
    etree.ElementTree(root).write(target, encoding="UTF-8", xml_declaration=True)


def _duckdb(sql: str) -> None:
    import duckdb

    settings = {"threads": 2, "memory_limit": "512MiB", "preserve_insertion_order": False}
    with duckdb.connect(config=settings) as connection:
        connection.execute(sql)


def duckdb_text(table: Path, target: Path, rows: int) -> None:
    """Concatenation in DuckDB, in any order: about as fast as it can be without a C program."""
    parts = []
    for group, columns in groups().items():
        inside = " || ".join(
            f"coalesce('<{name}>' || replace({column}::VARCHAR, '&', '&amp;') || '</{name}>', '')"
            for name, column in columns.items()
        )
        parts.append(f"'<{group}>' || {inside} || '</{group}>'")
    _duckdb(
        f"COPY (SELECT '<Tx>' || {' || '.join(parts)} || '</Tx>' FROM read_parquet('{table}') "
        f"LIMIT {rows}) TO '{target}' (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', "
        "DELIMITER '\x01')"
    )


def duckdb_csv(table: Path, target: Path, rows: int) -> None:
    """DuckDB's COPY, in any order."""
    _duckdb(f"COPY (FROM read_parquet('{table}') LIMIT {rows}) TO '{target}' (FORMAT csv)")


def duckdb_json(table: Path, target: Path, rows: int) -> None:
    """DuckDB's COPY, in any order."""
    _duckdb(f"COPY (FROM read_parquet('{table}') LIMIT {rows}) TO '{target}' (FORMAT json)")


def pandas_csv(table: Path, target: Path, rows: int) -> None:
    """read_parquet and to_csv: as it is usually done."""
    import pandas as pd

    pd.read_parquet(table).head(rows).to_csv(target, index=False)


def json_rows(table: Path, target: Path, rows: int) -> None:
    """json.dumps of each row: as it is usually done."""

    def spell(value: Any) -> str:
        return str(value) if isinstance(value, Decimal) else value.isoformat()

    with target.open("w", encoding="utf-8") as file:
        for record in _records(table, rows):
            file.write(json.dumps(record, default=spell, ensure_ascii=False) + "\n")


def our_xsd(table: Path, target: Path, rows: int) -> None:  # noqa: ARG001
    """Hold a file against its schema as the XML writer does; ``table`` is the XML file."""
    from openreg_airflow.artifacts.validity import xsd, xsd_model, xsd_pieces, xsd_schema

    file = target.parent / "schema.xsd"
    file.write_text(schema())
    tags = tuple(f"{{urn:example:transactions}}{name}" for name in ("Document", "Tx"))
    compiled, model = xsd_schema.compile_schema(file), xsd_model.Schema([file])
    name = "Tx" if xsd_pieces.separable(model, tags) else None
    xsd.validate(table, compiled, tags, name=name)


def lxml_xsd(table: Path, target: Path, rows: int) -> None:  # noqa: ARG001
    """Read the whole tree and hold it against the schema."""
    from lxml import etree

    compiled = etree.XMLSchema(etree.fromstring(schema()))
    compiled.assertValid(etree.parse(table))


our_xml = _ours("xml", layout="layout.xml")
our_nested_xml = _ours("xml", layout="nested.xml")
our_csv = _ours("csv")
our_jsonl = _ours("jsonl")
