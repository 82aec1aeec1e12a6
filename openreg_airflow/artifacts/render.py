"""Writes records by a layout, a whole batch at a time.

Each element becomes a row of parts: literal text, and columns of text of one value a record. Parts
are joined once for the record as a whole; only an element that some records of the batch lack is
joined on its own first, so that it can be left out there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts import value_format
from openreg_airflow.artifacts.inner_rows import Cursor
from openreg_airflow.artifacts.placeholder import RUN_PREFIX
from openreg_airflow.artifacts.value_text import UnwritableValueError, text_of
from openreg_airflow.artifacts.xml_text import escaped, escaped_column
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openreg_airflow.artifacts.inner_rows import InnerTable
    from openreg_airflow.artifacts.layout import Element
    from openreg_airflow.artifacts.placeholder import Placeholder, Template

_format = lru_cache(maxsize=1024)(value_format.parse)

#: What is wrong with a record; of an inner row it is found out only once it is to be said.
#: Gives the message and the inner row's name.
Complaint = str | Callable[[int], tuple[str, str]]

#: Stands in an envelope where the records go; XML can never hold this character.
HOLE = "\0"


@dataclass
class Fragment:
    """What an element gives for a batch.

    Attributes:
        parts: literal text and columns; a column is NULL where its part is left out.
        present: where the element is written; None when it always is.
        varies: whether the data decide anything in it. An element whose children are all left out
            is left out too, but one that is the same in every record is not.
        missing: faults that count only where the element above is written.
    """

    parts: list[str | pa.StringArray] = field(default_factory=list)
    present: pa.BooleanArray | None = None
    varies: bool = False
    missing: list[tuple[pa.BooleanArray, Complaint]] = field(default_factory=list)

    def add(self, *parts: str | pa.StringArray) -> None:
        """Append parts; neighbouring literals become one."""
        for part in parts:
            if isinstance(part, str) and self.parts and isinstance(self.parts[-1], str):
                self.parts[-1] += part
            else:
                self.parts.append(part)

    def joined(self, rows: int) -> pa.StringArray:
        """One column of that many rows: the element, NULL where it is left out."""
        whole = pc.binary_join_element_wise(*self.parts, "", null_handling="skip")
        if isinstance(whole, pa.Scalar):
            whole = pa.repeat(whole, rows)
        if self.present is None:
            return whole
        return pc.if_else(self.present, whole, pa.scalar(None, pa.string()))


class Renderer:
    """Writes the records of one repeated element.

    Args:
        element: the repeated element of the layout.
        run: the values of ``{run....}``.
        layout: the layout's file name, for messages.
        end: what follows each record.
        inner: the sorted tables of the repeated elements inside it
            (:func:`~openreg_airflow.artifacts.inner_rows.sort`).
    """

    def __init__(
        self,
        element: Element,
        run: Mapping[str, Any],
        *,
        layout: str,
        end: str = "\n",
        inner: Mapping[int, InnerTable] | None = None,
    ) -> None:
        self._element = element
        self._run = run
        self._layout = layout
        self._end = end
        self._inner: dict[int, tuple[Renderer, Cursor]] = {}
        for child in element.inner():
            table = (inner or {})[id(child)]
            renderer = Renderer(child, run, layout=layout, end="", inner=table.inner)
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
            scope = _Scope(part, number + 1, self._element, self._run, self._layout, below=self)
            fragment = self._fragment(scope)
            for where, message in fragment.missing:
                scope.refuse(where, message)
            fragment.add(self._end)
            yield fragment.joined(len(scope))

    def inside(self, element: Element, outer: _Scope) -> Fragment:
        """What an element repeated inside this one gives: one text for each row of the scope."""
        renderer, cursor = self._inner[id(element)]
        batch, bounds, begin = cursor.take(outer.first - 1, len(outer))
        owners = np.repeat(np.arange(len(outer)), np.diff(bounds))
        whole = Fragment(varies=True)
        texts = [pa.array([], pa.string())]
        for part, number in renderer._parts(batch, begin):  # noqa: SLF001
            mine = owners[number - begin : number - begin + part.num_rows]
            scope = _Scope(
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

    def _fragment(self, scope: _Scope) -> Fragment:
        fragment = _element(self._element, scope)
        if fragment.present is not None:
            absent = pc.invert(fragment.present)
            if self._element.when:
                absent = pc.and_(absent, scope.holds(self._element))
            fragment.missing.append((absent, f"nothing of <{self._element.name}> has a value"))
        return fragment


def envelope(root: Element, rows: Mapping[str, int], run: Mapping[str, Any], layout: str) -> str:
    """The document around its records, with :data:`HOLE` where those of each table go."""
    document = _element(root, _Scope(None, 0, root, run, layout, rows)).joined(1)
    return str(document[0])


@dataclass
class _Scope:
    """Where placeholders get their values: a batch of records, or only the run."""

    batch: Any
    first: int
    record: Element
    run: Mapping[str, Any]
    layout: str
    rows: Mapping[str, int] = field(default_factory=dict)
    below: Renderer | None = None
    outer: _Scope | None = None
    #: Of each inner row, which row of the outer scope it belongs to.
    owners: Any = None

    def inside(self, element: Element) -> Fragment:
        """What an element gives that is repeated inside the one of this scope."""
        if self.below is None:  # outside of all records: only a hole is left
            none = self.rows[str(element.each)] == 0
            return Fragment([HOLE], pa.array([False]) if none else None, varies=True)
        return self.below.inside(element, self)

    def text(self, found: Placeholder, element: Element, *, attribute: bool) -> pa.StringArray:
        """The escaped text of a placeholder, one for each record."""
        try:
            if found.of_run:
                value = pa.array([self.run[found.name.removeprefix(RUN_PREFIX)]])
                text = text_of(value, _format(found.format))
                text = pa.repeat(text[0], len(self))
            else:
                text = text_of(self.batch.column(found.name), _format(found.format))
            return escaped_column(text, attribute=attribute)
        except UnwritableValueError as error:
            raise self.error(str(error), element, error.row, found.name) from error

    def holds(self, element: Element) -> pa.BooleanArray:
        """Where the condition on an element is true."""
        try:
            return element.when.holds(self.batch)  # type: ignore[union-attr]
        except ValueError as error:
            raise self.error(str(error), element) from error

    def refuse(self, where: pa.BooleanArray, message: Complaint) -> None:
        """Raise if ``where`` is true of any record."""
        if (row := pc.index(where, pa.scalar(True)).as_py()) >= 0:
            text, place = message(row) if callable(message) else (message, "")
            raise self.error(text, None, row, inner=place)

    def outward(
        self, where: pa.BooleanArray, message: Complaint
    ) -> list[tuple[pa.BooleanArray, Complaint]]:
        """A fault of inner rows as one of the rows that they belong to."""
        rows = np.flatnonzero(where.to_numpy(zero_copy_only=False))
        if not len(rows) or self.outer is None:
            return []
        owners = self.owners[rows]
        faulty = np.zeros(len(self.outer), np.bool_)
        faulty[owners] = True

        def complain(owner: int) -> tuple[str, str]:
            row = int(rows[np.searchsorted(owners, owner)])
            text, place = message(row) if callable(message) else (message, "")
            return text, ", ".join(filter(None, (self.own_name(row), place)))

        return [(pa.array(faulty), complain)]

    def name(self, row: int) -> str:
        """How messages name a row."""
        if self.outer is None:
            return self.own_name(row)
        return f"{self.outer.name(int(self.owners[row]))}, {self.own_name(row)}"

    def own_name(self, row: int) -> str:
        """How messages name a row, without the record that an inner one belongs to."""
        key = self.record.key
        name = f" ({key} {self.batch.column(key)[row].as_py()})" if key else ""
        if self.outer is None:
            return f"record {self.first + row}{name}"
        number = int(np.count_nonzero(self.owners[: row + 1] == self.owners[row]))
        return f"row {number} of its {self.record.each}{name}"

    def error(
        self,
        message: str,
        element: Element | None,
        row: int | None = None,
        column: str = "",
        inner: str = "",
    ) -> ArtifactError:
        """An error that names the record, the element and the column."""
        places = []
        if row is not None and self.batch is not None:
            places.append(self.name(row))
        if inner:
            places.append(inner)
        if element is not None:
            places.append(f"<{element.name}> in {self.layout} line {element.line}")
        if column:
            places.append(f"column {column}")
        return ArtifactError(
            message, where=", ".join(places), hint="Mend the data or the transform, or the layout."
        )

    def __len__(self) -> int:
        return 1 if self.batch is None else self.batch.num_rows


def _element(element: Element, scope: _Scope) -> Fragment:
    if element.each and element is not scope.record:
        return scope.inside(element)
    content = _text(element, scope) if element.text else _children(element, scope)
    whole = Fragment(present=content.present, varies=content.varies, missing=content.missing)
    whole.add(f"<{element.name}")
    _attributes(element, scope, whole)
    if content.parts:
        whole.add(">", *content.parts, f"</{element.name}>")
    else:
        whole.add("/>")
    if element.when:
        _narrow(whole, scope.holds(element))
    if scope.batch is None and element is scope.record:
        whole.present = None  # a document always has its root
    if whole.present is not None:
        whole.missing = [(pc.and_(where, whole.present), text) for where, text in whole.missing]
    whole.missing = [(where, text) for where, text in whole.missing if pc.any(where).as_py()]
    return whole


def _narrow(fragment: Fragment, where: pa.BooleanArray) -> None:
    fragment.varies = True
    if fragment.present is not None:
        where = pc.and_(fragment.present, where)
    fragment.present = None if pc.all(where).as_py() else where


def _text(element: Element, scope: _Scope) -> Fragment:
    fragment = Fragment()
    absent = _fill(fragment, element.text, element, scope, attribute=False)
    if not absent:
        return fragment
    everywhere, somewhere = absent
    fragment.present = pc.invert(everywhere)
    if somewhere is not everywhere:
        message = f"<{element.name}> needs {_names(element.text)}, of which only some have a value"
        partly = pc.and_(somewhere, pc.invert(everywhere))
        fragment.missing.append((partly, message))
    return fragment


def _fill(
    fragment: Fragment, template: Template, element: Element, scope: _Scope, *, attribute: bool
) -> tuple[pa.BooleanArray, pa.BooleanArray] | None:
    """Add a template's parts; give where all and where any of its placeholders have no value."""
    everywhere = somewhere = None
    complete = False
    for part in template:
        if isinstance(part, str):
            fragment.add(escaped(part, attribute=attribute))
            continue
        fragment.varies = True
        text = scope.text(part, element, attribute=attribute)
        fragment.add(text)
        if not text.null_count:
            complete = True
            continue
        absent = pc.is_null(text)
        everywhere = absent if everywhere is None else pc.and_(everywhere, absent)
        somewhere = absent if somewhere is None else pc.or_(somewhere, absent)
    if somewhere is None:
        return None
    if complete:
        everywhere = pa.repeat(pa.scalar(False), len(scope))
    return everywhere, somewhere


def _attributes(element: Element, scope: _Scope, whole: Fragment) -> None:
    bare = not element.text and not element.children
    given: pa.BooleanArray | None = None
    for attribute in element.attributes:
        written = Fragment()
        written.add(f' {attribute.name}="')
        absent = _fill(written, attribute.value, element, scope, attribute=True)
        written.add('"')
        if absent is None:
            whole.add(*written.parts)
            given = pa.repeat(pa.scalar(True), len(scope)) if written.varies else given
        else:
            written.present = pc.invert(absent[1])
            whole.add(written.joined(len(scope)))
            given = written.present if given is None else pc.or_(given, written.present)
            if attribute.name not in element.optional:
                message = (
                    f"<{element.name}> has no {attribute.name}: {_names(attribute.value)} is NULL"
                )
                whole.missing.append((absent[1], message))
        whole.varies = whole.varies or written.varies
    if bare and given is not None:
        _narrow(whole, given)


def _children(element: Element, scope: _Scope) -> Fragment:
    fragment = Fragment()
    deciding: list[pa.BooleanArray] = []
    always = False
    for child in element.children:
        part = _element(child, scope)
        fragment.varies = fragment.varies or part.varies
        fragment.missing += part.missing
        if part.present is None:
            fragment.add(*part.parts)
            always = always or part.varies
            continue
        fragment.add(part.joined(len(scope)))
        deciding.append(part.present)
        if child.required:
            message = f"<{child.name}> is mandatory and has no value: {_reason(child)}"
            fragment.missing.append((pc.invert(part.present), message))
    if element.choice:
        fragment.missing += _several(element, scope, deciding)
    if deciding and not always:
        present = deciding[0]
        for other in deciding[1:]:
            present = pc.or_(present, other)
        fragment.present = present
    return fragment


def _several(
    element: Element, scope: _Scope, optional: list[pa.BooleanArray]
) -> list[tuple[pa.BooleanArray, str]]:
    certain = len(element.children) - len(optional)
    count: Any = pa.repeat(pa.scalar(certain, pa.int32()), len(scope))
    for present in optional:
        count = pc.add(count, pc.cast(present, pa.int32()))
    names = ", ".join(f"<{child.name}>" for child in element.children)
    return [(pc.greater(count, 1), f"<{element.name}> may have only one of {names}")]


def _reason(element: Element) -> str:
    if element.each:
        which = f" with {element.when.text}" if element.when else ""
        return f"no row of {element.each}{which} belongs to it"
    names = ", ".join(sorted({name for name, _ in element.columns()}))
    return f"{names} is NULL or empty"


def _names(template: Template) -> str:
    return ", ".join(str(part) for part in template if not isinstance(part, str))
