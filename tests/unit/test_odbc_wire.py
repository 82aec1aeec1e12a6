"""What the two processes of an ODBC session say to one another."""

from __future__ import annotations

import io
import pickle

import pyarrow as pa
import pytest

from openreg_airflow.errors import OpenRegError, SourceError, SourceUnavailableError, SpecError
from openreg_airflow.extract.readers.odbc_wire import (
    WireError,
    error_message,
    receive,
    received_error,
    received_schema,
    schema_text,
    send,
)


class Trap:
    """Runs when it is unpickled."""

    sprung = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (Trap, "sprung", True)


def test_message_arrives_as_it_was_sent() -> None:
    pipe = io.BytesIO()
    message = {"sql": "SELECT 'é€😀'\n-- a comment", "values": ["1", "\n"], "file": "a.sql"}

    send(pipe, message)
    pipe.seek(0)

    assert receive(pipe) == message


@pytest.mark.parametrize("sent", [b"", b"\n", b"[1]\n", b"{\n", b"\xff\xfe\n", b"null\n"])
def test_what_is_no_message_is_not_believed(sent: bytes) -> None:
    with pytest.raises(WireError):
        receive(io.BytesIO(sent))


def test_nothing_is_unpickled() -> None:
    with pytest.raises(WireError):
        receive(io.BytesIO(pickle.dumps(Trap())))
    with pytest.raises(WireError):
        received_schema(pickle.dumps(Trap()).hex())

    assert not Trap.sprung


@pytest.mark.parametrize("kind", [SourceError, SourceUnavailableError, SpecError])
def test_error_keeps_its_kind_and_its_place(kind: type[OpenRegError]) -> None:
    error = received_error(error_message(kind("it failed", where="a.sql", hint="Mend it.")))

    assert type(error) is kind
    assert (error.message, error.where, error.hint) == ("it failed", "a.sql", "Mend it.")
    assert received_error({"server": "x"}) is None


def test_schema_arrives_with_its_types() -> None:
    schema = pa.schema([("a b", pa.decimal128(38, 10)), ("é", pa.timestamp("ns"))])

    assert received_schema(schema_text(schema)) == schema
    for nonsense in ("", "AAAA", "!"):
        with pytest.raises(WireError):
            received_schema(nonsense)
