"""What is told of an artifact beside its files: in the store, in a sidecar and as object tags."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from openreg_airflow import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.artifacts.formats.spec_base import ArtifactBase
    from openreg_airflow.artifacts.parts import Part
    from openreg_airflow.records import Artifact, Dataset, RunKey, Verdict

#: What S3 allows in a tag, and how much of it.
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9 +\-=._:/@]")
_TAG_LENGTH = 256


def content(
    spec: ArtifactBase,
    folder: Path,
    run: RunKey,
    inputs: Mapping[str, Dataset],
    parts: tuple[Part, ...],
    *,
    after: str = "",
) -> str:
    """The hash of everything that the bytes of an artifact follow from, but for its numbers.

    Args:
        spec: the artifact's section.
        folder: the report's folder; the files that the section names are part of it.
        run: report and business date; the run itself leaves no trace in a file.
        inputs: the tables that are written.
        parts: which records stand in which file.
        after: content of what it corrects: the same correction of another state is another one.
    """
    told = {
        "report": run.report_id,
        "business_date": run.business_date.isoformat(),
        "inputs": {name: table.sha256 for name, table in sorted(inputs.items())},
        "spec": _plain(spec),
        "files": named_files(spec, folder),
        "parts": [(part.first, part.records) for part in parts],
    }
    if after:
        told["after"] = after
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def named_files(spec: ArtifactBase, folder: Path) -> dict[str, str]:
    """The hashes of the report's files that a section names, such as its layout."""
    found = {}
    for text in sorted(set(_texts(_plain(spec)))):
        if "\0" in text or len(text) > _TAG_LENGTH or not text:
            continue
        path = folder / text
        if path.is_file():
            found[text] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def about(
    spec: ArtifactBase,
    folder: Path,
    run: RunKey,
    inputs: Mapping[str, Dataset],
    verdict: Verdict | None,
) -> dict[str, Any]:
    """What is known of an artifact before it is written."""
    report = folder / "report.yaml"
    told: dict[str, Any] = {
        "report": run.report_id,
        "business_date": run.business_date.isoformat(),
        "run": run.run_id,
        "software": f"openreg-airflow {__version__}",
        "spec_sha256": hashlib.sha256(report.read_bytes()).hexdigest()
        if report.is_file()
        else None,
        "spec_files": named_files(spec, folder),
        "spec": _plain(spec),
        "table": spec.table,
        "key": list(spec.key),
        "inputs": {
            name: {**table.model_dump(mode="json", include={"uri", "bytes", "sha256", "rows"})}
            for name, table in sorted(inputs.items())
        },
    }
    if verdict is not None:
        told["rules"] = {
            "rules": len(verdict.results),
            "failed_blocking": len(verdict.blocking),
            "failed_warning": len(verdict.warnings),
            "failed": {r.rule_id: r.failed for r in verdict.results if not r.passed},
        }
    return told


def sidecar(artifact: Artifact) -> bytes:
    """The metadata of a finished artifact as JSON; the same artifact gives the same bytes."""
    told = artifact.metadata | artifact.model_dump(mode="json", exclude={"metadata", "sidecar"})
    return (json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def tags(artifact: Artifact) -> dict[str, str]:
    """What an object store keeps beside each file: at most ten tags, in the letters of S3."""
    told = artifact.metadata
    rules = told.get("rules")
    values = {
        "report": told["report"],
        "business_date": told["business_date"],
        "run": told["run"],
        "artifact": artifact.name,
        "version": str(artifact.version),
        "records": str(artifact.records),
        "schema": artifact.schema_check,
        "rules": "none"
        if rules is None
        else f"{rules['rules']} rules: {rules['failed_blocking']} blocking and "
        f"{rules['failed_warning']} warning failed",
        "spec_sha256": told["spec_sha256"] or "none",
        "software": told["software"],
    }
    return {name: _NOT_IN_TAGS.sub("_", text)[:_TAG_LENGTH] for name, text in values.items()}


def _plain(spec: ArtifactBase) -> dict[str, Any]:
    # A schema refuses a file or lets it pass; it leaves no trace in it.
    plain: dict[str, Any] = spec.model_dump(mode="json", by_alias=True)
    plain.pop("schema", None)
    plain.pop("key", None)
    plain.pop("references", None)
    return plain


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
