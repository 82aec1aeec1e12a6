"""Finds the schema file of an artifact, or says what is missing and where it belongs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from openreg_airflow.artifacts.spec_base import SchemaFile
    from openreg_airflow.artifacts.writer import Job

log = logging.getLogger(__name__)
VALID = "valid"
NO_SCHEMA = "not checked: the spec names no schema"


def find(name: str, folders: Iterable[Path]) -> Path | None:
    """The first of the folders' files of that name."""
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def for_job(spec: SchemaFile, job: Job) -> tuple[Path | None, str]:
    """The schema's file, and what to say of the check: that it passed, or why there is none.

    Raises:
        ArtifactError: the schema is required and is in none of the folders.
    """
    return look_up(spec.file, job, required=spec.required)


def look_up(name: str, job: Job, *, required: bool) -> tuple[Path | None, str]:
    """The same of a file that is named alone."""
    folders = (job.folder, *job.schema_folders)
    if path := find(name, folders):
        return path, VALID
    looked = ", ".join(str(folder) for folder in folders)
    places = " or ".join(str(folder) for folder in folders)
    advice = (
        f"Get {name} from the authority that defines the format and put it into {places}; "
        "[openreg] schema_folders may name further folders."
    )
    if required:
        message = f"schema {name} was not found in {looked}"
        raise ArtifactError(message, where=f"artifact {job.artifact}", hint=advice)
    log.warning("%s", advice)
    return None, f"not checked: {name} was not found in {looked}"
