"""Turning pydantic's errors into findings: place, what was expected, and a hint."""

from __future__ import annotations

import difflib
import types
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from dag_factory.finding import Finding
from dag_factory.report import VERSION, ReportSpec
from openreg_airflow.yaml_source import Places

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_EXPECTED = {
    "string_type": "text was expected",
    "int_type": "a whole number was expected",
    "int_parsing": "a whole number was expected",
    "int_from_float": "a whole number was expected",
    "float_type": "a number was expected",
    "float_parsing": "a number was expected",
    "bool_type": "true or false was expected",
    "bool_parsing": "true or false was expected",
    "dict_type": "a mapping (key: value) was expected",
    "model_type": "a mapping (key: value) was expected",
    "model_attributes_type": "a mapping (key: value) was expected",
    "tuple_type": "a list was expected",
    "list_type": "a list was expected",
    "date_type": "a date (YYYY-MM-DD) was expected",
    "date_from_datetime_parsing": "a date (YYYY-MM-DD) was expected",
    "too_short": "at least one entry was expected",
    "string_too_short": "some text was expected",
}
_QUOTE_HINT = "Put the value in quotes."
_CONNECTION = "Write the id of an Airflow connection: letters, digits, _ - . and no blanks."
#: How a text is to be spelled, by how its pattern begins.
_SPELLED = {
    "^[a-z]": "Use lower-case letters, digits and underscores, starting with a letter.",
    "^T(": "Write business days and a time, like T+1 23:59.",
    r"^[\w#": _CONNECTION,
    r"^[\w.\-]": _CONNECTION,
}
_LONGEST_VALUE = 60


def findings(error: ValidationError, file: Path, text: str) -> list[Finding]:
    """Every fault that pydantic found in a spec, placed in its file.

    Args:
        error: pydantic's error for the whole spec.
        file: the ``report.yaml``.
        text: its content.
    """
    places = Places(text)
    return [_finding(detail, file, places) for detail in error.errors(include_url=False)]


def _finding(detail: ErrorDetails, file: Path, places: Places) -> Finding:
    keys = detail["loc"]
    at_key = detail["type"] == "extra_forbidden" or (bool(keys) and keys[-1] == "[key]")
    steps = [step for step in keys if step != "[key]"]
    place = places.of(steps, key=at_key)
    message, hint = _words(detail, keys)
    there = places.steps(steps)
    if detail["type"] == "missing":
        there.append(keys[-1])
    dotted = ".".join(map(str, there))
    return Finding(
        file, place.line, place.column, f"{dotted}: {message}" if dotted else message, hint
    )


def _words(detail: ErrorDetails, keys: Sequence[str | int]) -> tuple[str, str | None]:
    kind, value = detail["type"], detail.get("input")
    context = detail.get("ctx") or {}
    if kind == "extra_forbidden":
        known = known_keys(keys[:-1])
        return "unknown key", _did_you_mean(str(keys[-1]), known)
    if kind == "missing":
        return "this key is missing", f"Add `{keys[-1]}:` here."
    if tuple(keys) == ("openreg",):
        return f"schema version {value!r} is not known", f"Write `openreg: {VERSION}`."
    if kind in ("literal_error", "union_tag_invalid", "enum"):
        expected = str(context.get("expected") or context.get("expected_tags"))
        options = [part.strip(" '\"") for part in expected.replace(" or ", ",").split(",")]
        got = context.get("tag", value)
        return f"{_show(got)} is not one of {', '.join(options)}", _did_you_mean(str(got), options)
    if kind == "union_tag_not_found":
        key = str(context.get("discriminator", "")).strip("'")
        return f"the key {key!r} is missing", f"Add `{key}:` here."
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        hint = next((said for start, said in _SPELLED.items() if pattern.startswith(start)), None)
        return f"{_show(value)} is not allowed here", hint
    if kind in _EXPECTED:
        hint = None
        if kind == "string_type" and isinstance(value, int | float | bool):
            hint = _QUOTE_HINT
        return f"{_EXPECTED[kind]}, not {_show(value)}", hint
    message = detail["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return message, None
    return f"{message[:1].lower()}{message[1:]}, not {_show(value)}", None


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value) if isinstance(value, str) else repr(value)
    text = text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
    return repr(text) if isinstance(value, str) else text


def _did_you_mean(wrong: str, known: Iterable[str]) -> str | None:
    names = sorted(known)
    if not names:
        return None
    close = difflib.get_close_matches(wrong, names, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Known here: {', '.join(names)}."


def known_keys(keys: Sequence[str | int]) -> list[str]:
    """The keys that a spec may have at the place that ``keys`` lead to."""
    candidates: list[Any] = [ReportSpec]
    for step in keys:
        candidates = [found for kind in candidates for found in _below(kind, step)]
    names: set[str] = set()
    for kind in candidates:
        for model in _models(kind):
            names.update(field.alias or name for name, field in model.model_fields.items())
    return sorted(names)


def _below(kind: Any, step: str | int) -> list[Any]:
    found: list[Any] = []
    for model in _models(kind):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if step in fields:
            found.append(fields[str(step)].annotation)
        elif any(_default(field) == step for field in fields.values()):
            found.append(model)  # the step is the tag of a discriminated union
    for part in _parts(kind):
        if typing.get_origin(part) is dict:
            found.append(typing.get_args(part)[1])
        elif typing.get_origin(part) in (tuple, list):
            found.append(typing.get_args(part)[0])
    return found


def _default(field: Any) -> Any:
    options = typing.get_args(field.annotation)
    return options[0] if typing.get_origin(field.annotation) is typing.Literal else None


def _parts(kind: Any) -> list[Any]:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _parts(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return [part for option in typing.get_args(kind) for part in _parts(option)]
    return [kind]


def _models(kind: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(kind) if isinstance(part, type) and issubclass(part, BaseModel)]
