"""Writes a document by its layout: what stands around the records, and the records, streaming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.layouts import inner_rows, render
from openreg_airflow.artifacts.layouts.render import XML, Form
from openreg_airflow.artifacts.values import run_values
from openreg_airflow.artifacts.values.value_text import joined_bytes
from openreg_airflow.artifacts.writer import Progress, batches, unknown_column
from openreg_airflow.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from openreg_airflow.artifacts.layouts.inner_rows import InnerTable
    from openreg_airflow.artifacts.layouts.layout import Layout
    from openreg_airflow.artifacts.layouts.layout_parts import Element
    from openreg_airflow.artifacts.publishing.digest import HashedFile
    from openreg_airflow.artifacts.writer import Job


@dataclass(frozen=True)
class Frame:
    """How many bytes of a file stand before its first record and after its last one."""

    head: int
    tail: int


def refuse_unknown_columns(document: Layout, job: Job) -> None:
    """Make sure that the tables have the columns that the layout speaks of.

    Raises:
        ArtifactError: a column is not there; ``where`` names the layout's line.
    """
    import pyarrow.parquet as pq

    for element, _ in document.each():
        table = str(element.each)
        known = pq.read_schema(job.tables[table]).names
        for column, line in element.columns():
            if column not in known:
                where = f"{document.path.name}, line {line}"
                raise unknown_column(table, column, known).at(where=where)


def write(
    document: Layout, job: Job, target: Path, *, form: Form = XML, declaration: str = ""
) -> Frame | None:
    """Write the document.

    Args:
        document: what it looks like.
        job: the rows and the run.
        target: the file.
        form: how elements are written.
        declaration: what stands before the document.

    Returns:
        Where the records are; None where there are none, or several kinds of them.

    Raises:
        ArtifactError: a value that cannot be written; the message says record, place and column.
    """
    wanted = (found for element in document.root.walk() for found in element.own_placeholders)
    run = run_values.of(job, wanted)
    name = document.path.name
    around = render.envelope(document.root, job.rows, run, name, form).split(render.HOLE)
    # An element without rows leaves no hole; inner rows that belong to none of them are refused.
    repeated = [element for element, _ in document.each() if job.rows[str(element.each)]]
    head = (declaration + around[0]).encode()
    tail = b""
    with scratch_folder() as scratch, job.create(target) as file:
        inner = _inner(document, job, scratch)
        file.write(head)
        for element, after in zip(repeated, around[1:], strict=True):
            renderer = render.Renderer(element, run, layout=name, form=form, inner=inner)
            file.write(form.opening.encode())
            _write_records(renderer, element, job, file, form.spared)
            tail = (form.closing + after).encode()
            file.write(tail)
        file.write(b"\n")
    return Frame(len(head), len(tail) + 1) if len(repeated) == 1 else None


def write_lines(document: Layout, job: Job, target: Path, form: Form) -> None:
    """Write the records alone, one a line.

    Args:
        document: what one record looks like.
        job: the rows and the run.
        target: the file.
        form: how records are written.

    Raises:
        ArtifactError: a value that cannot be written; the message says record, place and column.
    """
    wanted = (found for element in document.root.walk() for found in element.own_placeholders)
    run = run_values.of(job, wanted)
    element, name = document.root, document.path.name
    with scratch_folder() as scratch, job.create(target) as file:
        inner = _inner(document, job, scratch)
        renderer = render.Renderer(element, run, layout=name, form=form, inner=inner)
        _write_records(renderer, element, job, file, form.spared)


def _write_records(
    renderer: render.Renderer, element: Element, job: Job, file: HashedFile, spared: int
) -> None:
    progress = Progress(job.filename, job.rows[str(element.each)])
    first = 1
    for batch in _batches(job.tables[str(element.each)], element):
        for texts in renderer.records(batch, first):
            data = joined_bytes(texts)
            file.write(data[spared:])
            spared = 0
        first += batch.num_rows
        progress.at(first - 1)


def _inner(document: Layout, job: Job, scratch: Path) -> dict[int, InnerTable]:
    """The sorted tables inside all repeated elements, by the identity of their element."""
    found: dict[int, InnerTable] = {}
    for place, (element, _) in enumerate(document.each()):
        folder = scratch / str(place)
        folder.mkdir()
        path = job.tables[str(element.each)]
        found |= inner_rows.sort(element, path, job.tables, folder, document.path.name)
    return found


def _batches(path: Path, element: Element) -> Iterator[pa.RecordBatch]:
    from openreg_airflow.parquet_rows import opened

    columns = sorted({column for column, _ in element.columns()})
    markup = sum(2 * len(below.name) + 5 for below in element.walk())
    with opened(path) as table:
        yield from batches(table, columns, markup)
