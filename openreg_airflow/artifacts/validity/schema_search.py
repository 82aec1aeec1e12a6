"""Finds the schema file of an artifact, or says what is missing and where it belongs."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openreg_airflow.artifacts.formats.spec_base import SchemaFile
    from openreg_airflow.artifacts.writer import Job

log = logging.getLogger(__name__)
VALID = "valid"
NO_SCHEMA = "not checked: the spec names no schema"

_ISO_20022 = re.compile(r"[a-z]{4}\.\d{3}\.\d{3}\.\d{2}")
_VARIABLES = ("OPENREG_SCHEMAS", "AIRFLOW__OPENREG__SCHEMA_FOLDERS")


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
    advice = where_to_get(name, folders)
    if required:
        message = f"schema {name} was not found in {looked}"
        raise ArtifactError(message, where=f"artifact {job.artifact}", hint=advice)
    log.warning("%s", advice)
    return None, f"not checked: {name} was not found in {looked}"
