"""The reference of functions, made from the functions themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.language.functions import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.language.signature import Function, Parameter


def reference() -> str:
    """All functions by group, as Markdown."""
    groups: dict[str, list[Function]] = {}
    for function in FUNCTIONS.values():
        groups.setdefault(function.group, []).append(function)
    lines: list[str] = []
    for group, functions in groups.items():
        lines += [f"### {group}", ""]
        for function in functions:
            lines += [*_entry(function), ""]
    return "\n".join(lines).rstrip() + "\n"


def _entry(function: Function) -> Iterator[str]:
    yield f"#### `{function.spelled}`"
    yield ""
    yield function.about
    notes = [note for parameter in function.parameters for note in _notes(parameter)]
    if function.method:
        notes.append(f"also written `x.{function.name}(...)`")
    if notes:
        yield ""
        yield f"{'; '.join(notes)}."
    yield ""
    for expression, value in function.examples:
        yield f"- `{expression}` is `{value!r}`"


def _notes(parameter: Parameter) -> Iterator[str]:
    kinds = " or ".join(parameter.kinds)
    if parameter.choices:
        yield f"`{parameter.name}` is {' or '.join(f'`{c}`' for c in parameter.choices)}"
    elif parameter.literal:
        yield f"`{parameter.name}`: {kinds}, written down"
    elif kinds:
        yield f"`{parameter.name}`: {kinds}"
    elif parameter.many:
        yield f"`{parameter.name}`: any number of values of one type"
