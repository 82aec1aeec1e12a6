"""What made a run's tables, as a small file beside them: for whoever asks years later."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from openreg_airflow import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.records import Dataset
    from openreg_airflow.transform.job import Job
    from openreg_airflow.workspace import StageFolder

FILE_NAME = "sandbox.json"


def write(
    folder: StageFolder,
    job: Job,
    *,
    image: str | None,
    inputs: Mapping[str, Dataset],
    tables: Mapping[str, Dataset],
) -> None:
    """Write ``sandbox.json``; the same run gives the same bytes.

    Args:
        folder: where the tables are.
        job: what ran.
        image: digest of the image; None when it ran without a fence.
        inputs: the extracted tables by source.
        tables: what the script made.
    """
    content: dict[str, Any] = {
        **job.run.model_dump(mode="json"),
        "openreg": __version__,
        "image": image,
        "unfenced": None if image else {"python": platform.python_version(), **_libraries()},
        "script": {"name": job.spec.script, "sha256": sha256(job.source)},
        "transform": job.spec.model_dump(mode="json"),
        "transform_sha256": sha256(job.source, job.spec.model_dump_json()),
        "inputs": {name: _facts(dataset) for name, dataset in inputs.items()},
        "tables": {name: _facts(dataset) for name, dataset in tables.items()},
    }
    if job.mappings:
        content["mappings"] = {
            name: one.snapshot.model_dump(
                mode="json", include={"set_id", "version", "known_at", "rows", "bytes", "sha256"}
            )
            for name, one in job.mappings.items()
        }
    with folder.writing(FILE_NAME) as pending:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        pending.path.write_text(text + "\n", encoding="utf-8")


def sha256(*texts: str) -> str:
    """SHA-256 over texts as UTF-8, each after its length."""
    digest = hashlib.sha256()
    for text in texts:
        raw = text.encode("utf-8", errors="surrogatepass")
        if len(texts) > 1:
            digest.update(f"{len(raw)}\n".encode())
        digest.update(raw)
    return digest.hexdigest()


def _facts(dataset: Dataset) -> dict[str, Any]:
    return {"rows": dataset.rows, "bytes": dataset.bytes, "sha256": dataset.sha256}


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in ("pandas", "pyarrow", "numpy")}
