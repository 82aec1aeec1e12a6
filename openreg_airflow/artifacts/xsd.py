"""Holds a finished XML file against its schema: streaming, without network and without entities.

The whole document is checked, not record by record, so that constraints of the document (counts,
uniqueness) are seen too; where the schema has none, pieces of it are checked at the same time. Only
when it is invalid are the records looked at one by one, to say which it is.
"""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lxml import etree

from openreg_airflow.artifacts.writer import Progress
from openreg_airflow.artifacts.xsd_fault import locate, not_well_formed
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

log = logging.getLogger(__name__)

_XS = "{http://www.w3.org/2001/XMLSchema}"
_REFERENCES = tuple(_XS + name for name in ("include", "import", "redefine", "override"))
_ISO_20022 = re.compile(r"[a-z]{4}\.\d{3}\.\d{3}\.\d{2}")
_VARIABLES = ("OPENREG_SCHEMAS", "AIRFLOW__OPENREG__SCHEMA_FOLDERS")
_BLOCK = 1 << 18
#: Nothing is ever fetched. Not ``resolve_entities=False``: together with a schema, lxml then takes
#: a file that was cut off for valid. A checked file has no document type, so it has no entities.
SAFE: dict[str, Any] = {"no_network": True, "resolve_entities": "internal", "load_dtd": False}


def find(name: str, folders: Iterable[Path]) -> Path | None:
    """The first of the folders' files of that name."""
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def where_to_get(name: str, folders: Iterable[Path]) -> str:
    """What to tell somebody whose schema file is missing: from where to get it, where to put it."""
    if message := _ISO_20022.match(name):
        source = f"the ISO 20022 message catalogue (iso20022.org, message definition {message[0]})"
    else:
        source = "the authority that defines the format"
    places = " or ".join(str(folder) for folder in folders)
    return (
        f"Get {name} from {source} and put it into {places}; "
        "[openreg] schema_folders may name further folders."
    )


def static_folders(folder: Path) -> tuple[Path, ...]:
    """Where a schema is looked for without Airflow's configuration.

    The report's own folder, those that OPENREG_SCHEMAS or AIRFLOW__OPENREG__SCHEMA_FOLDERS name,
    and ``schemas`` in the working directory.
    """
    named = [os.environ.get(name, "") for name in _VARIABLES]
    parts = [part for text in named for part in text.split(os.pathsep) if part]
    return (folder, *map(Path, parts), Path("schemas"))


def compile_together(paths: Sequence[Path], root: str) -> etree.XMLSchema:
    """Read the schemas of a document and of its envelope as one.

    Where the envelope itself has no schema among them, its elements are taken as they are, and
    those inside that a schema declares are held against it.

    Args:
        paths: the schema files.
        root: ``{namespace}local`` of the file's first element.

    Raises:
        ArtifactError: a file is not a schema, or one that it includes is not on the disk.
    """
    own, _, name = root[1:].rpartition("}") if root.startswith("{") else ("", "", root)
    targets = {path: _target(path) for path in paths}
    if len(paths) == 1 and own in targets.values():
        return compile_schema(paths[0])
    together = etree.Element(_XS + "schema", nsmap={"xs": _XS[1:-1]})
    for path, target in targets.items():
        location = path.resolve().as_uri()
        etree.SubElement(together, _XS + "import", namespace=target, schemaLocation=location)
    if own not in targets.values():
        together.set("targetNamespace", own)
        etree.SubElement(together, _XS + "element", name=name, type="xs:anyType")
    try:
        return etree.XMLSchema(together)
    except etree.XMLSchemaParseError as error:
        names = ", ".join(path.name for path in paths)
        message = f"schemas {names} cannot be used together: {error}"
        raise ArtifactError(message, hint="Each must have a namespace of its own.") from error


def _target(path: Path) -> str:
    compile_schema(path)
    root = etree.parse(path, etree.XMLParser(**SAFE)).getroot()
    return str(root.get("targetNamespace", ""))


def compile_schema(path: Path) -> etree.XMLSchema:
    """Read a schema with the files that it includes.

    Raises:
        ArtifactError: the file is not a schema, or one that it includes is not on the disk.
    """
    _refuse_missing(path, set())
    try:
        return etree.XMLSchema(etree.parse(path, etree.XMLParser(**SAFE)))
    except (etree.XMLSchemaParseError, etree.XMLSyntaxError) as error:
        message = f"schema {path.name} cannot be used: {error}"
        raise ArtifactError(
            message, where=str(path), hint="Put the original file there."
        ) from error


def _refuse_missing(path: Path, seen: set[Path]) -> None:
    seen.add(path.resolve())
    try:
        document = etree.parse(path, etree.XMLParser(**SAFE))
    except etree.XMLSyntaxError as error:
        message = f"schema {path.name} is not well-formed XML: {error}"
        raise ArtifactError(
            message, where=str(path), hint="Put the original file there."
        ) from error
    for reference in document.getroot().iterchildren(*_REFERENCES):
        location = reference.get("schemaLocation")
        if location is None:
            continue
        other = path.parent / location
        if "://" in location or not other.is_file():
            line = reference.sourceline
            message = f"schema {path.name} includes {location}, which is not on this machine"
            raise ArtifactError(
                message,
                where=f"{path}, line {line}",
                hint=f"Put the file into {path.parent} and let schemaLocation be its bare name.",
            )
        if other.resolve() not in seen:
            _refuse_missing(other, seen)


def validate(
    path: Path, schema: etree.XMLSchema, record: tuple[str, ...], *, name: str | None = None
) -> int:
    """Hold a file against a schema.

    Args:
        path: the XML file.
        schema: from :func:`compile_schema`.
        record: the tags, ``{namespace}local``, from the root down to the element of one record.
        name: the record's element as it is written, where records may be checked apart from each
            other (:func:`~openreg_airflow.artifacts.xsd_pieces.separable`), which is faster.

    Returns:
        The number of records that were checked.

    Raises:
        ArtifactError: the file is invalid; the message says record, element, line and reason.
    """
    begun = time.monotonic()
    size = path.stat().st_size
    records = _apart(path, schema, name) if name and size > _BLOCK else None
    if records is None:
        records = _whole(path, schema, record)
    seconds = time.monotonic() - begun
    log.info("schema check: %d records, %d bytes valid in %.1f s", records, size, seconds)
    return records


def _apart(path: Path, schema: etree.XMLSchema, name: str) -> int | None:
    from openreg_airflow.artifacts import xsd_pieces

    return xsd_pieces.all_valid(path, schema, name)


def _whole(path: Path, schema: etree.XMLSchema, record: tuple[str, ...]) -> int:
    parser = etree.XMLPullParser(events=("end",), tag=record[-1], schema=schema, **SAFE)
    progress = Progress("schema check", path.stat().st_size, "bytes")
    records = read = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if not read and b"<!DOCTYPE" in block:
                message = "the file has a document type, which may hide entities"
                raise ArtifactError(message, where=path.name)
            try:
                parser.feed(block)
            except etree.XMLSyntaxError as error:
                raise not_well_formed(error) from error
            # A fault shows here at once, but would be raised only at the end of the file.
            if len(parser.feed_error_log):
                reason = parser.feed_error_log[0].message
                raise locate(path, schema, record, (read, read + len(block)), reason)
            read += len(block)
            progress.at(read)
            records += _forget(parser, len(record) - 1)
    try:
        parser.close()
    except etree.XMLSyntaxError as error:
        if not len(parser.feed_error_log):
            raise not_well_formed(error) from error
        raise locate(path, schema, record, (read, read), str(error)) from error
    return records


def _forget(parser: Any, depth: int) -> int:
    """Drop the records that are read; give how many there were."""
    records = 0
    for _, element in parser.read_events():
        # An element of the same name may also stand inside a record.
        if sum(1 for _ in element.iterancestors()) != depth:
            continue
        records += 1
        element.clear()
        while (done := element.getprevious()) is not None:
            element.getparent().remove(done)
    return records
