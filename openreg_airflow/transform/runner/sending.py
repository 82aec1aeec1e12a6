"""From what the script returned or yielded to tables in the reply."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .storing import TableSender
from .tables import named_tables, to_arrow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .wire import Reply


class Sending:
    """The reply's tables.

    Args:
        declared: the tables that the spec names, with their columns as the request spells them.
        inputs: the sources.
        reply: where tables go.
    """

    def __init__(
        self, declared: Mapping[str, str | None], inputs: Collection[str], reply: Reply
    ) -> None:
        self._declared = declared
        self._inputs = inputs
        self._reply = reply
        self._senders: dict[str, TableSender] = {}
        #: Seconds that writing took so far.
        self.seconds = 0.0

    def send(self, result: Any) -> list[str]:
        """Send everything that ``transform`` gave; an iterator's pieces while it makes them.

        Returns:
            The names of the tables.

        Raises:
            ScriptError: it is not tables, or they cannot be stored.
            BaseException: whatever the script raises while its pieces are taken.
        """
        if isinstance(result, Iterator):
            for piece in result:
                self._add(piece, whole=False)
                # The script makes its next piece without the last one in memory.
                del piece
        else:
            self._add(result, whole=True)
        started = monotonic()
        for name in self._declared:
            self._sender(name)
        if not self._senders:
            named_tables({}, declared=(), inputs=(), whole=False)
        for sender in self._senders.values():
            sender.close()
        self.seconds += monotonic() - started
        return list(self._senders)

    def _add(self, result: Any, *, whole: bool) -> None:
        started = monotonic()
        found = named_tables(result, declared=self._declared, inputs=self._inputs, whole=whole)
        while found:
            name = next(iter(found))
            self._sender(name).add(to_arrow(name, found.pop(name)))
        self.seconds += monotonic() - started

    def _sender(self, name: str) -> TableSender:
        if name not in self._senders:
            encoded = self._declared.get(name)
            raw = base64.b64decode(encoded) if encoded else None
            schema = pa.ipc.read_schema(pa.py_buffer(raw)) if raw else None
            self._senders[name] = TableSender(name, schema, self._reply)
        return self._senders[name]
