"""Finding the files that may answer in an authority's folder, and fetching the new ones."""

from __future__ import annotations

import logging
import posixpath
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.pattern import matches
from openreg_airflow.deliver.channel import Mailbox
from openreg_airflow.deliver.delivery import channel_for
from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.collect import Awaited
    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.store.acknowledgement_records import FeedbackFile

log = logging.getLogger(__name__)

#: What the last line, element or object of a whole file ends with.
_ENDS = (b"\n", b"\r", b">", b"}", b"]")
#: How long a file that ends otherwise is watched: of a CSV file that is being written nothing else
#: tells that the last word is not half of one.
_WATCH_SECONDS = 2.0
_NUMBER = re.compile(r"([0-9]+)")
_NOT_IN_NAMES = re.compile(r"[^\w.\-]")


@dataclass(frozen=True)
class FetchedAnswer:
    """A file that was fetched.

    Attributes:
        path: of the copy.
        name: as the place has it.
        changed: what tells it from others of its name there; empty when nothing does.
    """

    path: Path
    name: str
    changed: str


def fetch_answers(
    awaited: Awaited,
    connect: Callable[[str], Connection],
    scratch: Path,
    known: list[FeedbackFile],
) -> list[FetchedAnswer]:
    """The files that may answer and were not looked at before, as their names are counted.

    Args:
        awaited: what is awaited.
        connect: gives the connection of an id.
        scratch: a folder for the copies.
        known: the files that were looked at.

    Raises:
        DeliveryRefusedError: the place refuses the login, or to list the folder.
        DeliveryError: it cannot be reached just now.
        SpecError: the channel cannot fetch.
    """
    answer = awaited.answer
    spec = awaited.spec.model_copy(
        update={
            "channel": answer.channel or awaited.spec.channel,
            "connection": answer.connection or awaited.spec.connection,
        }
    )
    channel, connection = channel_for(spec, connect(spec.connection))
    seen = _looked_at(known)
    fetched: list[FetchedAnswer] = []
    with channel.open(connection, timeout_seconds=spec.timeout_seconds) as session:
        if not isinstance(session, Mailbox):
            message = f"channel {spec.channel} cannot fetch files"
            raise SpecError(message, hint="Name another channel and connection to fetch from.")
        names = session.names(answer.folder)
        if names is None:
            message = f"folder {answer.folder} may not be listed"
            raise connection.refused(fault=f"cannot fetch: {message}", hint="Ask the authority.")
        for name in _candidates(awaited, names):
            path = posixpath.join(answer.folder, name)
            size = session.size(path)
            if size is None:
                continue
            changed = session.changed(path)
            # Another file of the same name and size may have taken its place.
            told = seen.get((name, size), set())
            if told and ("" in (changed, *told) or changed in told):
                continue
            if size > answer.most_mib << 20:
                log.error("%s has %d bytes, more than most_mib allows; it stays there", name, size)
                continue
            target = scratch / f"{len(fetched)}" / local_name(name)
            target.parent.mkdir(exist_ok=True)
            session.fetch(path, target)
            if target.stat().st_size != size:
                log.warning("%s is being written just now; the next look takes it", name)
                target.unlink()
                continue
            log.info("fetched %s, %d bytes", name, size)
            fetched.append(FetchedAnswer(target, name, changed))
        return _whole(fetched, answer.folder, session)


def _whole(fetched: list[FetchedAnswer], folder: str, session: Mailbox) -> list[FetchedAnswer]:
    """The files that are not being written just now, as far as that can be told."""
    unsure = [one for one in fetched if not _ends_whole(one.path)]
    if not unsure:
        return fetched
    time.sleep(_WATCH_SECONDS)
    growing = []
    for one in unsure:
        path = posixpath.join(folder, one.name)
        if (session.size(path), session.changed(path)) != (one.path.stat().st_size, one.changed):
            log.warning("%s is being written just now; the next look takes it", one.name)
            growing.append(one)
    return [one for one in fetched if one not in growing]


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 1, 0))
        return file.read() in _ENDS


def local_name(name: str) -> str:
    """A name for the copy of a file: any file system takes it."""
    return _NOT_IN_NAMES.sub("_", name)[-150:]


def _candidates(awaited: Awaited, names: list[str]) -> list[str]:
    """The names that an answer may have, as they are counted."""
    pattern, day = awaited.answer.pattern, awaited.run.business_date
    found = [
        name
        for name in names
        if any(matches(name, pattern, file.filename, day) for file in awaited.artifact.reports)
    ]
    for name in found:
        if not _plain(name):
            log.error("%r is no name of a file that can be fetched; it stays there", name)
    return sorted(filter(_plain, found), key=_counted)


def _counted(name: str) -> list[tuple[int, int, str]]:
    """The place of a name in its order: the tenth answer is newer than the second."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _NUMBER.split(name)
    ]


def _plain(name: str) -> bool:
    """Whether a name that a server tells is that of a file in the folder it was asked for."""
    return name.isprintable() and "/" not in name and name not in (".", "..")


def _looked_at(known: list[FeedbackFile]) -> dict[tuple[str, int], set[str]]:
    """What the place told of the last change of files that were looked at, by name and size."""
    found: dict[tuple[str, int], set[str]] = {}
    for file in known:
        for name, changed in file.names.items():
            found.setdefault((name, file.bytes), set()).add(changed)
    return found
