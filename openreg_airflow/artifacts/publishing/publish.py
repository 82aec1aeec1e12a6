"""Writes the files of an artifact, packs them, and publishes all of them or none."""

from __future__ import annotations

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from openreg_airflow.artifacts.filename import refuse_bad
from openreg_airflow.artifacts.order import name_of
from openreg_airflow.artifacts.publishing import metadata, packing, pgp
from openreg_airflow.artifacts.publishing.digest import Digest
from openreg_airflow.errors import ArtifactError, IntegrityError, OpenRegError
from openreg_airflow.records import ArtifactFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from openreg_airflow.artifacts.order import Order
    from openreg_airflow.artifacts.parts import Part
    from openreg_airflow.artifacts.writer import Page
    from openreg_airflow.records import Artifact
    from openreg_airflow.store_records import Allocation
    from openreg_airflow.workspace import Pending, StageFolder

    #: Writes the document of a part: its tables go into a folder, its hashes into a digest.
    Write = Callable[[Part, Page, Path, Path, Digest], str]

R = TypeVar("R")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Written:
    """A file that is written and waits to be published; ``file.uri`` is not known yet."""

    file: ArtifactFile
    pending: Pending


def files(
    order: Order,
    given: Allocation,
    artifact: Artifact,
    pages: list[tuple[Part, Page]],
    *,
    write: Write,
    scratch: Path,
) -> Artifact:
    """Write all files of an artifact and publish them together.

    Args:
        order: the artifact.
        given: its version and numbers.
        artifact: its record as far as it is known.
        pages: its parts.
        write: writes the document of a part.
        scratch: local folder for what is in between.

    Raises:
        ArtifactError: a file cannot be written or packed, or two would have the same name.
    """
    sequence = order.spec.sequence
    artifact = artifact.model_copy(
        update={
            "version": given.version,
            "numbers": given.numbers,
            "sequence": sequence.name if sequence else None,
            "metadata": artifact.metadata
            | {"replaces": given.replaces.model_dump(mode="json") if given.replaces else None},
        }
    )
    names = [order.spec.package.names(name_of(order, page)) for _, page in pages]
    _refuse_alike(order, [name for each in names for name in each])
    folder = _folder(order)
    with ExitStack() as publishing:
        pendings = [
            [publishing.enter_context(folder.writing(name)) for name in each] for each in names
        ]

        def one(place: int) -> tuple[str, list[_Written]]:
            part, page = pages[place]
            own = scratch / f"part-{part.number}"
            own.mkdir()
            try:
                return _part(order, part, page, pendings=pendings[place], write=write, own=own)
            except OpenRegError as error:
                if len(pages) > 1:
                    where = f"part {part.number} of {len(pages)}"
                    error.where = f"{where}, {error.where}" if error.where else where
                raise
            finally:
                shutil.rmtree(own, ignore_errors=True)

        done = _each(one, len(pages), order.threads)
        checks = sorted({check for check, _ in done})
        artifact = artifact.model_copy(update={"schema_check": "; ".join(checks)})
        return _publish(publishing, folder, artifact, [w for _, each in done for w in each])


def _each(one: Callable[[int], R], count: int, threads: int) -> list[R]:
    """Do something for each place, some at a time; the first failure ends all of it."""
    if threads <= 1:
        return [one(place) for place in range(count)]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting = [pool.submit(one, place) for place in range(count)]
        try:
            return [each.result() for each in waiting]
        finally:
            pool.shutdown(cancel_futures=True)


def keys_of(order: Order) -> dict[str, list[str]]:
    """The fingerprints of the PGP keys that its files are packed with, by connection.

    Raises:
        ArtifactError: a connection or its key is missing, or GnuPG is.
    """
    package = order.spec.package
    used = {each.connection for each in (package.encrypt, package.sign) if each is not None}
    return {name: pgp.fingerprints(order.keys(name)) for name in sorted(used)}


def earlier(order: Order, given: Allocation, keys: dict[str, list[str]]) -> Artifact | None:
    """The files that the same content got before, where packing it again would change them.

    PGP takes random keys: a second encryption would be another file under the same name. But what
    was packed with keys that were replaced since may be what its receiver cannot open.

    Args:
        order: the artifact.
        given: its version, and who finished it before.
        keys: those that it would be packed with now.
    """
    before = given.finished
    if before is None or order.spec.package.repeatable:
        return None
    if before.metadata.get("keys", keys) != keys:
        log.warning("artifact %s is packed again: its PGP keys were replaced", order.name)
        return None
    folder = _folder(order)
    try:
        with ExitStack() as stack, ExitStack() as publishing:
            written = []
            for file in before.files:
                path = stack.enter_context(order.workspace.open_local(file))
                pending = publishing.enter_context(folder.writing(file.filename))
                shutil.copyfile(path, pending.path)
                pending.written = (file.bytes, file.sha256)
                written.append(_Written(file, pending))
            told = before.metadata | {"run": order.run.run_id}
            artifact = before.model_copy(update={"metadata": told})
            log.info("artifact %s has the same content as before: its files stay", order.name)
            return _publish(publishing, folder, artifact, written)
    except IntegrityError as error:
        log.warning("artifact %s is packed again: %s", order.name, error.message)
        return None


def _publish(
    publishing: ExitStack, folder: StageFolder, artifact: Artifact, written: list[_Written]
) -> Artifact:
    """Write the sidecar and let everything appear; the files' places are known only then."""
    artifact = artifact.model_copy(update={"files": tuple(each.file for each in written)})
    side = publishing.enter_context(folder.writing(sidecar_name(artifact.name)))
    side.path.write_bytes(metadata.sidecar(artifact))
    tags = metadata.tags(artifact)
    for pending in (side, *(each.pending for each in written)):
        pending.tags = tags
    publishing.close()
    finished = tuple(each.file.model_copy(update=dict(each.pending.ref)) for each in written)
    return artifact.model_copy(update={"files": finished, "sidecar": side.ref})


def sidecar_name(artifact: str) -> str:
    """The name of the file that tells an artifact's metadata."""
    return f"{artifact}.metadata.json"


def _part(
    order: Order,
    part: Part,
    page: Page,
    *,
    pendings: list[Pending],
    write: Write,
    own: Path,
) -> tuple[str, list[_Written]]:
    """Write, pack, sign and sum up one file."""
    package = order.spec.package
    name = name_of(order, page)
    names = package.names(name)
    md5 = "md5" in package.checksums
    document, main = Digest(md5=md5), pendings[0]
    packed = package.compress is not None or package.encrypt is not None
    target = own / "document" if packed else main.path
    check = write(part, page, own, target, document)
    digest = document
    if packed:
        digest = Digest(md5=md5)
        packing.pack(package, target, name, main.path, keys=order.keys, digest=digest)
    digests = [digest]
    if package.sign is not None:
        digests.append(Digest())
        key = order.keys(package.sign.connection)
        pgp.sign(main.path, names[0], pendings[1].path, key, digests[1], armor=package.sign.armor)
    for kind, pending in zip(package.checksums, pendings[len(digests) :], strict=True):
        line = packing.checksum_line(digest, kind, names[0])
        pending.path.write_bytes(line)
        digests.append(Digest())
        digests[-1].update(line)
    signed = package.sign is not None
    written = []
    for place, (pending, each) in enumerate(zip(pendings, digests, strict=True)):
        pending.written = (each.bytes, each.sha256)
        role = "report" if place == 0 else "signature" if signed and place == 1 else "checksum"
        file = ArtifactFile(
            uri=names[place],
            bytes=each.bytes,
            sha256=each.sha256,
            filename=names[place],
            part=part.number,
            records=part.records if place == 0 else 0,
            role=role,
            md5=each.md5,
            document_sha256=document.sha256 if packed and place == 0 else None,
        )
        written.append(_Written(file, pending))
    return check, written


def _folder(order: Order) -> StageFolder:
    return order.workspace.folder(order.run, "artifact", order.name)


def _refuse_alike(order: Order, names: Iterable[str]) -> None:
    """Make sure that no two files would have the same name, on any file system."""
    seen = {sidecar_name(order.name).casefold()}
    where = f"artifact {order.name}"
    for name in names:
        try:
            refuse_bad(name)
        except ValueError as error:
            raise ArtifactError(str(error), where=where) from error
        if name.casefold() in seen:
            message = f"two files would have the name {name}"
            raise ArtifactError(message, where=where, hint="Tell them apart in filename: {part}.")
        seen.add(name.casefold())
