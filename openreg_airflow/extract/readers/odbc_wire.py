"""What the two processes of an ODBC session say to one another.

Messages are JSON, one a line; rows are an Arrow IPC stream between two messages. Nothing that
comes from the other side is ever unpickled or run: a driver that goes wrong in its process can
send nonsense, not code.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from openreg_airflow.errors import SourceError, SourceUnavailableError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.errors import OpenRegError

_ERRORS: tuple[type[OpenRegError], ...] = (SourceError, SourceUnavailableError, SpecError)
_BY_NAME = {kind.__name__: kind for kind in _ERRORS}


class WireError(Exception):
    """The other process is gone, or what it sent is no message."""


def send(pipe: IO[bytes], message: Mapping[str, Any]) -> None:
    """Send a message.

    Raises:
        OSError: nobody reads any more.
    """
    pipe.write(json.dumps(message).encode() + b"\n")
    pipe.flush()


def receive(pipe: IO[bytes]) -> dict[str, Any]:
    """The next message.

    Raises:
        WireError: there is none, or it is not one.
    """
    try:
        message = json.loads(pipe.readline())
    except (OSError, ValueError) as error:
        raise WireError(str(error)) from error
    if not isinstance(message, dict):
        text = "not a message"
        raise WireError(text)
    return message


def error_message(error: OpenRegError) -> dict[str, Any]:
    """The message that an error travels in."""
    name = next(kind.__name__ for kind in _ERRORS if isinstance(error, kind))
    return {"error": name, "message": error.message, "where": error.where, "hint": error.hint}


def received_error(message: Mapping[str, Any]) -> OpenRegError | None:
    """The error in a message, if it is one."""
    if "error" not in message:
        return None
    kind = _BY_NAME.get(str(message["error"]), SourceError)
    return kind(str(message["message"]), where=message.get("where"), hint=message.get("hint"))


def schema_text(schema: pa.Schema) -> str:
    """A schema as a text in a message."""
    return base64.b64encode(schema.serialize()).decode()


def received_schema(text: object) -> pa.Schema:
    """The schema in a message.

    Raises:
        WireError: it is none.
    """
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(str(text), validate=True)))
    except (pa.ArrowException, binascii.Error, OSError) as error:
        raise WireError(str(error)) from error
