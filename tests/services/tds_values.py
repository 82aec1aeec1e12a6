"""SQL Server's types as the Tabular Data Stream carries them, as far as the tests need them.

Layouts: [MS-TDS] 2.2.5.4 (types), 2.2.5.5 (values) and 2.2.7 (tokens),
https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-tds
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import time
    from uuid import UUID

#: Latin1_General_CI_AS.
COLLATION = bytes.fromhex("0904d00034")
_MAX = 0xFFFF
_NOTHING_LONG = b"\xff" * 8
_WIDE = Context(prec=60)


@dataclass(frozen=True)
class Kind:
    """A type: how a column declares it, and how a value follows; a NULL is ``nothing``."""

    declared: bytes
    spell: Callable[[Any], bytes]
    nothing: bytes = b"\x00"

    def value(self, value: Any) -> bytes:
        """A value in a row."""
        return self.nothing if value is None else self.spell(value)


def _short(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def _medium(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


def _chunked(data: bytes) -> bytes:
    chunk = struct.pack("<I", len(data)) + data if data else b""
    return struct.pack("<Q", len(data)) + chunk + bytes(4)


def integer(size: int) -> Kind:
    """TINYINT (1), SMALLINT (2), INT (4) or BIGINT (8)."""
    return Kind(
        bytes([0x26, size]),
        lambda value: _short(int(value).to_bytes(size, "little", signed=size > 1)),
    )


def bit() -> Kind:
    """BIT."""
    return Kind(bytes([0x68, 1]), lambda value: _short(bytes([value])))


def floating() -> Kind:
    """FLOAT(53)."""
    return Kind(bytes([0x6D, 8]), lambda value: _short(struct.pack("<d", value)))


def decimal(precision: int, scale: int) -> Kind:
    """DECIMAL(precision, scale)."""
    size = next(4 * (index + 1) for index, most in enumerate((9, 19, 28, 38)) if precision <= most)

    def spell(value: Decimal) -> bytes:
        units = int(value.scaleb(scale, context=_WIDE))
        return _short(bytes([units >= 0]) + abs(units).to_bytes(size, "little"))

    return Kind(bytes([0x6A, size + 1, precision, scale]), spell)


def text(longest: int | None = None) -> Kind:
    """NVARCHAR(longest), or NVARCHAR(max)."""
    if longest is None:
        declared = struct.pack("<BH", 0xE7, _MAX) + COLLATION
        return Kind(declared, lambda value: _chunked(value.encode("utf-16-le")), _NOTHING_LONG)
    declared = struct.pack("<BH", 0xE7, 2 * longest) + COLLATION
    return Kind(declared, lambda value: _medium(value.encode("utf-16-le")), b"\xff\xff")


def binary(longest: int | None = None) -> Kind:
    """VARBINARY(longest), or VARBINARY(max)."""
    if longest is None:
        return Kind(struct.pack("<BH", 0xA5, _MAX), _chunked, _NOTHING_LONG)
    return Kind(struct.pack("<BH", 0xA5, longest), _medium, b"\xff\xff")


def guid() -> Kind:
    """UNIQUEIDENTIFIER."""

    def spell(value: UUID) -> bytes:
        return _short(value.bytes_le)

    return Kind(bytes([0x24, 16]), spell)


def day() -> Kind:
    """DATE."""
    return Kind(bytes([0x28]), lambda value: _short(_days(value)))


def clock(scale: int = 7) -> Kind:
    """TIME(scale)."""
    return Kind(bytes([0x29, scale]), lambda value: _short(_ticks(value, scale)))


def moment(scale: int = 7) -> Kind:
    """DATETIME2(scale); a value may be a pair of a datetime and further units of 100 ns."""

    def spell(value: datetime | tuple[datetime, int]) -> bytes:
        when, more = value if isinstance(value, tuple) else (value, 0)
        return _short(_ticks(when.time(), scale, more) + _days(when.date()))

    return Kind(bytes([0x2A, scale]), spell)


def instant(scale: int = 7) -> Kind:
    """DATETIMEOFFSET(scale); a value is in UTC and is sent with an offset of one hour."""

    def spell(value: datetime) -> bytes:
        return _short(_ticks(value.time(), scale) + _days(value.date()) + struct.pack("<h", 60))

    return Kind(bytes([0x2B, scale]), spell)


def _days(value: date) -> bytes:
    return (value.toordinal() - 1).to_bytes(3, "little")


def _ticks(value: time, scale: int, more: int = 0) -> bytes:
    since = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second)
    ticks = int(since.total_seconds()) * 10**7 + value.microsecond * 10 + more
    size = 3 if scale <= 2 else 4 if scale <= 4 else 5
    return (ticks // 10 ** (7 - scale)).to_bytes(size, "little")


def columns(described: Sequence[tuple[str, Kind]]) -> bytes:
    """The token that announces a result's columns."""
    parts = [struct.pack("<BH", 0x81, len(described))]
    for name, kind in described:
        spelled = name.encode("utf-16-le")
        parts.append(struct.pack("<IH", 0, 1) + kind.declared + bytes([len(name)]) + spelled)
    return b"".join(parts)


def row(described: Sequence[tuple[str, Kind]], values: Sequence[Any]) -> bytes:
    """The token of one row."""
    pairs = zip(described, values, strict=True)
    return b"\xd1" + b"".join(kind.value(value) for (_, kind), value in pairs)


def parameter(data: bytes, start: int) -> tuple[Any, int]:
    """Read a parameter of a call: its value and where the next one begins.

    Only the types that drivers send for text and integers are known.
    """
    start += 1 + 2 * data[start] + 1  # its name, and its flags
    code = data[start]
    if code in (0xE7, 0xA7, 0xEF, 0xAF):
        [longest] = struct.unpack_from("<H", data, start + 1)
        encoding = "utf-16-le" if code in (0xE7, 0xEF) else "cp1252"
        raw, end = (_plp if longest == _MAX else _counted)(data, start + 8)
        return None if raw is None else raw.decode(encoding), end
    if code == 0x63:
        [size] = struct.unpack_from("<i", data, start + 10)
        end = start + 14 + max(size, 0)
        return (None if size < 0 else data[start + 14 : end].decode("utf-16-le")), end
    if code == 0x26:
        size = data[start + 2]
        end = start + 3 + size
        return (int.from_bytes(data[start + 3 : end], "little", signed=True) if size else None), end
    if code == 0x38:
        return struct.unpack_from("<i", data, start + 1)[0], start + 5
    message = f"a parameter of type 0x{code:02x}"
    raise NotImplementedError(message)


def _counted(data: bytes, start: int) -> tuple[bytes | None, int]:
    [size] = struct.unpack_from("<H", data, start)
    if size == _MAX:
        return None, start + 2
    return data[start + 2 : start + 2 + size], start + 2 + size


def _plp(data: bytes, start: int) -> tuple[bytes | None, int]:
    if data[start : start + 8] == _NOTHING_LONG:
        return None, start + 8
    start += 8
    whole = b""
    while size := struct.unpack_from("<I", data, start)[0]:
        whole += data[start + 4 : start + 4 + size]
        start += 4 + size
    return whole, start + 4
