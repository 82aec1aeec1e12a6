"""The frames that the runner sends to the task, and the request that it gets.

A frame is one byte for its kind, four bytes for the length of its payload (big endian) and the
payload: an event is a JSON object, data are bytes of the table that the last ``table`` or ``into``
event named. The request
is eight bytes for its length and a JSON object. Logs and prints do not go this way: they are
plain text on the standard error stream, where a line of the logger starts with its level between
two record separators.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT = b"E"
DATA = b"D"
#: Longest payload of a frame in bytes; a longer one is refused unread.
MAX_PAYLOAD = 1 << 20
#: Longest request in bytes.
MAX_REQUEST = 16 << 20
#: Stands before and after the level of a logged line.
LEVEL_MARK = "\x1e"

_HEADER = struct.Struct(">cI")
_REQUEST = struct.Struct(">Q")


class WireError(Exception):
    """What came is not a frame or not a request."""


class Reply:
    """The sending side; safe to use from several threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._into: str | None = None
        #: The only process that may send; any when None.
        self.owner: int | None = None

    def event(self, name: str, /, **fields: Any) -> None:
        """Send an event."""
        payload = json.dumps({"event": name, **fields}, ensure_ascii=True).encode()
        self._send(EVENT, payload)

    def table(self, name: str) -> None:
        """Open a table; data go into it until those of another are sent."""
        self._into = name
        self.event("table", name=name)

    def data(self, table: str, payload: bytes | memoryview) -> None:
        """Send bytes of a table, in as many frames as they need."""
        if self._into != table:
            self._into = table
            self.event("into", name=table)
        view = memoryview(payload).cast("B")
        for start in range(0, len(view), MAX_PAYLOAD):
            self._send(DATA, view[start : start + MAX_PAYLOAD])

    def _send(self, kind: bytes, payload: bytes | memoryview) -> None:
        if self.owner not in (None, os.getpid()):
            message = "another process sends"
            raise WireError(message)
        with self._lock:
            for part in (_HEADER.pack(kind, len(payload)), payload):
                rest = memoryview(part)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]


class Decoder:
    """The receiving side: bytes in whatever pieces they come, frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Give the frames that are complete now, as kind and payload.

        Raises:
            WireError: a kind is unknown or a payload too long.
        """
        self._buffer += piece
        while len(self._buffer) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer)
            if kind not in (EVENT, DATA) or length > MAX_PAYLOAD:
                message = f"a frame of kind {kind!r} with {length} bytes"
                raise WireError(message)
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield kind, payload

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not come to its end."""
        return len(self._buffer)


def parse_event(payload: bytes) -> dict[str, Any]:
    """The JSON object of an event frame.

    Raises:
        WireError: it is not a JSON object with a name.
    """
    try:
        event = json.loads(payload)
    except (ValueError, RecursionError) as error:
        message = f"an event that is not JSON: {error}"
        raise WireError(message) from error
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        message = "an event without a name"
        raise WireError(message)
    return event


def pack_request(request: dict[str, Any]) -> bytes:
    """A request as bytes.

    Raises:
        WireError: it is longer than :data:`MAX_REQUEST`.
    """
    payload = json.dumps(request).encode()
    if len(payload) > MAX_REQUEST:
        message = f"the request has {len(payload)} bytes, at most {MAX_REQUEST} are possible"
        raise WireError(message)
    return _REQUEST.pack(len(payload)) + payload


def read_request(descriptor: int) -> dict[str, Any]:
    """Read one request and leave the stream behind it untouched.

    Raises:
        WireError: the stream ends early or holds something else.
    """
    (length,) = _REQUEST.unpack(_read(descriptor, _REQUEST.size))
    if length > MAX_REQUEST:
        message = f"a request of {length} bytes"
        raise WireError(message)
    request = json.loads(_read(descriptor, length))
    if not isinstance(request, dict):
        message = "a request that is not an object"
        raise WireError(message)
    return request


def _read(descriptor: int, count: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < count:
        piece = os.read(descriptor, min(count - len(pieces), 1 << 16))
        if not piece:
            message = "the request ends early"
            raise WireError(message)
        pieces += piece
    return bytes(pieces)
