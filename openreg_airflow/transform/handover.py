"""The ways of the input files into a container: by mounting them, or through the engine's API."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from docker import APIClient
    from docker.types import Mount

#: Where a script's inputs lie inside, as ``SOURCE.parquet``.
FOLDER = "/openreg"
_PIECE = 1 << 20


def inside(source: str) -> str:
    """The path of a source's file in the container."""
    return f"{FOLDER}/{source}.parquet"


def bound(inputs: Mapping[str, Path]) -> list[Mount]:
    """Mounts of the files themselves, read-only; for an engine on this machine."""
    from docker.types import Mount

    return [
        Mount(
            target=inside(source),
            source=str(path.resolve()),
            type="bind",
            read_only=True,
            propagation="rprivate",
        )
        for source, path in inputs.items()
    ]


def copied(
    client: APIClient,
    image: str,
    inputs: Mapping[str, Path],
    *,
    volume: str,
    labels: dict[str, str],
) -> list[Mount]:
    """Copy the files into a new volume, and give its read-only mount.

    Only a container can be copied into, and one with a read-only root only through a volume that
    it may write: so another one, which is never started, takes the copies.

    Args:
        client: the engine.
        image: image of the container that takes the copies.
        inputs: files by source.
        volume: the volume's name; removing it is up to the caller, whatever happens here.
        labels: for the volume and the container.
    """
    from docker.types import Mount

    client.create_volume(volume, labels=labels)
    writable = Mount(target=FOLDER, source=volume, type="volume")
    loader = client.create_container(
        image,
        command=["true"],
        labels=labels,
        host_config=client.create_host_config(
            mounts=[writable], network_mode="none", cap_drop=["ALL"]
        ),
    )
    try:
        client.put_archive(loader["Id"], FOLDER, _archive(inputs))
    finally:
        client.remove_container(loader["Id"], force=True)
    return [Mount(target=FOLDER, source=volume, type="volume", read_only=True)]


def _archive(inputs: Mapping[str, Path]) -> Iterator[bytes]:
    """A tar archive in pieces, so that no file is ever held as a whole."""
    for source, path in inputs.items():
        entry = tarfile.TarInfo(f"{source}.parquet")
        entry.size = path.stat().st_size
        entry.mode = 0o444
        yield entry.tobuf(tarfile.GNU_FORMAT)
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
        yield bytes(-entry.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
