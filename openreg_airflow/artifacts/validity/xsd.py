"""Holds a finished XML file against its schema: streaming, without network and without entities.

The whole document is checked, not record by record, so that constraints of the document (counts,
uniqueness) are seen too; where the schema has none, pieces of it are checked at the same time. Only
when it is invalid are the records looked at one by one, to say which it is.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from lxml import etree

from openreg_airflow.artifacts.validity import xsd_pieces
from openreg_airflow.artifacts.validity.xsd_fault import locate, not_well_formed
from openreg_airflow.artifacts.validity.xsd_schema import SAFE
from openreg_airflow.artifacts.writer import Progress
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_BLOCK = 1 << 18


def validate(
    path: Path, schema: etree.XMLSchema, record: tuple[str, ...], *, name: str | None = None
) -> int:
    """Hold a file against a schema.

    Args:
        path: the XML file.
        schema: from :func:`~openreg_airflow.artifacts.validity.xsd_schema.compile_schema`.
        record: the tags, ``{namespace}local``, from the root down to the element of one record.
        name: the record's element as it is written, where records may be checked apart from each
            other, which is faster (:func:`~openreg_airflow.artifacts.validity.xsd_pieces.separable`
            says where).

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
    log.info(
        "schema check: %s records, %s bytes valid in %.1f s", f"{records:,}", f"{size:,}", seconds
    )
    return records


def _apart(path: Path, schema: etree.XMLSchema, name: str) -> int | None:
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
