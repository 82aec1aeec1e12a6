"""The ``deliver`` section of a report spec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from openreg_airflow.section import Name, Section

#: What Airflow accepts as a connection id.
ConnectionId = Annotated[str, StringConstraints(pattern=r"^[\w#!()\-.:/\\]+$", max_length=250)]


def _no_way_up(folder: str) -> str:
    if ".." in folder.split("/"):
        message = f"{folder!r} leads out of its folder by .."
        raise ValueError(message)
    return folder


#: A folder at the destination: absolute, or below the folder that a login starts in.
RemoteFolder = Annotated[
    str,
    StringConstraints(pattern=r"^[^\\\x00-\x1f]+$", max_length=1024),
    AfterValidator(_no_way_up),
]


class RouteSpec(Section):
    """One destination and what goes there.

    Attributes:
        channel: protocol, as named among the entry points ``openreg.channels``.
        connection: Airflow connection with host, login and secrets.
        folder: folder at the destination; it is made when missing.
        artifacts: which artifacts go there; all when not given.
        timeout_seconds: longest time that the other side may keep silent.
        verify: after sending, compare the ``size`` at the destination, or read the file back and
            compare its ``content``, which costs the transfer a second time.
    """

    channel: Name = Field(description="Protocol of the destination, for example sftp.")
    connection: ConnectionId = Field(description="Airflow connection of the destination.")
    folder: RemoteFolder = Field(
        default=".", description="Folder at the destination; made when missing."
    )
    artifacts: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="Names of the artifacts to deliver; default: all."
    )
    timeout_seconds: float = Field(
        default=60, gt=0, le=3600, description="Longest silence of the other side, in seconds."
    )
    mib_per_second: float | None = Field(
        default=None,
        gt=0,
        description="The most that goes over the line, in MiB a second; default: no limit.",
    )
    verify: Literal["size", "content"] = Field(
        default="size", description="What is compared at the destination after sending."
    )


class DeliverSection(Section):
    """Where the artifacts of a report go."""

    routes: dict[Name, RouteSpec] = Field(min_length=1, description="Destinations by name.")
