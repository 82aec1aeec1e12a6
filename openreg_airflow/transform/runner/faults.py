"""Faults of a report's script, described for its author."""

from __future__ import annotations

import errno
import linecache
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

_LONGEST_TRACEBACK = 32_000
_LONGEST_MESSAGE = 2_000
_OURS = f"{Path(__file__).parent}/"


class ScriptError(Exception):
    """The script broke its contract.

    Args:
        message: what is wrong, with the value or type that caused it.
        hint: what its author can do about it.
        kind: ``contract``, ``column`` or ``memory``.
    """

    def __init__(self, message: str, *, hint: str | None = None, kind: str = "contract") -> None:
        super().__init__(message)
        self.hint = hint
        self.kind = kind


class ForbiddenImportError(ImportError):
    """The script imports what the admin's list does not allow."""

    # Tracebacks show the bare name then, as of Python's own errors.
    __module__ = "builtins"

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class NoMappingError(LookupError):
    """The script asks for a mapping that is not there."""

    __module__ = "builtins"


class MappingUseError(ValueError):
    """A look-up does not fit its mapping set.

    Args:
        message: what is wrong.
        hint: what the script's author can do about it.
    """

    __module__ = "builtins"

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class UnmappedValueError(LookupError):
    """Values that a script looks up are not in a mapping set.

    Args:
        name: the set.
        listed: the values with their counts.
        rows: how many rows have such a value.
    """

    __module__ = "builtins"

    def __init__(self, name: str, listed: str, rows: int) -> None:
        super().__init__(f"mapping {name} has no entry for {listed}; {rows:,} rows in all")


def describe(error: BaseException, script: str) -> dict[str, Any]:
    """The fields of the event that reports ``error``, in the terms of the script's author.

    The traceback starts at the first line of the script: the frames that led there are ours.
    """
    if isinstance(error, ScriptError):
        return {"kind": error.kind, "message": _cut(str(error)), "hint": error.hint}
    if isinstance(error, MemoryError):
        fields: dict[str, Any] = {"kind": "memory", "message": "ran out of memory", "hint": None}
    elif isinstance(error, SystemExit):
        fields = {
            "kind": "exit",
            "message": f"the script called sys.exit({error.code!r})",
            "hint": "Return the result from transform(), or raise an exception that says why not.",
        }
    else:
        kind = "syntax" if _is_syntax(error, script) else "raised"
        lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
        # A syntax error names itself below the line that it shows.
        text = lines[-1] if isinstance(error, SyntaxError) else lines[0]
        fields = {"kind": kind, "message": _cut(text), "hint": _hint(error)}
    _trim_chain(error, script)
    line = _line(error, script)
    source = linecache.getline(script, line).strip() if line else ""
    text = "".join(traceback.format_exception(error))
    return {**fields, "line": line, "source": _cut(source), "traceback": _shorten(text)}


def _is_syntax(error: BaseException, script: str) -> bool:
    return isinstance(error, SyntaxError) and error.filename == script


def _hint(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG):
        return "The folder for temporary files is full; see transform.limits.tmp_mb."
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return "Only the folder for temporary files is writable; return what is to be stored."
    if "Decimal precision out of range" in str(error):
        return "A product may need more than 38 digits; cast a factor to a narrower decimal first."
    if isinstance(error, ForbiddenImportError | MappingUseError):
        return error.hint
    if isinstance(error, NoMappingError):
        return "Name it in the spec:  mappings: {sets: [NAME]}"
    if isinstance(error, UnmappedValueError):
        return (
            "Add entries (`openreg mappings unmapped REPORT` writes a file to fill in), or give "
            "unmapped='default', 'original' or 'none'."
        )
    if isinstance(error, ModuleNotFoundError):
        return "The sandbox has pandas, numpy, pyarrow, lxml, dateutil and the standard library."
    return None


def _line(error: BaseException, script: str) -> int | None:
    if _is_syntax(error, script):
        assert isinstance(error, SyntaxError)  # noqa: S101  # for the type checker
        return error.lineno
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == script:
            found = line
    return found


def _trim_chain(error: BaseException, script: str) -> None:
    """Drop the frames above the script's first one and ours below it, in causes and groups too."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _trim(current.__traceback__, script)
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions


def _trim(frames: TracebackType | None, script: str) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename != script:
        frames = frames.tb_next
    last = frame = frames
    while frame is not None:
        if not frame.tb_frame.f_code.co_filename.startswith(_OURS):
            last = frame
        frame = frame.tb_next
    if last is not None:
        last.tb_next = None
    return frames


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."


def _shorten(text: str) -> str:
    if len(text) <= _LONGEST_TRACEBACK:
        return text
    half = _LONGEST_TRACEBACK // 2
    return f"{text[:half]}\n  ... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
