"""What a channel offers: the interface that one module a protocol implements.

A third party adds a channel by a class of the shape of :class:`Channel`, registered as an entry
point of group ``openreg.channels``. A protocol that knows files, folders and renaming implements
:class:`RemoteFiles` and leaves the order of steps to :func:`openreg_airflow.deliver.placing.place`.

Every method raises :class:`~openreg_airflow.errors.DeliveryRefusedError` for what a retry cannot
mend (login, host key, permission) and :class:`~openreg_airflow.errors.DeliveryError` for what it
may (unreachable, reset, time-out, disk full). No message contains a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from openreg_airflow.errors import DeliveryRefusedError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from openreg_airflow.deliver.connection import Connection

Verify = Literal["size", "content"]


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A local file on its way: already checked against its recorded size and SHA-256.

    Attributes:
        path: where it lies.
        filename: the name that it gets at the destination.
        bytes: its size.
        sha256: lower-case hexadecimal SHA-256 of its bytes.
    """

    path: Path
    filename: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a delivery ended well.

    Attributes:
        bytes_sent: bytes that went over the line; 0 when the file was already there.
        already_there: the destination had the same bytes under the final name.
    """

    bytes_sent: int
    already_there: bool


class Session(Protocol):
    """One open connection to a destination; several parcels may go over it."""

    def deliver(self, parcel: Parcel, folder: str, verify: Verify) -> Outcome:
        """Bring one parcel to a folder, so that it is there once, complete and unchanged."""


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

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is no error."""
