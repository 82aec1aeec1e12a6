"""XML documents, read back record by record."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from lxml import etree

from openreg_airflow.errors import ArtifactError
from openreg_airflow.validate.finished.records import BATCH, transposed

if TYPE_CHECKING:
    from collections.abc import Callable

    from openreg_airflow.validate.finished.records import RecordWriter
    from openreg_airflow.validate.finished.spec import ReadBack


def read_xml(
    stream: IO[bytes], name: str, reading: ReadBack, into: RecordWriter
) -> tuple[int, dict[str, str | None]]:
    """Read a document; of it one record is held at a time.

    Args:
        stream: its bytes.
        name: of the file.
        reading: where records and fields are.
        into: takes the records.

    Returns:
        The number of records, and the values of the document itself.

    Raises:
        ArtifactError: it is not well-formed.
    """
    record = tuple((reading.record or "").split("/"))
    wanted: dict[tuple[str, ...], list[tuple[str, str | None]]] = {}
    for field, path in reading.document.items():
        steps, _, last = path.partition("@")
        wanted.setdefault(tuple(steps.strip("/").split("/")), []).append((field, last or None))
    fields = {field: _finder(path) for field, path in reading.fields.items()}
    names = into.names = tuple(fields)
    found: dict[str, str | None] = dict.fromkeys(reading.document)
    place: list[str] = []
    count, batch = 0, []
    try:
        for event, element in etree.iterparse(
            stream,
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            remove_comments=True,
            remove_pis=True,
        ):
            if event == "start":
                place.append(etree.QName(element).localname)
                continue
            here = tuple(place)
            place.pop()
            for field, attribute in wanted.get(here, ()):
                if found[field] is None:
                    found[field] = element.get(attribute) if attribute else _text_of(element)
            if here == record:
                batch.append([find(element) for find in fields.values()])
                if len(batch) == BATCH:
                    into.texts(name, count + 1, names, transposed(batch, len(names)))
                    count += len(batch)
                    batch = []
            if len(here) <= len(record):
                # What is inside a record is needed until its end; all else can go.
                element.clear(keep_tail=False)
                parent = element.getparent()
                if parent is not None:
                    while element.getprevious() is not None:
                        del parent[0]
    except etree.XMLSyntaxError as error:
        message = f"{name} is not well-formed: {error}"
        raise ArtifactError(message) from error
    if batch:
        into.texts(name, count + 1, names, transposed(batch, len(names)))
    return count + len(batch), found


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
