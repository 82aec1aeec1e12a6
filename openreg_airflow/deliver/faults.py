"""Failures that every protocol knows: no such host, no answer, no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.errors import DeliveryError, DoubtfulDeliveryError

if TYPE_CHECKING:
    import socket

    from openreg_airflow.deliver.connection import Connection


def silent(where: str, seconds: float, doing: str) -> DeliveryError:
    """The other side did not answer in time."""
    return DeliveryError(
        f"{where} was silent for {seconds:g} s while {doing}",
        hint="It is tried again. A slow server may need a longer timeout_seconds.",
    )


def unresolved(connection: Connection, error: socket.gaierror) -> DeliveryError:
    """The host's name is unknown to the name service, now at least."""
    return DeliveryError(
        f"the name {connection.host} cannot be resolved: {error.strerror}",
        hint=f"Check the host of connection {connection.id} and the name service.",
    )


def unreachable(where: str, doing: str, error: BaseException) -> DeliveryError:
    """The connection could not be made, or broke."""
    return DeliveryError(
        f"{where} cannot be reached or dropped the connection while {doing}: {error}",
        hint="It is tried again. If it stays so, check host, port and firewall.",
    )


def doubtful(filename: str, destination: str) -> DoubtfulDeliveryError:
    """An earlier try died around its sending, and the destination does not tell what it did."""
    return DoubtfulDeliveryError(
        f"an earlier try may have sent {filename} to {destination}: it died before it could tell",
        hint="Ask the receiver. If it has the file, run openreg deliver with --already-there; if "
        "not, openreg deliver sends it again. Either wants a reason, which is kept. Then clear "
        "the task; openreg deliveries shows the commands.",
    )
