"""What ``openreg check`` finds in the ``artifacts`` section without Airflow and without data."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from openreg_airflow.artifacts import filename
from openreg_airflow.artifacts.filename import FileNumbers
from openreg_airflow.artifacts.layouts import column_use
from openreg_airflow.artifacts.publishing.metadata import named_files
from openreg_airflow.artifacts.writer import relations, unknown_column, unsplittable, writer
from openreg_airflow.errors import ArtifactError, SpecError
from openreg_airflow.problem import Problem
from openreg_airflow.records import RunKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.artifacts.spec import ArtifactSpec
    from openreg_airflow.artifacts.writer import Writer


def check(
    spec: Mapping[str, ArtifactSpec],
    folder: Path,
    tables: Mapping[str, Mapping[str, str] | None] | None = None,
) -> Iterator[Problem]:
    """Faults of the artifacts and of the files that they name.

    Args:
        spec: the section: artifacts by name.
        folder: the report's folder.
        tables: the declared types of the columns by table; None where they are not declared.
    """
    names: dict[str, str] = {}
    for place, (name, artifact) in enumerate(spec.items()):
        writes = writer(artifact.format)
        faults = [replace(p, keys=(name, *p.keys)) for p in writes.check(artifact, folder)]
        yield from faults
        if not faults:
            yield from _parts(name, artifact, folder)
        wrong = _columns(writes, artifact, folder, tables, readable=not faults)
        yield from (replace(p, keys=(name, *p.keys)) for p in wrong)
        if not faults:
            yield from _references(name, artifact, folder, tables)
        yield from _numbers(name, artifact, folder)
        for sample in _sample_names(name, artifact, folder, place):
            if (other := names.setdefault(sample.casefold(), name)) != name:
                message = f"artifacts {other} and {name} would have the same file name"
                hint = "Put {artifact} into the name."
                yield Problem(message=message, hint=hint, keys=(name, "filename"))
                break


def _columns(
    writes: Writer,
    artifact: ArtifactSpec,
    folder: Path,
    tables: Mapping[str, Mapping[str, str] | None] | None,
    *,
    readable: bool,
) -> list[Problem]:
    """Columns that declared tables do not have, also where a layout has faults by its schema."""
    uses = getattr(writes, "uses", None)
    if not uses or not tables:
        return []
    try:
        return column_use.faults(uses(artifact, folder), tables)
    except (SpecError, ArtifactError):
        if readable:
            raise
        return []  # a layout that cannot be read, of which the faults are said already


def _parts(name: str, artifact: ArtifactSpec, folder: Path) -> Iterator[Problem]:
    """Tables of which nobody says into which file their rows go."""
    if artifact.split is None:
        return
    if loose := unsplittable(writer(artifact.format), artifact, folder):
        message = f"nothing says into which file the rows of {', '.join(loose)} go"
        hint = "List tables that stand whole in every file in split.repeat."
        yield Problem(message=message, hint=hint, keys=(name, "split"))


def _references(
    name: str,
    artifact: ArtifactSpec,
    folder: Path,
    tables: Mapping[str, Mapping[str, str] | None] | None,
) -> Iterator[Problem]:
    """Columns that are not there, and inner rows that a correction would lose."""
    about = artifact.references
    if about is None:
        return
    columns = (tables or {}).get(artifact.table)
    named = [("column", about.column), ("action", about.action)]
    named += [("record", column) for column in about.names if about.record is not None]
    named += [("cancel_columns", column) for column in about.cancel_columns or ()]
    named += [("ignore", column) for column in about.ignore]
    for field, column in named:
        if columns is not None and column not in columns:
            error = unknown_column(artifact.table, column, list(columns))
            keys = (name, "references", field)
            yield Problem(message=error.message, hint=error.hint, keys=keys)
    kind = (columns or {}).get(about.record_id or "", "string")
    if about.derived and kind not in ("string", "any"):
        yield Problem(
            message=f"{about.record_id} is {kind}, not text",
            hint="Derived cancellations are named by text: declare the record id as string.",
            keys=(name, "references", "record"),
        )
    if about.corrections != "by_action":
        return
    for relation in relations(writer(artifact.format), artifact, folder):
        above = [other for _, other in relation.on if relation.parent == artifact.table]
        if about.action in above:
            message = f"rows of {relation.table} belong to records by {about.action}, which changes"
            hint = "Corrections have an action of their own: leave it out of r:on."
            yield Problem(message=message, hint=hint, keys=(name, "references", "corrections"))


def _numbers(name: str, artifact: ArtifactSpec, folder: Path) -> Iterator[Problem]:
    """A file that speaks of a sequence number which it does not get."""
    if artifact.sequence is not None:
        return
    texts = [str(artifact.model_dump(mode="json"))]
    texts += [
        (folder / file).read_text(encoding="utf-8", errors="replace")
        for file in named_files(artifact, folder)
    ]
    for wanted in ("{run.sequence", "{run.replaces}"):
        if any(wanted in text for text in texts):
            message = f"{wanted.rstrip('}')}}} is written, but the artifact has no sequence"
            hint = "Add sequence with the name of the authority's sequence."
            yield Problem(message=message, hint=hint, keys=(name,))
            return


def _sample_names(name: str, artifact: ArtifactSpec, folder: Path, place: int) -> tuple[str, ...]:
    """The names that its files would have; artifacts of one sequence never share a number."""
    day = RunKey(report_id=folder.name, business_date=date(2026, 1, 5), run_id="check")
    sequence = f"{artifact.sequence.name} {place}" if artifact.sequence else None
    numbers = FileNumbers(sender=artifact.sender, sequence=sequence)
    try:
        return artifact.package.names(filename.render(artifact.filename, day, name, numbers))
    except ValueError:  # the folder is not named as a report can be, which is found elsewhere
        return ()
