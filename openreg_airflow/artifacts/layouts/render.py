"""Writes records by a layout, a whole batch at a time, streaming."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.layouts.fragment import Fragment
from openreg_airflow.artifacts.layouts.inner_rows import Cursor
from openreg_airflow.artifacts.layouts.record_scope import HOLE, Scope
from openreg_airflow.artifacts.layouts.xml_fragment import of_element

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from openreg_airflow.artifacts.layouts.inner_rows import InnerTable
    from openreg_airflow.artifacts.layouts.layout_parts import Element

__all__ = ["HOLE", "Form", "Renderer", "envelope"]


@dataclass(frozen=True)
class Form:
    """What tells XML and JSON apart.

    Attributes:
        of: what an element gives in a scope.
        opening: what stands before all records.
        before: what stands before each record.
        spared: how many characters of that the first record goes without.
        end: what follows each record.
        closing: what follows all records.
        before_inner: what stands before each row inside a record.
    """

    of: Callable[[Element, Scope], Fragment]
    opening: str = "\n"
    before: str = ""
    spared: int = 0
    end: str = "\n"
    closing: str = ""
    before_inner: str = ""

    @property
    def inner(self) -> Form:
        """The form of rows inside records."""
        return replace(self, before=self.before_inner, end="")


XML = Form(of_element)


class Renderer:
    """Writes the records of one repeated element.

    Args:
        element: the repeated element of the layout.
        run: the values of ``{run....}``.
        layout: the layout's file name, for messages.
        form: how it is written.
        inner: the sorted tables of the repeated elements inside it
            (:func:`~openreg_airflow.artifacts.layouts.inner_rows.sort`).
    """

    def __init__(
        self,
        element: Element,
        run: Mapping[str, Any],
        *,
        layout: str,
        form: Form = XML,
        inner: Mapping[int, InnerTable] | None = None,
    ) -> None:
        self._element = element
        self._run = run
        self._layout = layout
        self._form = form
        self._inner: dict[int, tuple[Renderer, Cursor]] = {}
        for child in element.inner():
            table = (inner or {})[id(child)]
            renderer = Renderer(child, run, layout=layout, form=form.inner, inner=table.inner)
            columns = sorted({column for column, _ in child.columns()})
            self._inner[id(child)] = renderer, Cursor(table.path, columns)

    def records(self, batch: pa.RecordBatch, first: int) -> Iterator[pa.StringArray]:
        """The text of each row of a batch, of which the first is record number ``first``.

        The texts come in several arrays when the batch has many inner rows. From one call to the
        next the numbers only grow.

        Raises:
            ArtifactError: a value that cannot be written, or a mandatory one that is not there;
                the message says which record, element and column.
        """
        for part, number in self._parts(batch, first - 1):
            scope = Scope(part, number + 1, self._element, self._run, self._layout, below=self)
            fragment = self._fragment(scope)
            for where, message in fragment.missing:
                scope.refuse(where, message)
            fragment.add(self._form.end)
            yield fragment.joined(len(scope))

    def inside(self, element: Element, outer: Scope) -> Fragment:
        """What an element repeated inside this one gives: one text for each row of the scope."""
        renderer, cursor = self._inner[id(element)]
        batch, bounds, begin = cursor.take(outer.first - 1, len(outer))
        owners = np.repeat(np.arange(len(outer)), np.diff(bounds))
        whole = Fragment(varies=True)
        texts = [pa.array([], pa.string())]
        for part, number in renderer._parts(batch, begin):  # noqa: SLF001
            mine = owners[number - begin : number - begin + part.num_rows]
            scope = Scope(
                part, number + 1, element, self._run, self._layout,
                below=renderer, outer=outer, owners=mine,
            )  # fmt: skip
            fragment = renderer._fragment(scope)  # noqa: SLF001
            texts.append(pc.fill_null(fragment.joined(len(scope)), ""))
            for where, message in fragment.missing:
                whole.missing += scope.outward(where, message)
        lists = pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), pa.concat_arrays(texts))
        joined = pc.binary_join(lists, "")
        whole.add(joined)
        present = pc.greater(pc.binary_length(joined), 0)
        whole.present = None if pc.all(present).as_py() else present
        return whole

    def _parts(self, batch: pa.RecordBatch, first: int) -> Iterator[tuple[pa.RecordBatch, int]]:
        """A batch in parts whose inner rows fit into memory, each with its first 0-based row."""
        done = 0
        while done < batch.num_rows:
            rows = self._fitting(first + done, batch.num_rows - done)
            yield batch.slice(done, rows), first + done
            done += rows

    def _fitting(self, first: int, rows: int) -> int:
        for _, cursor in self._inner.values():
            rows = cursor.fit(first, rows)
        return rows

    def _fragment(self, scope: Scope) -> Fragment:
        fragment = self._form.of(self._element, scope)
        fragment.put_before(self._form.before)
        if fragment.present is not None:
            absent = pc.invert(fragment.present)
            if self._element.when:
                absent = pc.and_(absent, scope.holds(self._element))
            fragment.missing.append((absent, f"nothing of {self._element.label} has a value"))
        return fragment


def envelope(
    root: Element, rows: Mapping[str, int], run: Mapping[str, Any], layout: str, form: Form = XML
) -> str:
    """The document around its records, with :data:`HOLE` where those of each table go."""
    document = form.of(root, Scope(None, 0, root, run, layout, rows)).joined(1)
    return str(document[0])
