"""What values of a JSON template give for a batch of records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.layouts.fragment import Fragment
from openreg_airflow.artifacts.layouts.render import Form
from openreg_airflow.artifacts.values.value_text import is_number

if TYPE_CHECKING:
    from openreg_airflow.artifacts.formats.json_spec import JsonBase
    from openreg_airflow.artifacts.layouts.json_template import Node
    from openreg_airflow.artifacts.layouts.layout_parts import Element
    from openreg_airflow.artifacts.layouts.record_scope import Scope
    from openreg_airflow.artifacts.values.placeholder import Placeholder


@dataclass(frozen=True)
class JsonForm:
    """How values become JSON.

    Args:
        write_nulls: whether what is NULL is written as null instead of being left out.
        decimals_as_text: whether exact decimals stand between quotes.
    """

    write_nulls: bool = False
    decimals_as_text: bool = False

    def of(self, element: Element, scope: Scope) -> Fragment:
        """What a value of the template gives in a scope, with all below it.

        Raises:
            ArtifactError: a value that its format cannot carry.
        """
        node = cast("Node", element)
        if node.each and node is not scope.record:
            return scope.inside(node)
        if node.kind == "object":
            whole = self._object(node, scope)
        elif node.kind == "array":
            whole = self._array(node, scope)
        else:
            whole = self._value(node, scope)
        if node.when:
            whole.narrow(scope.holds(node))
        if scope.batch is None and node is scope.record:
            whole.present = None  # there is always a document
        whole.settle()
        return whole

    def _value(self, node: Node, scope: Scope) -> Fragment:
        if node.constant:
            return Fragment([node.constant])
        fragment = Fragment(varies=True)
        nulls = []
        bare = self._bare(node, scope)
        if not bare:
            fragment.add('"')
        for part in node.text:
            if isinstance(part, str):
                fragment.add(json.dumps(part, ensure_ascii=False)[1:-1])
                continue
            text = scope.json(part, node)
            fragment.add(text)
            nulls.append(pc.is_null(text))
        if not bare:
            fragment.add('"')
        return self._with_nulls(fragment, nulls, node, len(scope))

    def _with_nulls(
        self, fragment: Fragment, nulls: list[pa.BooleanArray], node: Node, rows: int
    ) -> Fragment:
        everywhere = reduce(pc.and_, nulls)
        if len(nulls) > 1:
            message = f"{node.label} needs {_names(node)}, of which only some have a value"
            partly = pc.and_not(reduce(pc.or_, nulls), everywhere)
            fragment.missing.append((partly, message))
        if not pc.any(everywhere).as_py():
            return fragment
        fragment.present = pc.invert(everywhere)
        if not self.write_nulls:
            return fragment
        if node.required:
            fragment.missing.append((everywhere, _lacking(node)))
        text = pc.fill_null(fragment.joined(rows), "null")
        return Fragment([text], varies=True, missing=fragment.missing)

    def _bare(self, node: Node, scope: Scope) -> bool:
        """Whether a value stands without quotes."""
        if node.as_text or len(node.text) != 1:
            return False
        found = cast("Placeholder", node.text[0])
        kind = scope.kind(found)
        if pa.types.is_boolean(kind):
            return not found.format
        if self.decimals_as_text and pa.types.is_decimal(kind):
            return False
        return is_number(kind)

    def _object(self, node: Node, scope: Scope) -> Fragment:
        members = []
        missing = []
        for child in cast("tuple[Node, ...]", node.children):
            part = self.of(child, scope)
            part.put_before(json.dumps(child.member, ensure_ascii=False) + ":")
            missing += part.missing
            if child.required and part.present is not None:
                missing.append((pc.invert(part.present), _lacking(child)))
            members.append(part)
        whole = _listed(members, "{", "}", len(scope))
        whole.missing = missing
        if not self.write_nulls:
            whole.present = _any_present(members)
        return whole

    def _array(self, node: Node, scope: Scope) -> Fragment:
        if len(node.children) == 1 and node.children[0].each:
            part = self.of(node.children[0], scope)
            if scope.batch is None:
                none = part.present is not None
                return Fragment(["[]"] if none else ["[", *part.parts, "]"], varies=True)
            # Each row begins with a comma.
            text = pc.binary_replace_slice(part.joined(len(scope)), 0, 1, "[")
            text = pc.binary_join_element_wise(pc.fill_null(text, "["), "]", "")
            whole = Fragment([text], varies=True, missing=list(part.missing))
            if node.required and part.present is not None:
                message = f"{node.label} is mandatory and no row belongs to it"
                whole.missing.append((pc.invert(part.present), message))
            return whole
        items = [self.of(child, scope) for child in node.children]
        whole = _listed(items, "[", "]", len(scope))
        whole.missing = [fault for item in items for fault in item.missing]
        return whole


def _names(node: Node) -> str:
    return ", ".join(str(part) for part in node.text if not isinstance(part, str))


def _lacking(node: Node) -> str:
    why = f": {_names(node)} is NULL" if node.text else ""
    return f"{node.label} is mandatory and has no value{why}"


def _listed(items: list[Fragment], opening: str, closing: str, rows: int) -> Fragment:
    """Items with commas between those that are there."""
    whole = Fragment(varies=any(item.varies for item in items))
    if not items or items[0].present is None:
        whole.add(opening)
        for place, item in enumerate(items):
            if place:
                item.put_before(",")
            whole.add(*(item.parts if item.present is None else [item.joined(rows)]))
        whole.add(closing)
        return whole
    for item in items:
        item.put_before(",")
        whole.add(*(item.parts if item.present is None else [item.joined(rows)]))
    text = pc.binary_replace_slice(whole.joined(rows), 0, 1, opening)
    whole.parts = []
    whole.add(text, closing)
    return whole


def _any_present(items: list[Fragment]) -> pa.BooleanArray | None:
    """Where any item that data decide is written; None where one always is."""
    deciding = [item.present for item in items if item.present is not None]
    if not deciding or any(item.varies and item.present is None for item in items):
        return None
    present = deciding[0]
    for other in deciding[1:]:
        present = pc.or_(present, other)
    return None if pc.all(present).as_py() else present


def form(spec: JsonBase, *, lines: bool = False) -> Form:
    """How an artifact's records are written, as a document's array or as lines."""
    of = JsonForm(spec.nulls == "null", spec.decimals == "text").of
    if lines:
        return Form(of, opening="", before_inner=",")
    return Form(of, opening="", before=",\n", spared=1, end="", closing="\n", before_inner=",")
