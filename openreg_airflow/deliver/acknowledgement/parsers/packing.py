"""Telling files that are packed, encrypted or empty from feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.feedback import FeedbackError

if TYPE_CHECKING:
    from pathlib import Path

#: How such files begin. Sources: RFC 1952, RFC 4880 (6.2), RFC 8878, and the formats' own notes.
_PACKED = {
    b"\x1f\x8b": "is compressed with gzip",
    b"PK\x03\x04": "is a ZIP archive",
    b"PK\x05\x06": "is a ZIP archive",
    b"BZh": "is compressed with bzip2",
    b"\xfd7zXZ\x00": "is compressed with xz",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd",
    b"-----BEGIN PGP": "is encrypted or signed with PGP",
}
#: First bytes of binary OpenPGP packets: session keys, signatures, literal and packed data. Their
#: version or kind follows as a byte that no text has.
_PGP = frozenset(
    b"\x84\x85\x86\x88\x89\x8a\x8c\x8d\x8e\x90\xa0\xa1\xa2\xa3\xc1\xc2\xc3\xc4\xc8\xcb\xd2"
)
_CONTROL = frozenset(range(32)) - frozenset(b"\t\r\n")
_UNPACK = (
    "Ask the authority for plain files, or install a parser that unpacks them. The file is kept."
)


def refuse_packed(path: Path, *, text: bool = False) -> None:
    """See that a file can be feedback by how it begins.

    Args:
        path: the file.
        text: it may be text in any encoding, and PGP's bytes are not looked for.

    Raises:
        FeedbackError: it is packed, encrypted or empty.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        message = f"{path.name} is empty"
        raise FeedbackError(message, hint="Once there is more in it, it is read.")
    said = next((said for begins, said in _PACKED.items() if head.startswith(begins)), None)
    if said is None and not text and head[0] in _PGP and _CONTROL & set(head):
        said = "is encrypted or signed with PGP"
    if said is not None:
        message = f"{path.name} {said}, and feedback is read as it is"
        raise FeedbackError(message, hint=_UNPACK)
