"""Reading XML element by element, without entities, DTDs or network."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lxml import etree

from openreg_airflow.deliver.acknowledgement.feedback import FeedbackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def elements(path: Path, names: frozenset[str], record: str) -> Iterator[etree._Element]:
    """The finished elements of some local names, in the order of their ends.

    A record is emptied after it was looked at, so that memory does not grow with the file.

    Raises:
        FeedbackError: the file is not well-formed, or has a document type: entity bombs need one.
    """
    with _malformed(path), path.open("rb") as file:
        context = etree.iterparse(
            file,
            events=("end",),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
        )
        first = True
        for _, element in context:
            if first:
                if element.getroottree().docinfo.doctype:
                    message = f"{path.name} has a document type, which is never read"
                    raise FeedbackError(message, hint="Ask the authority; it is kept.")
                first = False
            if not isinstance(element.tag, str):
                continue
            if etree.QName(element).localname in names:
                yield element
                if etree.QName(element).localname == record:
                    _forget(element)


def child(element: etree._Element, path: str) -> etree._Element | None:
    """The first element below at a path of local names, such as ``Sts/Cd``."""
    found: etree._Element | None = element
    for name in path.split("/"):
        found = next((c for c in found if _named(c, name)), None) if found is not None else None
    return found


def text_at(element: etree._Element, path: str) -> str | None:
    """The text of an element below; None when there is none."""
    found = child(element, path)
    return (found.text or "").strip() or None if found is not None else None


def children(element: etree._Element, name: str) -> list[etree._Element]:
    """The elements right below of a local name."""
    return [c for c in element if _named(c, name)]


def _named(element: etree._Element, name: str) -> bool:
    return isinstance(element.tag, str) and etree.QName(element).localname == name


def _forget(element: etree._Element) -> None:
    """Empty an element, and take those before it out of the tree."""
    element.clear()
    while (before := element.getprevious()) is not None:
        parent = before.getparent()
        if parent is None:
            break
        parent.remove(before)


@contextmanager
def _malformed(path: Path) -> Iterator[None]:
    try:
        yield
    except etree.XMLSyntaxError as error:
        message = f"{path.name} is not well-formed XML: {error.msg}"
        raise FeedbackError(message, hint="Ask the authority for it again; it is kept.") from error
