"""Reading XML piece by piece, without a tree, entities, DTDs or network.

Only what was asked for is kept, and only until it was looked at: what a foreign or broken file
holds besides takes no memory, however large it is.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lxml import etree

from openreg_airflow.deliver.acknowledgement.feedback import FeedbackError
from openreg_airflow.deliver.acknowledgement.parsers.packing import refuse_packed
from openreg_airflow.deliver.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_BLOCK = 1 << 18
#: What one record may have: elements, and characters of text.
_MOST_ELEMENTS = 10_000
_MOST_TEXT = 1 << 20
_DEEPEST = 256
_KEPT = "Ask the authority for it again; it is kept."


@dataclass(slots=True)
class Piece:
    """An element that was asked for, with all that is in it.

    Attributes:
        name: its local name.
        above: the local names of the elements around it, the document's first.
        text: what stands before its first child.
    """

    name: str
    namespace: str
    above: tuple[str, ...] = ()
    text: str = ""
    children: list[Piece] = field(default_factory=list)


def pieces(
    path: Path, whole: Collection[str], ends: Collection[str] = frozenset()
) -> Iterator[Piece]:
    """The pieces of some local names, in the order of their ends.

    Args:
        path: the file.
        whole: names of elements that are wanted with all that is in them; inside of one no other
            is looked for.
        ends: names of elements whose ends are wanted; such a piece has no text and no children.

    Raises:
        FeedbackError: the file is packed, not well-formed, has a document type (entity bombs need
            one), or a piece of it is larger than a record can be.
    """
    refuse_packed(path)
    target = _Target(path.name, frozenset(whole), frozenset(ends))
    given: Any = target
    parser = etree.XMLParser(
        target=given, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    progress, done = Progress(f"read {path.name}", path.stat().st_size), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            with _malformed(path):
                parser.feed(block)
            yield from target.found()
            done += len(block)
            progress.reached(done)
    with _malformed(path):
        parser.close()
    yield from target.found()


def child(piece: Piece, path: str) -> Piece | None:
    """The first piece below at a path of local names, such as ``Sts/Cd``."""
    found: Piece | None = piece
    for name in path.split("/"):
        found = next((c for c in found.children if c.name == name), None) if found else None
    return found


def text_at(piece: Piece, path: str) -> str | None:
    """The text of a piece below; None when there is none."""
    found = child(piece, path)
    return found.text.strip() or None if found is not None else None


def children(piece: Piece, name: str) -> list[Piece]:
    """The pieces right below of a local name."""
    return [c for c in piece.children if c.name == name]


class _Target:
    """What the parser tells of the file."""

    def __init__(self, name: str, whole: frozenset[str], ends: frozenset[str]) -> None:
        self._name = name
        self._whole = whole
        self._ends = ends
        self._path: list[str] = []
        self._open: list[Piece] = []
        self._elements = self._text = 0
        self._found: list[Piece] = []

    def found(self) -> list[Piece]:
        """The pieces that were finished since it was asked last."""
        found, self._found = self._found, []
        return found

    def doctype(self, *_: str | None) -> None:
        message = f"{self._name} has a document type, which is never read"
        raise FeedbackError(message, hint="Ask the authority; it is kept.")

    def start(self, tag: str, _attributes: object) -> None:
        namespace, name = _parts(tag)
        if len(self._path) >= _DEEPEST:
            message = f"{self._name} has elements more than {_DEEPEST} deep"
            raise FeedbackError(message, hint=_KEPT)
        if self._open:
            piece = Piece(name, namespace)
            self._open[-1].children.append(piece)
            self._open.append(piece)
            self._elements += 1
            if self._elements > _MOST_ELEMENTS:
                self._too_large()
        elif name in self._whole:
            self._open.append(Piece(name, namespace, tuple(self._path)))
            self._elements = self._text = 0
        self._path.append(name)

    def end(self, tag: str) -> None:
        self._path.pop()
        if self._open:
            piece = self._open.pop()
            if not self._open:
                self._found.append(piece)
            return
        namespace, name = _parts(tag)
        if name in self._ends:
            self._found.append(Piece(name, namespace, tuple(self._path)))

    def data(self, text: str) -> None:
        if self._open and not self._open[-1].children:
            self._open[-1].text += text
            self._text += len(text)
            if self._text > _MOST_TEXT:
                self._too_large()

    def close(self) -> None:
        """Nothing is handed over at the end."""

    def _too_large(self) -> None:
        message = (
            f"{self._name} has a {self._open[0].name} of more than {_MOST_ELEMENTS} elements or "
            f"{_MOST_TEXT} characters"
        )
        raise FeedbackError(message, hint=_KEPT)


@lru_cache(maxsize=1000)
def _parts(tag: str) -> tuple[str, str]:
    namespace, _, name = tag.rpartition("}")
    return namespace[1:], name


@contextmanager
def _malformed(path: Path) -> Iterator[None]:
    try:
        yield
    except etree.XMLSyntaxError as error:
        message = f"{path.name} is not well-formed XML: {error.msg}"
        raise FeedbackError(message, hint=_KEPT) from error
