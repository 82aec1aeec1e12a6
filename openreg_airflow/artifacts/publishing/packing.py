"""Packs finished files: gzip and zip that give the same bytes from the same file, and PGP."""

from __future__ import annotations

import gzip
import zipfile
from typing import TYPE_CHECKING, Protocol

from openreg_airflow.artifacts.publishing import pgp
from openreg_airflow.artifacts.publishing.digest import Digest, HashedFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openreg_airflow.artifacts.publishing.pgp import PgpKey
    from openreg_airflow.artifacts.submission_spec import PackageSpec

#: Of zlib: the best ratio that is still fast.
_LEVEL = 6
_READ = 1 << 20
#: The earliest that zip can hold: what is in the archive says when it is about, not its clock.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_READABLE = 0o100644 << 16


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


def pack(
    spec: PackageSpec,
    document: Path,
    name: str,
    target: Path,
    *,
    keys: Callable[[str], PgpKey],
    digest: Digest,
) -> None:
    """Compress a file and encrypt the result, as far as the spec asks for it.

    Args:
        spec: what to do.
        document: the finished file; what is in between is written beside it.
        name: its name, which an archive keeps.
        target: what is delivered.
        keys: gives the PGP key of an Airflow connection.
        digest: takes in what is written to ``target``.

    Raises:
        ArtifactError: a key cannot be used, or GnuPG is missing or refuses.
    """
    if spec.compress is not None:
        last = spec.encrypt is None
        packed = target if last else document.with_name(f"{document.name}.packed")
        compress = _gzip if spec.compress == "gzip" else _zip
        compress(document, name, packed, digest if last else Digest())
        document = packed
    if spec.encrypt is not None:
        key = keys(spec.encrypt.connection)
        pgp.encrypt(document, name, target, key, digest, armor=spec.encrypt.armor)


def checksum_line(digest: Digest, kind: str, name: str) -> bytes:
    """The content of a checksum file, as ``sha256sum`` and ``md5sum`` write and read it."""
    value = digest.sha256 if kind == "sha256" else digest.md5
    return f"{value}  {name}\n".encode()


def _gzip(source: Path, _name: str, target: Path, digest: Digest) -> None:
    with (
        HashedFile(target, digest) as file,
        # Neither name nor time, so that the same file gives the same bytes.
        gzip.GzipFile(
            filename="",
            mode="wb",
            compresslevel=_LEVEL,
            fileobj=file,
            mtime=0,
        ) as packed,
    ):
        _copy(source, packed)


def _zip(source: Path, name: str, target: Path, digest: Digest) -> None:
    about = zipfile.ZipInfo(name, _ZIP_TIME)
    about.compress_type = zipfile.ZIP_DEFLATED
    about.create_system = _UNIX
    about.external_attr = _READABLE
    about.file_size = source.stat().st_size
    with (
        HashedFile(target, digest) as file,
        zipfile.ZipFile(
            file,
            "w",
            zipfile.ZIP_DEFLATED,
            compresslevel=_LEVEL,
        ) as archive,
    ):
        # The level of an entry is not taken over from the archive when it is described.
        about._compresslevel = _LEVEL  # type: ignore[attr-defined]  # noqa: SLF001
        with archive.open(about, "w") as entry:
            _copy(source, entry)


def _copy(source: Path, sink: _Sink) -> None:
    with source.open("rb") as file:
        while data := file.read(_READ):
            sink.write(data)
