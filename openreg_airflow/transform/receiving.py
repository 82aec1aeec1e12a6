"""The task's side of the talk with a runner: tables go to files, the rest is remembered."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from openreg_airflow.errors import SandboxLimitError, SandboxUnavailableError, TransformError
from openreg_airflow.records import Dataset
from openreg_airflow.section import NAME_PATTERN
from openreg_airflow.transform.job import declared_schemas
from openreg_airflow.transform.runner import wire
from openreg_airflow.transform.script_log import printable

if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import BinaryIO

    from openreg_airflow.records import Column
    from openreg_airflow.transform.inspection import Inspection
    from openreg_airflow.transform.spec import TransformSection
    from openreg_airflow.workspace import Pending, StageFolder

log = logging.getLogger(__name__)

_NAME = re.compile(NAME_PATTERN)
_MOST_TABLES = 64
_HUGE = 1e15


class InputsNotVisibleError(SandboxUnavailableError):
    """The runner does not see the input files that were given to it."""


@dataclass(frozen=True)
class Received:
    """A table that came back: where it is being written, and what it holds."""

    pending: Pending
    rows: int
    columns: tuple[Column, ...]

    def dataset(self) -> Dataset:
        """Its record, once it is published."""
        return Dataset(**self.pending.ref.model_dump(), rows=self.rows, columns=self.columns)


class Receiver:
    """Takes the frames of one runner; nothing that they say is believed unchecked.

    Args:
        spec: the section that the run follows.
        folder: where tables are stored.
        files: keeps the tables unpublished until it is closed, and drops them on an error.
        inspection: decodes the tables, from the moment when all have come.
    """

    def __init__(
        self,
        spec: TransformSection,
        folder: StageFolder,
        files: ExitStack,
        inspection: Inspection,
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._files = files
        self._inspection = inspection
        self._decoder = wire.Decoder()
        self._pending: dict[str, Pending] = {}
        self._open: dict[str, BinaryIO] = {}
        self._into: BinaryIO | None = None
        #: Bytes of all tables so far.
        self.received = 0
        #: The runner's last words, each at most once: ``error``,
        #: ``looked_up``, ``done`` and ``exit``.
        self.words: dict[str, dict[str, Any]] = {}

    def feed(self, piece: bytes) -> None:
        """Take bytes of the reply.

        Raises:
            TransformError: they are not what a runner sends.
            SandboxLimitError: the tables are larger than the spec allows.
            InputsNotVisibleError: the inputs must be handed over in another way.
        """
        try:
            for kind, payload in self._decoder.feed(piece):
                if kind == wire.DATA:
                    self._data(payload)
                else:
                    self._event(wire.parse_event(payload))
        except wire.WireError as error:
            _refuse(str(error), error)

    def _data(self, payload: bytes) -> None:
        if self._into is None:
            _refuse("data outside a table")
        self.received += len(payload)
        most = self._spec.limits.output_mb
        if self.received > most << 20:
            message = f"stopped at its output limit of {most} MiB; see transform.limits.output_mb"
            raise SandboxLimitError(message, hint="Return fewer rows or columns.")
        self._into.write(payload)

    def _event(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "table":
                self._begin(event.get("name"))
            case "into":
                self._into = self._opened(event.get("name"))
            case "end":
                self._opened(event.get("name")).close()
                del self._open[str(event["name"])]
                self._into = None
            case "invisible":
                message = f"the sandbox does not see its inputs {text(event, 'inputs')}"
                raise InputsNotVisibleError(message, hint="Look at the container engine's log.")
            case "done" if "done" not in self.words:
                self.words["done"] = event
                self._complete()
            case "error" | "exit" | "looked_up" as name:
                self.words.setdefault(name, event)
            case name:
                _refuse(f"an event {name!r:.80}")

    def _begin(self, name: object) -> None:
        if "done" in self.words:
            _refuse("a table after the last")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in self._pending:
            _refuse(f"a table {name!r:.80}")
        if len(self._pending) >= _MOST_TABLES:
            _refuse("too many tables")
        pending = self._files.enter_context(self._folder.writing(f"{name}.parquet"))
        self._pending[name] = pending
        self._into = self._open[name] = self._files.enter_context(pending.path.open("wb"))

    def _opened(self, name: object) -> BinaryIO:
        if not isinstance(name, str) or name not in self._open:
            _refuse(f"no open table {name!r:.80}")
        return self._open[name]

    def _complete(self) -> None:
        """Hold the tables against the spec's, and have them decoded."""
        declared = declared_schemas(self._spec)
        missing = [name for name in declared if name not in self._pending]
        if self._open or missing or not self._pending:
            _refuse(f"missing are {', '.join(missing) or 'the ends of tables'}")
        extra = [name for name in self._pending if declared and name not in declared]
        if extra:
            _refuse(f"undeclared tables {', '.join(extra)}")
        paths = {name: pending.path for name, pending in self._pending.items()}
        self._inspection.begin(paths, declared)

    def tables(self) -> dict[str, Received]:
        """What came back, decoded, after a runner has said that it is done.

        Raises:
            TransformError: a table is not what it must be.
            SandboxLimitError: a table is too large.
        """
        if self._decoder.pending:
            _refuse("a frame without an end")
        found = self._inspection.tables()
        return {name: Received(pending, *found[name]) for name, pending in self._pending.items()}


def text(event: dict[str, Any], key: str) -> str:
    """A field of an event as harmless text; empty when it is not there."""
    value = event.get(key)
    return "" if value is None else printable(str(value))


def number(event: dict[str, Any], key: str) -> float:
    """A field of an event as a finite number; 0 when it is none."""
    value = event.get(key)
    return value if isinstance(value, int | float) and abs(value) < _HUGE else 0


def _refuse(what: str, cause: Exception | None = None) -> NoReturn:
    message = f"the script disturbed the sandbox's reply: {what}"
    hint = "It must leave the descriptors alone that it did not open."
    raise TransformError(message, hint=hint) from cause
