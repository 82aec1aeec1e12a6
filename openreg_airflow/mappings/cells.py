"""The cells of an entry: their normal text, and how several stand in one column of the store.

Every value has exactly one text, so that equal values are equal texts: integers without leading
zeros, decimals with all digits of their scale, dates as ``2026-03-31``, ``true`` and ``false``. An
empty text is no value; keys have none.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from openreg_airflow.mappings.model import MappingColumn

#: Between two cells; no cell may hold it.
SEPARATOR = "\x1f"
#: A cell without a value.
NULL = "\x1a"
#: Stands where somebody has to write a value, in files that are given out to be filled in. It is
#: never a value, so that a line that was forgotten cannot become an entry.
UNFILLED = "FILL IN"
#: Bytes of a key: rows of a PostgreSQL index are bounded.
KEY_BYTES = 2000
#: Bytes of all value cells of an entry.
VALUE_BYTES = 100_000
_REFUSED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
#: Marks of encodings and joins of words: what two files that were put together leave in a key.
_UNSEEN = "\ufeff\u200b\u2060"
_UNHEARD_OF = re.compile(r"[\x00\ud800-\udfff]")
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TRUTH = {"true": "true", "false": "false", "1": "true", "0": "false", "yes": "true", "no": "false"}


def spelled(column_type: str) -> Callable[[str], str]:
    """The function that brings a cell's text to its normal spelling.

    Args:
        column_type: one of :data:`openreg_airflow.mappings.model.TYPES`, or ``decimal(P,S)``.

    Returns:
        A function that raises ValueError, with the reason in words, on text that does not fit.
    """
    if column_type.startswith("decimal"):
        digits, scale = (int(part) for part in column_type[8:-1].split(","))
        return lambda text: _decimal(text, digits, scale)
    return {"string": _string, "integer": _integer, "boolean": _boolean, "date": _date}[column_type]


def normal(value: Any, column_type: str) -> str | None:
    """The normal text of a Python value; None for None and empty text.

    Raises:
        ValueError: it does not fit the type.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        text = "true" if value else "false"
        fits = column_type == "boolean"
    elif isinstance(value, datetime) or not isinstance(value, (str, int, Decimal, date)):
        text, fits = repr(value), False
    elif isinstance(value, Decimal):
        # A Decimal of many zeros would be written out.
        fits = value.is_finite() and abs(value.adjusted()) < 100
        text = format(value, "f") if fits else repr(value)
    else:
        text = value.isoformat() if isinstance(value, date) else str(value)
        fits = isinstance(value, str) or (isinstance(value, date) == (column_type == "date"))
    if not fits:
        message = f"{text} is no {column_type}"
        raise ValueError(message)
    return spelled(column_type)(text)


def typed(text: str | None, column_type: str) -> Any:
    """The Python value of a normal text."""
    if text is None or column_type == "string":
        return text
    if column_type == "integer":
        return int(text)
    if column_type == "boolean":
        return text == "true"
    return date.fromisoformat(text) if column_type == "date" else Decimal(text)


def pack(cells: Sequence[str | None]) -> str:
    """Several normal texts as one."""
    return SEPARATOR.join([NULL if cell is None else cell for cell in cells])


def unpack(packed: str) -> tuple[str | None, ...]:
    """The texts that :func:`pack` put together."""
    return tuple(None if cell == NULL else cell for cell in packed.split(SEPARATOR))


def require_filled(cell: str) -> None:
    """Refuse a value that is still to be written, however its letters and blanks came back.

    Raises:
        ValueError: the cell holds :data:`UNFILLED`.
    """
    if cell.strip().upper() == UNFILLED:
        message = "not filled in"
        raise ValueError(message)


def packed_key(cells: Sequence[str | None]) -> str:
    """A key's cells as one text.

    Raises:
        ValueError: a cell is empty, or the key is too long.
    """
    if not all(cells):
        message = "a key column is empty"
        raise ValueError(message)
    for cell in cells:
        if cell != (cell or "").strip():
            message = f"the key {_short(cell or '')} begins or ends with a blank"
            raise ValueError(message)
        if cell != (cell or "").strip(_UNSEEN):
            message = f"the key {_short(cell or '')} begins or ends with a character nobody sees"
            raise ValueError(message)
    packed = pack(cells)
    if len(packed) * 4 > KEY_BYTES and len(packed.encode()) > KEY_BYTES:
        message = f"the key has more than {KEY_BYTES} bytes"
        raise ValueError(message)
    return packed


def packed_value(cells: Sequence[str | None]) -> str:
    """A value's cells as one text.

    Raises:
        ValueError: they are too long.
    """
    packed = pack(cells)
    if len(packed) * 4 > VALUE_BYTES and len(packed.encode()) > VALUE_BYTES:
        message = f"the value has more than {VALUE_BYTES} bytes"
        raise ValueError(message)
    return packed


def storable(text: str) -> bool:
    """Whether a database can be asked for a text: no entry has what it cannot hold."""
    return not _UNHEARD_OF.search(text)


def arrow_columns(packed: pa.Array, columns: Sequence[MappingColumn]) -> list[pa.Array]:
    """The columns of packed cells, in their declared types."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from openreg_airflow.column_types import arrow_type

    if len(columns) > 1:
        parts = pc.split_pattern(packed, SEPARATOR)
        cells = [pc.list_element(parts, place) for place in range(len(columns))]
    else:
        cells = [packed]
    null = pa.scalar(None, pa.string())
    return [
        pc.if_else(pc.equal(cell, NULL), null, cell).cast(arrow_type(column.type))
        for cell, column in zip(cells, columns, strict=True)
    ]


def _string(text: str) -> str:
    if found := _REFUSED.search(text):
        message = f"it holds the character U+{ord(found[0]):04X}"
        raise ValueError(message)
    return text


def _integer(text: str) -> str:
    if not _INTEGER.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        message = f"{_short(text)} is no integer of 64 bits"
        raise ValueError(message)
    return str(int(text))


def _decimal(text: str, digits: int, scale: int) -> str:
    wanted = f"decimal({digits},{scale})"
    if not _DECIMAL.fullmatch(text) or len(text) > 100:
        message = f"{_short(text)} is no {wanted}"
        raise ValueError(message)
    whole, _, part = text.lstrip("+-").partition(".")
    whole, part = whole.lstrip("0"), part.rstrip("0")
    if len(whole) > digits - scale or len(part) > scale:
        message = f"{_short(text)} has more digits than {wanted}"
        raise ValueError(message)
    sign = "-" if text.startswith("-") and (whole or part) else ""
    return f"{sign}{whole or '0'}" + (f".{part:0<{scale}}" if scale else "")


def _boolean(text: str) -> str:
    found = _TRUTH.get(text.lower())
    if found is None:
        message = f"{_short(text)} is neither true nor false"
        raise ValueError(message)
    return found


def _date(text: str) -> str:
    if _DATE.fullmatch(text):
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            pass
    message = f"{_short(text)} is no date such as 2026-03-31"
    raise ValueError(message)


def _short(text: str) -> str:
    return repr(text if len(text) <= 50 else text[:49] + "…")
