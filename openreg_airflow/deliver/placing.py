"""The order of steps by which a file appears at a destination once, complete and unchanged.

The file goes up under a temporary name, is verified, and is renamed without overwriting. So a
process killed anywhere in between leaves either nothing or the complete file under the final
name; the next try removes leftovers and recognises a file that is there. The rename is noted before
it is done, with the temporary name: when that name is gone, the file was delivered, also if the
receiver took it before anybody could note so. Nobody removes a file that another try could still
rename, or could have noted: a try begins by making all others at its place give way.
"""

from __future__ import annotations

import hashlib
import logging
import posixpath
import secrets
from typing import TYPE_CHECKING

from openreg_airflow.deliver import faults
from openreg_airflow.deliver.channel import NameTakenError, Outcome
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError, OpenRegError

if TYPE_CHECKING:
    from openreg_airflow.deliver.channel import (
        Parcel,
        Readable,
        RemoteFiles,
        Verify,
        WholeFiles,
    )

_SUFFIX = ".part"

log = logging.getLogger(__name__)


def place(files: RemoteFiles, parcel: Parcel, folder: str, verify: Verify) -> Outcome:
    """Bring one parcel to a remote folder.

    Args:
        files: the destination.
        parcel: the local file and the name that it gets.
        folder: remote folder; it is made when missing.
        verify: what is compared after sending, besides the size.

    Raises:
        DeliveryRefusedError: the name is taken by other content or cannot be a file's name, the
            artifact is empty, or the destination refuses.
        DeliveryError: the delivery did not finish; it may be tried again.
    """
    check_parcel(parcel)
    final = posixpath.join(folder, parcel.filename)
    if _settle(files, parcel):
        if not is_there(files, parcel, final):
            log.info("%s was delivered by an earlier try and is gone since: it was taken", final)
        return Outcome(bytes_sent=0, already_there=True)
    there = is_there(files, parcel, final)
    if not there:
        files.make_folder(folder)
    # What is listed before this try begins is of tries that can note nothing any more.
    leftovers = _leftovers(files, parcel, folder)
    parcel.journal.begin()
    for name in leftovers:
        log.info("removing %s, left behind by an interrupted try", name)
        _take_away(files, posixpath.join(folder, name))
    if there:
        return Outcome(bytes_sent=0, already_there=True)
    temporary = posixpath.join(folder, f"{_prefix(parcel)}{secrets.token_hex(6)}{_SUFFIX}")
    try:
        files.upload(parcel, temporary)
        _verify(files, parcel, temporary, verify)
    except OpenRegError:
        _tidy(files, temporary)
        raise
    try:
        parcel.journal.publishing(temporary)
    except DeliveryError:
        # Another try has begun. When the store fails it may be noted: the file stays to be found.
        _tidy(files, temporary)
        raise
    try:
        files.publish(temporary, final)
    except NameTakenError:
        # Another process published between our look and our rename.
        _withdraw(files, parcel, temporary)
        if is_there(files, parcel, final):
            return Outcome(bytes_sent=parcel.bytes, already_there=True)
        raise
    except OpenRegError:
        _withdraw(files, parcel, temporary)
        raise
    found = files.size(final)
    if found is not None and found != parcel.bytes:
        message = f"{final} has {found} bytes after renaming, sent were {parcel.bytes}"
        raise DeliveryError(message, hint="Ask the receiving side what happened to the file.")
    return Outcome(bytes_sent=parcel.bytes, already_there=False)


def look(files: RemoteFiles, parcel: Parcel, folder: str) -> str:
    """Say what placing a parcel would find and do; nothing is changed.

    Raises:
        DeliveryRefusedError: it would be refused.
        DeliveryError: the destination did not answer.
    """
    check_parcel(parcel)
    final = posixpath.join(folder, parcel.filename)
    if is_there(files, parcel, final):
        return "the same file is there already"
    if files.names(folder) is None:
        return "the folder may not be listed; the file would be sent"
    return "nothing is there under this name; the file would be sent"


def put(files: WholeFiles, parcel: Parcel, path: str, verify: Verify) -> Outcome:
    """Bring one parcel to a destination where uploads appear as a whole.

    Args:
        files: the destination.
        parcel: the local file.
        path: where it goes.
        verify: what is compared after sending, besides the size.

    Raises:
        DeliveryRefusedError: the name is taken by other content, the destination refuses, or an
            earlier try may have sent the file and nobody can tell.
        DeliveryError: the delivery did not finish; it may be tried again.
    """
    check_parcel(parcel)
    if is_there(files, parcel, path):
        return Outcome(bytes_sent=0, already_there=True)
    for earlier in parcel.journal.unsettled():
        if files.undone(earlier.temporary, path):
            parcel.journal.settle(earlier, published=False)
        elif not earlier.waived:
            raise faults.doubtful(parcel.filename, path)
    parcel.journal.begin()
    try:
        files.put(parcel, path)
    except NameTakenError:
        # Another process published between our look and our upload.
        if is_there(files, parcel, path):
            return Outcome(bytes_sent=parcel.bytes, already_there=True)
        raise
    _verify_whole(files, parcel, path, verify)
    return Outcome(bytes_sent=parcel.bytes, already_there=False)


def look_for(files: WholeFiles, parcel: Parcel, path: str) -> str:
    """Say what :func:`put` would find and do; nothing is changed."""
    check_parcel(parcel)
    if is_there(files, parcel, path):
        return "the same file is there already"
    if files.blind:
        return "the server lets nobody look; the file would be sent"
    return "nothing is there under this name; the file would be sent"


def check_parcel(parcel: Parcel) -> None:
    """Refuse what must not leave the house.

    Raises:
        DeliveryRefusedError: the file is empty, or its name would lead out of the folder.
    """
    name = parcel.filename
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        message = f"{name!r} cannot be the name of a file at a destination"
        raise DeliveryRefusedError(message, hint="Correct the artifact's filename in the spec.")
    if parcel.bytes == 0:
        message = f"{name} is empty"
        raise DeliveryRefusedError(message, hint="An empty file is no report; see the artifact.")


def is_there(files: Readable, parcel: Parcel, final: str) -> bool:
    """Whether the same content is there.

    Raises:
        DeliveryRefusedError: other content is, or it may not be compared.
    """
    size = files.size(final)
    if size is None:
        return False
    hint = "It was not overwritten. Find out what was delivered before, or change the filename."
    if size != parcel.bytes:
        message = f"{final} is there already with {size} bytes; this artifact has {parcel.bytes}"
        raise DeliveryRefusedError(message, hint=hint)
    digest = files.sha256(final)
    if digest is None:
        message = f"{final} is there already with the same size, but may not be read to compare it"
        raise DeliveryRefusedError(message, hint=hint)
    if digest != parcel.sha256:
        message = f"{final} is there already with other content of the same size: SHA-256 {digest}"
        raise DeliveryRefusedError(message, hint=hint)
    log.info("%s is there already with the same content; nothing is sent", final)
    return True


def _verify(files: RemoteFiles, parcel: Parcel, path: str, verify: Verify) -> None:
    size = files.size(path)
    if size != parcel.bytes:
        found = "is gone" if size is None else f"has {size} bytes"
        message = f"{path} {found} after sending {parcel.bytes} bytes"
        raise DeliveryError(message, hint="The destination lost part of it; it is sent again.")
    if verify == "size":
        return
    digest = files.sha256(path)
    if digest is None:
        message = f"{path} may not be read back"
        raise DeliveryRefusedError(message, hint="Set verify: size for this route.")
    if digest != parcel.sha256:
        message = f"{path} reads back with SHA-256 {digest}, sent was {parcel.sha256}"
        raise DeliveryError(message, hint="The destination changed it; it is sent again.")


def _verify_whole(files: WholeFiles, parcel: Parcel, path: str, verify: Verify) -> None:
    """Hold what arrived against what was sent, as far as the destination lets us."""
    size = files.size(path)
    if size is None and not (files.blind and verify == "content"):
        # The receiver may take it at once, or show it later or never.
        log.info("%s does not show what it took; it answered that it has it", path)
        return
    if size is not None and size != parcel.bytes:
        message = f"{path} has {size} bytes after sending {parcel.bytes} bytes"
        raise DeliveryError(message, hint="Ask the receiving side what happened to the file.")
    if verify == "content" and (digest := files.sha256(path)) != parcel.sha256:
        found = f"reads back with SHA-256 {digest}" if digest else "may not be read back"
        message = f"{path} {found}, sent was {parcel.sha256}"
        raise DeliveryRefusedError(message, hint="Set verify: size if reading is not allowed.")


def _prefix(parcel: Parcel) -> str:
    """How temporary names of one final name begin: hidden, and of the same length for all."""
    return f".openreg-{hashlib.sha256(parcel.filename.encode()).hexdigest()[:12]}-"


def _leftovers(files: RemoteFiles, parcel: Parcel, folder: str) -> list[str]:
    """What interrupted tries at the same final name left behind."""
    names = files.names(folder)
    if names is None:
        log.warning("folder %s may not be listed: leftovers of earlier tries may stay", folder)
        return []
    return [name for name in names if name.startswith(_prefix(parcel)) and name.endswith(_SUFFIX)]


def _settle(files: RemoteFiles, parcel: Parcel) -> bool:
    """Find out how earlier tries ended that died right around their rename.

    Their temporary file is still there if they did not rename it, and gone if they did, whatever
    the receiver has done with the file since. A try may still run: what it has not renamed yet is
    taken from it.
    """
    published = False
    for earlier in parcel.journal.unsettled():
        temporary = earlier.temporary
        renamed = temporary is not None and not (
            files.size(temporary) is not None and _take_away(files, temporary)
        )
        published |= parcel.journal.settle(earlier, published=renamed) and renamed
    return published


def _take_away(files: RemoteFiles, temporary: str) -> bool:
    """Remove a temporary file where that is allowed; False when it is gone."""
    try:
        return files.remove(temporary) is not False
    except DeliveryRefusedError as error:
        log.warning("%s stays behind: %s", temporary, error.message)
        return True


def _withdraw(files: RemoteFiles, parcel: Parcel, temporary: str) -> None:
    """Take a failed rename back, if it is certain that it did not take effect.

    When the destination does not answer, or the temporary file is gone, the next try finds out.
    """
    try:
        if files.size(temporary) is None:
            return
        parcel.journal.withdrawn()
    except OpenRegError as error:
        log.warning("the next try finds out what became of %s: %s", temporary, error.message)
        return
    _tidy(files, temporary)


def _tidy(files: RemoteFiles, temporary: str) -> None:
    """Remove our temporary file after a failure, if the destination still answers."""
    try:
        files.remove(temporary)
    except OpenRegError as error:
        log.warning("%s stays behind for the next try to remove: %s", temporary, error.message)
