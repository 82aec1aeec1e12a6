"""The types of values in expressions."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_DIGITS = 38
_DECIMAL = re.compile(r"decimal(?:128|256)?\(\s*(\d+)\s*,\s*(-?\d+)\s*\)", re.IGNORECASE)
_INTEGERS = {
    "integer": 19, "bigint": 19, "int64": 19, "int": 10, "int32": 10, "smallint": 5, "int16": 5,
    "tinyint": 3, "int8": 3, "hugeint": 38, "ubigint": 20, "uint64": 20, "uinteger": 10,
    "uint32": 10, "usmallint": 5, "uint16": 5, "utinyint": 3, "uint8": 3,
}  # fmt: skip
_PLAIN = {
    "string": "string", "large_string": "string", "string_view": "string", "varchar": "string",
    "text": "string", "float": "float", "double": "float", "real": "float", "halffloat": "float",
    "boolean": "boolean", "bool": "boolean", "date": "date", "date32[day]": "date", "time": "time",
    "time64[us]": "time", "binary": "binary", "large_binary": "binary", "blob": "binary",
    "timestamp_utc": "timestamp_utc", "timestamp with time zone": "timestamp_utc",
    "timestamp": "timestamp", "timestamp_ns": "timestamp", "timestamp_ms": "timestamp",
    "timestamp_s": "timestamp", "any": "any",
}  # fmt: skip


@dataclass(frozen=True)
class Type:
    """A type of values.

    Attributes:
        kind: ``boolean``, ``integer``, ``decimal``, ``float``, ``string``, ``date``, ``time``,
            ``timestamp``, ``timestamp_utc``, ``binary``, ``none`` (only None), ``any`` (a column
            whose type is not known yet) or ``other`` (one that expressions cannot use).
        digits: most digits of an integer or decimal.
        scale: digits of a decimal after the point.
    """

    kind: str
    digits: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.digits},{self.scale})" if self.kind == "decimal" else self.kind

    @property
    def exact(self) -> bool:
        """Whether it is an integer or a decimal."""
        return self.kind in ("integer", "decimal")

    @property
    def number(self) -> bool:
        """Whether it is a number of any kind."""
        return self.exact or self.kind == "float"

    @property
    def sql(self) -> str:
        """DuckDB's name of an exact number's type."""
        return f"DECIMAL({self.digits},{self.scale})" if self.kind == "decimal" else "HUGEINT"


BOOLEAN = Type("boolean")
INTEGER = Type("integer", 19)
FLOAT = Type("float")
STRING = Type("string")
DATE = Type("date")
TIMESTAMP_UTC = Type("timestamp_utc")
NONE = Type("none")
ANY = Type("any")


def decimal(whole: int, scale: int) -> Type:
    """A decimal with so many digits before and after the point, as far as 38 allow."""
    return Type("decimal", max(1, min(MAX_DIGITS, whole + scale)), scale)


def type_of(spelled: str) -> Type:
    """The type that a spec, Arrow or DuckDB spells so; ``other`` when expressions know none."""
    text = spelled.strip().lower()
    if match := _DECIMAL.fullmatch(text):
        digits, scale = int(match[1]), int(match[2])
        # DuckDB would read a wider one as a binary number.
        return Type("decimal", digits, scale) if digits <= MAX_DIGITS else Type("other")
    if text in _INTEGERS:
        return Type("integer", _INTEGERS[text])
    if text.startswith("timestamp["):
        return TIMESTAMP_UTC if "tz=" in text else Type("timestamp")
    if text.startswith(("enum(", "dictionary<")):
        return STRING
    return Type(_PLAIN.get(text, "other"))


def common(left: Type, right: Type) -> Type | None:
    """The type that holds the values of both, or None when there is none."""
    if left.kind in ("none", "any"):
        return right
    if right.kind in ("none", "any") or left == right:
        return left
    if left.exact and right.exact:
        if left.kind == right.kind == "integer":
            return Type("integer", max(left.digits, right.digits))
        scale = max(left.scale, right.scale)
        return decimal(max(left.digits - left.scale, right.digits - right.scale), scale)
    return left if left.kind == right.kind else None
