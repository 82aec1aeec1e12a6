"""XML documents, read back record by record."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from lxml import etree

from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openreg_airflow.validate.finished.records import RecordWriter
    from openreg_airflow.validate.finished.spec import ReadBack

#: Bytes that are parsed at a time, and after how many such pieces there must be a root.
_PIECE = 1 << 20
_PIECES_TO_ROOT = 16


def read_xml(
    stream: IO[bytes], name: str, reading: ReadBack, into: RecordWriter
) -> tuple[int, dict[str, str | None]]:
    """Read a document; of it little more than :data:`_PIECE` is held at a time.

    Args:
        stream: its bytes.
        name: of the file.
        reading: where records and fields are.
        into: takes the records.

    Returns:
        The number of records, and the values of the document itself.

    Raises:
        ArtifactError: it is not well-formed, or its root is another one.
    """
    document = _Document(name, reading, into)
    parser = etree.XMLPullParser(
        events=("start", "end"),
        tag=document.tags,
        resolve_entities=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        for number, piece in enumerate(iter(lambda: stream.read(_PIECE), b"")):
            parser.feed(piece)
            document.take(parser.read_events())
            if number > _PIECES_TO_ROOT:
                document.require_root()
            document.prune()
        parser.close()
        document.take(parser.read_events())
    except etree.XMLSyntaxError as error:
        message = f"{name} is not well-formed: {error}"
        raise ArtifactError(message) from error
    document.require_root()
    return document.end(), document.values


class _Document:
    """What is known of a document while it is parsed."""

    def __init__(self, name: str, reading: ReadBack, into: RecordWriter) -> None:
        self._name = name
        self._record = tuple((reading.record or "").split("/"))
        self._fields = {field: _finder(path) for field, path in reading.fields.items()}
        self._wanted: dict[tuple[str, ...], list[tuple[str, str | None]]] = {}
        for field, path in reading.document.items():
            steps, _, last = path.partition("@")
            self._wanted.setdefault(tuple(steps.strip("/").split("/")), []).append(
                (field, last or None)
            )
        self._root: etree._Element | None = None
        self._records = into.of_file(name, list(self._fields))
        self.values: dict[str, str | None] = dict.fromkeys(reading.document)
        #: The names that the parser is to tell of.
        self.tags = [
            f"{{*}}{tag}"
            for tag in {self._record[0], self._record[-1], *(way[-1] for way in self._wanted)}
        ]

    def take(self, events: Iterable[Any]) -> None:
        """Take the elements that have begun and ended."""
        for event, element in events:
            if event == "start":
                if self._root is None and element.getparent() is None:
                    self._root = element
                continue
            here = _place(element)
            for field, attribute in self._wanted.get(here, ()):
                if self.values[field] is None:
                    self.values[field] = element.get(attribute) if attribute else _text_of(element)
            if here == self._record:
                self._records.add([find(element) for find in self._fields.values()])

    def prune(self) -> None:
        """Drop what has ended above the depth of a record's fields."""
        node = self._root
        for _ in self._record[1:]:
            if node is None or not len(node):
                return
            del node[:-1]
            node = node[-1]

    def require_root(self) -> None:
        """Refuse a document of another kind.

        Raises:
            ArtifactError: its root has not the name that the records' path begins with.
        """
        if self._root is None:
            message = f"the root of {self._name} is not {self._record[0]}"
            raise ArtifactError(message)

    def end(self) -> int:
        """Hand on the last records; give the number of all."""
        return self._records.end()


def _place(element: etree._Element) -> tuple[str, ...]:
    """The local names from the root to an element."""
    steps = []
    node: etree._Element | None = element
    while node is not None:
        steps.append(str(node.tag).rpartition("}")[2])
        node = node.getparent()
    return tuple(reversed(steps))


def _finder(path: str) -> Callable[[etree._Element], str | None]:
    """What finds a field in a record: a path of elements, perhaps with an attribute at its end."""
    steps, _, attribute = path.rpartition("@")
    elements = (steps if attribute and "@" in path else path).strip("/")
    way = "/".join(f"{{*}}{step}" for step in elements.split("/")) if elements else "."

    def find(record: etree._Element) -> str | None:
        element = record if way == "." else record.find(way)
        if element is None:
            return None
        return element.get(attribute) if "@" in path else _text_of(element)

    return find


def _text_of(element: etree._Element) -> str | None:
    text = (element.text or "").strip()
    return text or None
