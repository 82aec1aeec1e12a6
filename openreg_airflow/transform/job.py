"""One run of one script: what the runner is asked to do."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from openreg_airflow.column_types import arrow_type
from openreg_airflow.errors import SpecError
from openreg_airflow.transform.packages import modules
from openreg_airflow.transform.runner import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from openreg_airflow.mapping_records import MappingSnapshot, MappingUse
    from openreg_airflow.records import RunKey
    from openreg_airflow.transform.spec import TransformSection


@dataclass(frozen=True)
class MappingFile:
    """A mapping set for a script: what is recorded of its snapshot, and the file here."""

    snapshot: MappingSnapshot
    path: Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a fence needs to know.

    Attributes:
        run: the run.
        key: names the Airflow task among all tasks of all installations; attempts share it.
        spec: the report's transform section.
        source: the script's text.
        inputs: the extracted tables' Parquet files by source.
        imports: the modules that the script may import beside those of its packages, as
            :mod:`openreg_airflow.transform.runner.imports` reads them.
        mappings: the mapping sets that the script may use, by name.
        looked_up: is told what the script has looked up in them, also when it failed.
    """

    run: RunKey
    key: str
    spec: TransformSection
    source: str
    inputs: Mapping[str, Path]
    imports: Sequence[str]
    mappings: Mapping[str, MappingFile] = field(default_factory=dict)
    looked_up: Callable[[Sequence[MappingUse]], object] = lambda _: None

    @property
    def files(self) -> dict[str, Path]:
        """Every file that the script may read: its inputs, and the mapping sets."""
        return {**self.inputs, **{_file(name): one.path for name, one in self.mappings.items()}}


def _file(mapping: str) -> str:
    """The name of a set's file; no source is called like it."""
    return f"mapping-{mapping}"


def read_script(spec: TransformSection, folder: Path) -> str:
    """The text of the script that a section names.

    Args:
        spec: the section.
        folder: the report's folder.

    Raises:
        SpecError: the script is missing, cannot be read or is not UTF-8.
    """
    try:
        return (folder / spec.script).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        message = f"there is no file {spec.script}"
        raise SpecError(message, hint=f"Create it in {folder}.") from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {spec.script}: {error}"
        raise SpecError(message, hint="It must be a UTF-8 text file.") from error


def declared_schemas(spec: TransformSection) -> dict[str, pa.Schema | None]:
    """The declared columns of each declared table; None for one without declared columns."""
    import pyarrow as pa

    return {
        name: pa.schema([(column, arrow_type(kind)) for column, kind in table.columns.items()])
        if table.columns
        else None
        for name, table in spec.tables.items()
    }


def request(
    job: Job, files: Mapping[str, Mapping[str, Any]], *, rlimits: Mapping[str, int] | None = None
) -> bytes:
    """The request that the runner reads.

    Args:
        job: the job.
        files: by source, ``path`` as the runner sees it and the ``size``, ``inode`` and
            ``mtime_ns`` it must have there, or None where that says nothing.
        rlimits: resource limits by name, for a runner outside a container.

    Raises:
        SpecError: the script is too long to send.
    """
    spec = job.spec
    content = {
        "report_id": job.run.report_id,
        "run_id": job.run.run_id,
        "business_date": job.run.business_date.isoformat(),
        "parameters": {name: _parameter(value) for name, value in spec.parameters.items()},
        "script": {"name": spec.script.rsplit("/", 1)[-1], "source": job.source},
        "imports": [*job.imports, *modules(spec.packages)],
        "frames": spec.frames,
        "batch_rows": spec.batch_rows,
        "files": files,
        "mappings": {
            name: {
                "file": _file(name),
                "keys": [key.name for key in one.snapshot.keys],
                "values": [value.name for value in one.snapshot.values],
            }
            for name, one in job.mappings.items()
        },
        "tables": {
            name: base64.b64encode(schema.serialize().to_pybytes()).decode() if schema else None
            for name, schema in declared_schemas(spec).items()
        },
        "threads": max(1, math.ceil(spec.limits.cpus)),
        "rlimits": dict(rlimits or {}),
    }
    try:
        return wire.pack_request(content)
    except wire.WireError as error:
        raise SpecError(str(error), where=spec.script) from error


def file_entry(path: str, source: Path, *, same_file: bool) -> dict[str, Any]:
    """What the request says of one input.

    Args:
        path: where the runner finds it.
        source: the file here.
        same_file: whether it is the same file there and no copy.
    """
    found = source.stat()
    return {
        "path": path,
        "size": found.st_size,
        "inode": found.st_ino if same_file else None,
        "mtime_ns": found.st_mtime_ns if same_file else None,
    }


def _parameter(value: Any) -> Any:
    return {"date": value.isoformat()} if isinstance(value, date) else value
