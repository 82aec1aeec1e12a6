"""Logging in to the sources and destinations of reports, to see whether a run could."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from openreg_airflow.errors import OpenRegError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dag_factory.report import ReportSpec

_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A connection, what it is for, and how the login went.

    Attributes:
        channel: the delivery channel of a destination; empty for a source.
        reports: the reports that name it.
        whole: sources, as ``report/source``, that read a whole result at once.
        said: what answered, when it went well.
        advice: what to do all the same.
        error: what is wrong; empty when nothing is.
    """

    connection: str
    kind: Literal["source", "files", "destination"]
    channel: str = ""
    reports: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    said: str = ""
    advice: str = ""
    error: str = ""
    hint: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data, for monitoring."""
        return asdict(self) | {"ok": not self.error}


def wanted(specs: Iterable[ReportSpec]) -> list[Probe]:
    """Every connection that the specs name, once for each use, in the order of their names."""
    users: dict[tuple[str, Literal["source", "files", "destination"], str], set[str]] = {}
    whole: dict[str, list[str]] = {}
    for spec in specs:
        for name, source in spec.extract.sources.items():
            if source.file is not None:
                if source.file.connection is not None:
                    key = (source.file.connection, "files", "")
                    users.setdefault(key, set()).add(spec.id)  # type: ignore[arg-type]
                continue
            users.setdefault((str(source.connection), "source", ""), set()).add(spec.id)
            if source.partition is None or source.partition.part_rows is None:
                whole.setdefault(str(source.connection), []).append(f"{spec.id}/{name}")
        for route in spec.deliver.routes.values() if spec.deliver else ():
            key = (route.connection, "destination", route.channel)
            users.setdefault(key, set()).add(spec.id)  # type: ignore[arg-type]
    return [
        Probe(
            connection=name,
            kind=kind,
            channel=channel,
            reports=tuple(sorted(reports)),
            whole=tuple(sorted(whole.get(name, ()))) if kind == "source" else (),
        )
        for (name, kind, channel), reports in sorted(users.items())
    ]


def probe(probes: Sequence[Probe], *, timeout_seconds: float) -> list[Probe]:
    """Try every connection, some at once; each gets ``timeout_seconds``.

    Returns:
        The probes in the same order, with their outcome.
    """
    found: list[Probe] = list(probes)
    places = threading.Semaphore(_AT_ONCE)

    def run(index: int) -> None:
        with places:
            found[index] = _within(probes[index], timeout_seconds)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(probes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _within(wanted: Probe, seconds: float) -> Probe:
    """Try one connection in a thread that is left behind when it hangs in its driver."""
    done: list[Probe] = []
    started = time.monotonic()
    thread = threading.Thread(
        target=lambda: done.append(_try(wanted, seconds)), name="openreg-probe", daemon=True
    )
    thread.start()
    thread.join(seconds)
    outcome = done[0] if done else replace(wanted, error=f"no answer within {seconds:g} seconds")
    return replace(outcome, seconds=round(time.monotonic() - started, 3))


def _try(wanted: Probe, seconds: float) -> Probe:
    log_in = {"source": _source, "files": _files, "destination": _destination}[wanted.kind]
    try:
        said, advice = log_in(wanted, seconds)
        return replace(wanted, said=said, advice=advice)
    except OpenRegError as error:
        where = f"{error.where}: " if error.where and error.where not in error.message else ""
        return replace(wanted, error=f"{where}{error.message}", hint=error.hint or "")
    except Exception as error:  # noqa: BLE001 - one fault must not hide the other connections'
        # The text of an error that is not ours could hold anything, a password included.
        return replace(wanted, error=f"{type(error).__name__} from the driver")


def _source(wanted: Probe, seconds: float) -> tuple[str, str]:
    from openreg_airflow.extract.connections import source_connection
    from openreg_airflow.extract.reader import READ_IN_TURN, find_reader, keeps_results

    connection = source_connection(wanted.connection)
    session = find_reader(connection.conn_type).open(
        connection, timeout_seconds=max(int(seconds), 1)
    )
    try:
        if not wanted.whole or not keeps_results(session):
            return session.server, ""
        advice = (
            "the driver keeps a whole result in memory. Queries that take rows from tables with "
            "keys are read in parts; the log names others when they are read. For those of "
            f"{', '.join(wanted.whole)}: "
        )
        return session.server, advice + READ_IN_TURN
    finally:
        session.close()


def _files(wanted: Probe, seconds: float) -> tuple[str, str]:
    from openreg_airflow.extract.connections import file_connection
    from openreg_airflow.extract.files.places import opener

    opened = opener(file_connection(wanted.connection), (), silence_seconds=seconds)
    with opened() as place:
        place.check()
        return place.server, ""


def _destination(wanted: Probe, seconds: float) -> tuple[str, str]:
    from openreg_airflow.deliver.operator import airflow_connection
    from openreg_airflow.deliver.registry import load_channel

    channel = load_channel(wanted.channel)
    connection = airflow_connection(wanted.connection)
    if connection.type not in channel.connection_types:
        fault = f"is of type {connection.type!r}, which channel {wanted.channel} cannot use"
        hint = f"Use type {' or '.join(channel.connection_types)}."
        raise connection.refused(fault=fault, hint=hint)
    connection.refuse_unsound()
    with channel.open(connection, timeout_seconds=seconds):
        return f"{wanted.channel} {connection.host}", ""
