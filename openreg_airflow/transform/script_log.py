"""What a script prints and logs, live in the task log."""

from __future__ import annotations

import codecs
import logging
import re

from openreg_airflow.transform.runner.wire import LEVEL_MARK

#: Most bytes of prints and log lines that are kept of one run.
MAX_BYTES = 4 << 20
_MAX_LINE = 8192
_MARKED = re.compile(f"{LEVEL_MARK}([A-Z]{{1,10}}){LEVEL_MARK}")
#: Control characters could forge lines or steer a terminal; they are shown as \xNN instead.
_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (9, 10)
}


def printable(text: str) -> str:
    """Text from a script with its control characters made visible; line ends and tabs stay."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


class ScriptLog:
    """Takes the runner's standard error in any pieces and logs whole lines.

    Args:
        logger: where the lines go.
        limit: most bytes to log; the rest is counted, and said to be left out.
    """

    def __init__(self, logger: logging.Logger, limit: int = MAX_BYTES) -> None:
        self._logger = logger
        self._limit = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._line = ""
        self._cut = False
        self.received = 0

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        room = max(self._limit - self.received, 0)
        self.received += len(piece)
        if room:
            self._take(piece[:room])
        if self.received > self._limit and not self._cut:
            self._cut = True
            self._logger.warning(
                "the script printed more than %d bytes; the rest is left out here", self._limit
            )

    def _take(self, piece: bytes) -> None:
        *lines, self._line = (self._line + self._decoder.decode(piece)).split("\n")
        for line in lines:
            self._log(line)
        while len(self._line) >= _MAX_LINE:
            self._log(self._line[:_MAX_LINE])
            self._line = self._line[_MAX_LINE:]

    def close(self) -> None:
        """Log what is left of the last line, and how much was left out."""
        if self._line:
            self._log(self._line)
            self._line = ""
        if self.received > self._limit:
            left_out = self.received - self._limit
            self._logger.warning("%d bytes of the script's output were left out", left_out)

    def _log(self, line: str) -> None:
        level, text = logging.INFO, line.removesuffix("\r")
        if mark := _MARKED.match(text):
            level = logging.getLevelNamesMapping().get(mark[1], logging.INFO)
            text = text[mark.end() :]
        for start in range(0, len(text) or 1, _MAX_LINE):
            self._logger.log(level, "%s", printable(text[start : start + _MAX_LINE]))
