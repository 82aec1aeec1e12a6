"""Values that a file spells in its own way, brought into the spelling that is converted exactly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from openreg_airflow.extract.file_spec import DIRECTIVES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.extract.file_spec import FileSpec

_NUMBERS = ("decimal", "integer", "float")
_TIMES = ("date", "time", "timestamp", "timestamp_utc")


class MisspelledError(ValueError):
    """A value is not spelled as the spec says.

    Attributes:
        index: of the value in its array.
        expected: how it should be spelled.
    """

    def __init__(self, index: int, expected: str) -> None:
        super().__init__(expected)
        self.index = index
        self.expected = expected


def misplaced_formats(spec: FileSpec, declared: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with the spec's ``formats``, by column."""
    wrong = {}
    for column, spelled in spec.formats.items():
        kind = declared.get(column)
        if kind is None:
            wrong[column] = f"{column} is not declared under `columns:`"
        elif ("%" in spelled) != (kind in _TIMES) or (kind != "boolean" and kind not in _TIMES):
            wrong[column] = f"{spelled!r} is no format of {kind}"
        elif kind != "boolean" and (missing := _lacking(kind, spelled)):
            wrong[column] = f"{spelled!r} lacks {' '.join(missing)} of a {kind}"
    return wrong


def _lacking(kind: str, spelled: str) -> list[str]:
    needed = {"date": "Ymd", "time": "HM"}.get(kind, "YmdHM")
    return [f"%{name}" for name in needed if f"%{name}" not in spelled]


class TextForms:
    """The spellings of one source.

    Args:
        spec: the file's section.
        declared: the spec's column types.
    """

    def __init__(self, spec: FileSpec, declared: Mapping[str, str]) -> None:
        self._formats = dict(spec.formats)
        self._commas = {
            name
            for name, kind in declared.items()
            if spec.decimal_mark == "," and kind.startswith(_NUMBERS)
        }

    def plain(self, column: str, array: pa.Array) -> pa.Array:
        """A column of text in the usual spelling of its type.

        Raises:
            MisspelledError: a value is spelled otherwise than the spec says.
        """
        if not pa.types.is_string(array.type):
            return array
        if spelled := self._formats.get(column):
            return _times(array, spelled) if "%" in spelled else _flags(array, spelled)
        return _with_points(array) if column in self._commas else array


def _with_points(array: pa.Array) -> pa.Array:
    _refuse_unless(pc.invert(pc.match_substring(array, ".")), "a number with a decimal comma")
    return pc.replace_substring(array, ",", ".")


def _flags(array: pa.Array, spelled: str) -> pa.Array:
    yes, no = spelled.split("/")
    truth = pc.equal(array, yes)
    _refuse_unless(pc.or_(truth, pc.equal(array, no)), f"{yes} or {no}")
    return pc.if_else(truth, "true", "false")


def _times(array: pa.Array, spelled: str) -> pa.Array:
    pattern = ""
    for literal, name in re.findall(r"([^%]+)|%(.)", spelled):
        pattern += re.escape(literal) if literal else f"(?P<{name}>[0-9]{{{DIRECTIVES[name]}}})"
    found = pc.extract_regex(array, f"^{pattern}$")
    _refuse_unless(
        pc.if_else(pc.is_valid(array), pc.is_valid(found), None), f"spelled as {spelled}"
    )
    part = {field.name: pc.struct_field(found, field.name) for field in found.type}
    texts = []
    if "Y" in part:
        texts.append(pc.binary_join_element_wise(part["Y"], part["m"], part["d"], "-"))
    if "H" in part:
        seconds = part.get("S", pc.if_else(pc.is_valid(found), "00", None))
        clock = pc.binary_join_element_wise(part["H"], part["M"], seconds, ":")
        if "f" in part:
            clock = pc.binary_join_element_wise(clock, part["f"], ".")
        texts.append(clock)
    return pc.binary_join_element_wise(*texts, " ")


def _refuse_unless(good: pa.Array, expected: str) -> None:
    """Refuse the first value that is not good; NULL is."""
    index = pc.index(good, False).as_py()
    if index >= 0:
        raise MisspelledError(index, expected)
