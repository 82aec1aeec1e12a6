"""Finding channels: entry points of group ``openreg.channels``, one a protocol."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from openreg_airflow.deliver.channel import Channel

GROUP = "openreg.channels"


def channel_names() -> tuple[str, ...]:
    """The names of the installed channels, sorted; none of them is imported."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load_channel(name: str) -> Channel:
    """Import a channel and make one.

    Raises:
        SpecError: no such channel is installed, or it cannot be imported.
    """
    points = tuple(entry_points(group=GROUP, name=name))
    if not points:
        message = f"there is no delivery channel {name!r}"
        raise SpecError(message, hint=f"Installed are: {', '.join(channel_names()) or 'none'}.")
    try:
        channel: Channel = points[0].load()()
    except ImportError as error:
        message = f"the delivery channel {name!r} ({points[0].value}) cannot be imported: {error}"
        raise SpecError(message, hint="Install what it needs.") from error
    return channel
