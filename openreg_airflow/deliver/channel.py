"""What a channel offers: the interface that one module a protocol implements.

A third party adds a channel by a class of the shape of :class:`Channel`, registered as an entry
point of group ``openreg.channels``. A protocol that knows files, folders and renaming implements
:class:`RemoteFiles` and leaves the order of steps to :func:`openreg_airflow.deliver.placing.place`.

Every method raises :class:`~openreg_airflow.errors.DeliveryRefusedError` for what a retry cannot
mend (login, host key, permission) and :class:`~openreg_airflow.errors.DeliveryError` for what it
may (unreachable, reset, time-out, disk full). No message contains a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from openreg_airflow.deliver.progress import Progress
from openreg_airflow.errors import DeliveryRefusedError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from openreg_airflow.deliver.connection import Connection

#: Bytes that are sent at a time over a limited line, at the least.
_SMALLEST_BLOCK = 4096

Verify = Literal["size", "content"]


@dataclass(frozen=True, kw_only=True)
class Unsettled:
    """An earlier try of which nobody knows whether its file became visible.

    Attributes:
        key: tells the file.
        temporary: the name from which it was to be renamed; None where there is none.
        waived: a person orders the file sent, whatever became of it.
    """

    key: str
    temporary: str | None
    waived: bool = False


class Journal(Protocol):
    """What is noted of the tries at one destination, so that no death leaves a doubt.

    The step that makes a file visible to the receiver comes after :meth:`publishing`. A try that
    dies between the two leaves an unsettled entry; the next one finds out what became of it. Of
    tries that run at the same time only the one that began last comes past :meth:`publishing`.
    """

    def unsettled(self) -> tuple[Unsettled, ...]:
        """The tries at this destination whose end is not known."""

    def settle(self, earlier: Unsettled, *, published: bool) -> bool:
        """Note how an earlier try ended; True when it published this very file."""

    def begin(self) -> None:
        """See that this is the only try that goes on, before it removes what others left.

        Raises:
            DeliveryError: another one has reached its last step meanwhile.
        """

    def publishing(self, temporary: str | None) -> None:
        """Note that the next step makes this file visible.

        Raises:
            DeliveryError: a later try has begun, so that this one must not go on.
        """

    def withdrawn(self) -> None:
        """Note that the step did not take effect."""


class NoJournal:
    """Nothing is noted: for a single try, with nothing known of earlier ones."""

    def unsettled(self) -> tuple[Unsettled, ...]:
        """Nothing."""
        return ()

    def settle(self, earlier: Unsettled, *, published: bool) -> bool:  # noqa: ARG002
        """Nothing."""
        return False

    def begin(self) -> None:
        """Nothing."""

    def publishing(self, temporary: str | None) -> None:
        """Nothing."""

    def withdrawn(self) -> None:
        """Nothing."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A local file on its way: already checked against its recorded size and SHA-256.

    Attributes:
        path: where it lies.
        filename: the name that it gets at the destination.
        bytes: its size.
        sha256: lower-case hexadecimal SHA-256 of its bytes.
        journal: what is known of earlier tries at its destination, and noted of this one.
        bytes_per_second: the most that may go over the line; None for no limit.
    """

    path: Path
    filename: str
    bytes: int
    sha256: str
    journal: Journal = field(default_factory=NoJournal, repr=False)
    bytes_per_second: int | None = None

    def block(self, usual: int) -> int:
        """How many bytes to send at a time: few on a limited line, so that it never rests long."""
        if self.bytes_per_second is None:
            return usual
        return min(usual, max(self.bytes_per_second // 4, _SMALLEST_BLOCK))

    def progress(self, verb: str) -> Progress:
        """What tells how far its way is and holds it to its speed; ``verb`` such as ``sent``."""
        return Progress(
            f"{verb} {self.filename}", self.bytes, bytes_per_second=self.bytes_per_second
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a delivery ended well.

    Attributes:
        bytes_sent: bytes that went over the line; 0 when the file was already there.
        already_there: the destination had the same bytes under the final name, or had them
            before the receiver took them.
    """

    bytes_sent: int
    already_there: bool


class Session(Protocol):
    """One open connection to a destination; several parcels may go over it."""

    def deliver(self, parcel: Parcel, folder: str, verify: Verify) -> Outcome:
        """Bring one parcel to a folder, so that it is there once, complete and unchanged."""

    def look(self, parcel: Parcel, folder: str) -> str:
        """Say what delivering it would find and do; nothing is changed."""


class Channel(Protocol):
    """One protocol.

    Attributes:
        connection_types: types of Airflow connections that it understands.
    """

    connection_types: ClassVar[tuple[str, ...]]

    def destination(self, connection: Connection, folder: str, filename: str) -> str:
        """The place as a URL without credentials, for receipts and logs."""

    def open(
        self, connection: Connection, *, timeout_seconds: float
    ) -> AbstractContextManager[Session]:
        """Connect and log in; the session ends with the block.

        Args:
            connection: host, login and secrets.
            timeout_seconds: longest time that the other side may keep silent.
        """


class NameTakenError(DeliveryRefusedError):
    """A file of the final name is there already; it was not touched."""


class Readable(Protocol):
    """What is asked to find out whether a file is at a destination."""

    def size(self, path: str) -> int | None:
        """The size of a file; None when there is none."""

    def sha256(self, path: str) -> str | None:
        """Read a file and hash it; None when the server does not let us read it."""


class WholeFiles(Readable, Protocol):
    """A destination where a file is there when its upload is complete, and not before.

    Attributes:
        blind: whether the destination has refused to be asked what it has.
    """

    blind: bool

    def undone(self, temporary: str | None, path: str) -> bool:
        """Whether it is certain that an earlier try did not bring a file that is not there now.

        Args:
            temporary: what :meth:`put` noted of the try before its last step.
            path: where the file was to go.
        """

    def put(self, parcel: Parcel, path: str) -> None:
        """Upload without overwriting.

        Raises:
            NameTakenError: something is there.
        """


@runtime_checkable
class Mailbox(Protocol):
    """A session of a channel whose destination also leaves files for us."""

    def names(self, folder: str) -> list[str] | None:
        """The names in a folder; None when the server does not let us list it."""

    def size(self, path: str) -> int | None:
        """The size of a file; None when there is none."""

    def changed(self, path: str) -> str:
        """Tells a file from a later one under its name, such as the time of its last change.

        Empty where the server does not tell. It is only ever compared with what was told before.
        """

    def fetch(self, path: str, target: Path) -> None:
        """Copy a remote file to a new local one."""


class RemoteFiles(Readable, Protocol):
    """Files and folders at a destination; paths are separated by ``/``."""

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it, where they are missing."""

    def names(self, folder: str) -> list[str] | None:
        """The names in a folder; None when the server does not let us list it."""

    def upload(self, parcel: Parcel, path: str) -> None:
        """Write the parcel to a new file and, where the server can, flush it to its disk."""

    def publish(self, temporary: str, final: str) -> None:
        """Rename without overwriting.

        Raises:
            NameTakenError: ``final`` exists.
        """

    def remove(self, path: str) -> bool:
        """Remove a file; False when it was gone already."""
