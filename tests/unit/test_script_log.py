from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.transform.runner.wire import DATA, EVENT, Decoder, WireError, parse_event
from openreg_airflow.transform.script_log import ScriptLog, printable

if TYPE_CHECKING:
    from collections.abc import Iterable


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


def logged(pieces: Iterable[bytes], limit: int = 1 << 20) -> list[tuple[str, str]]:
    logger = logging.Logger("script")
    handler = Lines()
    logger.addHandler(handler)
    log = ScriptLog(logger, limit)
    for piece in pieces:
        log.feed(piece)
    log.close()
    return handler.lines


def test_line_is_logged_once_it_is_whole() -> None:
    assert logged([b"on", b"e\ntw", b"o"]) == [("INFO", "one"), ("INFO", "two")]


def test_level_is_taken_from_its_mark_alone() -> None:
    assert logged([b"\x1eERROR\x1ebad\nERROR good\n\x1eNOISE\x1ex\n"]) == [
        ("ERROR", "bad"),
        ("INFO", "ERROR good"),
        ("INFO", "x"),
    ]


def test_character_that_is_cut_in_two_pieces_is_put_together() -> None:
    assert logged([b"\xc3", b"\xa9\n"]) == [("INFO", "é")]


def test_control_characters_are_shown_and_not_sent_on() -> None:
    assert printable("a\x1b[31mb\rc\td\x85") == "a\\x1b[31mb\\x0dc\td\\x85"


def test_endless_line_is_logged_in_parts() -> None:
    lines = logged([b"x" * 20_000])

    assert [len(line) for _, line in lines] == [8192, 8192, 3616]


@pytest.mark.parametrize(
    "pieces",
    [(b"12345\n", b"6789\n", b"more\n"), (b"12345\n67", b"89\nmore\n"), (b"12345\n6789\nmore\n",)],
)
def test_what_is_over_the_limit_is_counted_and_said_once(pieces: tuple[bytes, ...]) -> None:
    lines = logged(pieces, limit=8)

    assert sorted(lines) == [
        ("INFO", "12345"),
        ("INFO", "67"),
        ("WARNING", "8 bytes of the script's output were left out"),
        ("WARNING", "the script printed more than 8 bytes; the rest is left out here"),
    ]


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_pieces_make_no_difference(content: bytes, size: int) -> None:
    pieces = [content[start : start + size] for start in range(0, len(content), size)]

    assert logged(pieces) == logged([content] if content else [])


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 40))
def test_frames_are_put_together_from_any_pieces(payloads: list[bytes], size: int) -> None:
    content = b"".join(DATA + len(p).to_bytes(4, "big") + p for p in payloads)
    decoder = Decoder()

    found = [
        frame
        for start in range(0, len(content), size)
        for frame in decoder.feed(content[start : start + size])
    ]

    assert found == [(DATA, payload) for payload in payloads]
    assert decoder.pending == 0


@given(st.binary(max_size=2000))
def test_any_bytes_are_frames_or_refused(content: bytes) -> None:
    try:
        for kind, payload in Decoder().feed(content):
            if kind == EVENT:
                parse_event(payload)
    except WireError:
        return


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"event": 1}', b"\xff", b"[" * 100_000])
def test_event_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        parse_event(payload)
