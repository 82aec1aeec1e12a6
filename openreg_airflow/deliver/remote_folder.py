"""Folders at a destination, as specs name them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints


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
