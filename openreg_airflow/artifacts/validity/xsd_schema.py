"""Reads XML schemas, without network and without entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lxml import etree

from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_XS = "{http://www.w3.org/2001/XMLSchema}"
_REFERENCES = tuple(_XS + name for name in ("include", "import", "redefine", "override"))
#: Nothing is ever fetched. Not ``resolve_entities=False``: together with a schema, lxml then takes
#: a file that was cut off for valid. A checked file has no document type, so it has no entities.
SAFE: dict[str, Any] = {"no_network": True, "resolve_entities": "internal", "load_dtd": False}


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
