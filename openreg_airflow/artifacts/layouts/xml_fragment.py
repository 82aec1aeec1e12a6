"""What elements of an XML layout give for a batch of records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.artifacts.layouts.fragment import Fragment
from openreg_airflow.artifacts.layouts.xml_text import escaped

if TYPE_CHECKING:
    from openreg_airflow.artifacts.layouts.layout_parts import Element
    from openreg_airflow.artifacts.layouts.record_scope import Scope
    from openreg_airflow.artifacts.values.placeholder import Template


def of_element(element: Element, scope: Scope) -> Fragment:
    """What an element gives in a scope, with all below it.

    Raises:
        ArtifactError: a value that XML or its format cannot carry.
    """
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
        whole.narrow(scope.holds(element))
    if scope.batch is None and element is scope.record:
        whole.present = None  # a document always has its root
    whole.settle()
    return whole


def _text(element: Element, scope: Scope) -> Fragment:
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
    fragment: Fragment, template: Template, element: Element, scope: Scope, *, attribute: bool
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


def _attributes(element: Element, scope: Scope, whole: Fragment) -> None:
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
        whole.narrow(given)


def _children(element: Element, scope: Scope) -> Fragment:
    fragment = Fragment()
    deciding: list[pa.BooleanArray] = []
    always = False
    for child in element.children:
        part = of_element(child, scope)
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
    element: Element, scope: Scope, optional: list[pa.BooleanArray]
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
