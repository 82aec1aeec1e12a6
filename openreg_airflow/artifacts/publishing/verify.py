"""Holds the files of artifacts against what was recorded of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from openreg_airflow.artifacts.publishing.digest import Digest
from openreg_airflow.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.records import Artifact, FileRef
    from openreg_airflow.workspace import Workspace

State = Literal["ok", "changed"]


@dataclass(frozen=True)
class Verified:
    """One file after it was read.

    Attributes:
        filename: its name.
        uri: where it lies.
        state: ``ok`` when it is the one that was recorded.
        message: what is wrong with it.
    """

    filename: str
    uri: str
    state: State
    message: str = ""


def verify(workspace: Workspace, artifact: Artifact) -> Iterator[Verified]:
    """Read every file of an artifact, its sidecar too, and compare length and hashes."""
    for file in artifact.files:
        yield _one(workspace, file, file.filename, file.md5)
    if artifact.sidecar is not None:
        name = artifact.sidecar.uri.rsplit("/", 1)[-1]
        yield _one(workspace, artifact.sidecar, name, None)


def _one(workspace: Workspace, ref: FileRef, filename: str, md5: str | None) -> Verified:
    digest = Digest(md5=md5 is not None)
    try:
        with workspace.open_stream(ref) as file:
            while data := file.read(1 << 20):
                digest.update(data)
    except IntegrityError as error:
        return Verified(filename, ref.uri, "changed", error.message)
    found = (digest.bytes, digest.sha256, digest.md5)
    if found == (ref.bytes, ref.sha256, md5):
        return Verified(filename, ref.uri, "ok")
    message = (
        f"it has {digest.bytes} bytes and SHA-256 {digest.sha256}, "
        f"recorded were {ref.bytes} bytes and {ref.sha256}"
    )
    return Verified(filename, ref.uri, "changed", message)
