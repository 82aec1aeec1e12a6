"""From a report's folder to its checked spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dag_factory.finding import Finding, InvalidSpecError
from dag_factory.names import OtherNames, UnknownName, other_names, unknown_names
from dag_factory.report import ReportSpec
from openreg_airflow import yaml_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The name of the spec in a report's folder.
FILE_NAME = "report.yaml"
_MAX_BYTES = 1 << 20


def load(folder: Path) -> ReportSpec:
    """Read and check the spec of one report; nothing else in the folder is touched.

    Args:
        folder: the report's folder; its name must be the report's id.

    Raises:
        InvalidSpecError: with every fault of the spec and its line.
    """
    file = folder / FILE_NAME
    text = _read(file, folder.name)
    try:
        data = yaml_source.parse(text)
    except yaml_source.YamlError as error:
        message = f"not readable YAML: {error.message}"
        finding = Finding(file, error.line, error.column, message, error.hint)
        raise InvalidSpecError([finding], report=folder.name) from error
    if not isinstance(data, dict):
        finding = Finding(
            file,
            1,
            1,
            "the spec is empty" if data is None else "a mapping (key: value) was expected",
            "`openreg new` writes a working report to start from.",
        )
        raise InvalidSpecError([finding], report=folder.name)
    return _validate(data, file, text)


def _validate(data: dict[str, Any], file: Path, text: str) -> ReportSpec:
    name = file.parent.name
    try:
        spec = ReportSpec.model_validate(data)
    except ValidationError as error:
        from dag_factory.explain import findings

        raise InvalidSpecError(findings(error, file, text), report=name) from error
    if spec.id != name:
        place = yaml_source.Places(text).of(["id"])
        finding = Finding(
            file,
            place.line,
            place.column,
            f"id: {spec.id!r} is not the folder's name {name!r}",
            "Name the folder and the report alike: a Dag is found by its folder.",
        )
        raise InvalidSpecError([finding], report=name)
    if unknown := unknown_names(spec):
        places = yaml_source.Places(text)
        raise InvalidSpecError([_name(u, file, places) for u in unknown], report=name)
    if others := other_names(spec):
        places = yaml_source.Places(text)
        raise InvalidSpecError([_other(o, file, places) for o in others], report=name)
    return spec


def _name(unknown: UnknownName, file: Path, places: yaml_source.Places) -> Finding:
    place = places.of(unknown.keys)
    dotted = ".".join(str(key) for key in unknown.keys)
    message = f"{dotted}: there is no {unknown.kind} {unknown.name!r}"
    return Finding(file, place.line, place.column, message, f"There are: {unknown.known}.")


def _other(other: OtherNames, file: Path, places: yaml_source.Places) -> Finding:
    place = places.of(other.keys)
    message = f"{'.'.join(other.keys)}: {other.fault}"
    return Finding(file, place.line, place.column, message, other.hint)


def _read(file: Path, report: str) -> str:
    try:
        raw = file.read_bytes()
        if len(raw) > _MAX_BYTES:
            finding = Finding(file, 1, 1, f"the spec has {len(raw)} bytes; at most 1 MiB is read")
            raise InvalidSpecError([finding], report=report)
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        finding = Finding(file, line, 1, "not UTF-8 text", "Save the file as UTF-8.")
        raise InvalidSpecError([finding], report=report) from error
    except OSError as error:
        reason = (
            "there is no report.yaml" if isinstance(error, FileNotFoundError) else error.strerror
        )
        finding = Finding(file, 1, 1, str(reason), "Add it, or remove the folder.")
        raise InvalidSpecError([finding], report=report) from error


def report_folders(root: Path) -> Iterator[Path]:
    """The folders below ``root`` that stand for a report, in the order of their names.

    Hidden folders and those that start with an underscore are left to their owners.
    """
    for path in sorted(root.iterdir()):
        if path.is_dir() and path.name[0] not in "._":
            yield path
