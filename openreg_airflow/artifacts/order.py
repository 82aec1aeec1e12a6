"""What an artifact is made from, and what each of its files is called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openreg_airflow.artifacts import filename
from openreg_airflow.artifacts.filename import FileNumbers
from openreg_airflow.artifacts.writer import Page
from openreg_airflow.errors import ArtifactError
from openreg_airflow.store_records import Allocation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from openreg_airflow.artifacts.parts import Part
    from openreg_airflow.artifacts.publishing.pgp import PgpKey
    from openreg_airflow.artifacts.spec import ArtifactBase
    from openreg_airflow.records import Artifact, Dataset, RunKey, Verdict
    from openreg_airflow.store.references import References
    from openreg_airflow.workspace import Workspace

#: Placeholders that give the files of a resubmission names of their own.
_TELLING = frozenset({"sequence", "version"})


def _no_keys(connection: str) -> PgpKey:
    """Stands in for connections where there are none."""
    message = f"there is no connection {connection}"
    raise ArtifactError(message)


@dataclass(frozen=True, kw_only=True)
class Order:
    """An artifact to be made.

    Attributes:
        name: its name in the spec.
        spec: its section.
        folder: the report's folder.
        run: the run that it belongs to.
        tables: all tables of the run.
        workspace: where the tables are and the files go.
        schema_folders: where schema files of authorities are looked for.
        verdict: how the run's rules ended; None without rules.
        routes: what is known of the routes of delivery, as the operator has it.
        allocate: gives version and sequence numbers; the first version when left out.
        keys: gives the PGP key of an Airflow connection.
        threads: how many parts are written at a time.
        reported: what was reported before; None where nothing is known of that.
        target: hash of what the authority is to have, where something else is written.
        records: its records as the store takes them; written when left out.
        after: content of the submission that a correction follows; empty where there is none.
    """

    name: str
    spec: ArtifactBase
    folder: Path
    run: RunKey
    tables: Mapping[str, Dataset]
    workspace: Workspace
    schema_folders: tuple[Path, ...] = ()
    verdict: Verdict | None = None
    routes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    allocate: Callable[[Artifact, int], Allocation] = field(
        default=lambda _artifact, _parts: Allocation()
    )
    keys: Callable[[str], PgpKey] = _no_keys
    threads: int = 1
    reported: References | None = None
    target: str | None = None
    records: Dataset | None = None
    after: str = ""

    @property
    def format(self) -> str:
        """The artifact's format."""
        return str(self.spec.format)  # type: ignore[attr-defined]

    @property
    def resubmission(self) -> int:
        """The number of the resubmission; 0 in a run that reads the source."""
        return self.verdict.resubmission if self.verdict is not None else 0


def page_of(order: Order, part: Part, count: int, given: Allocation) -> Page:
    """What a file of an artifact knows of itself.

    Args:
        order: the artifact.
        part: its records.
        count: how many files the artifact has.
        given: its version and numbers.

    Raises:
        ArtifactError: the artifact has a sequence, and nobody gave it a number.
    """
    sequence = order.spec.sequence
    # A resubmission goes beside what was reported before, and not in its place.
    before = None if order.resubmission else given.replaces
    place = part.number - 1 if sequence is None or sequence.per == "file" else 0
    number = _written(order, given.numbers, place)
    if sequence is not None and number is None:
        message = f"no number of sequence {sequence.name} was allocated"
        raise ArtifactError(message, where=f"artifact {order.name}, part {part.number}")
    files = before.filenames if before else ()
    return Page(
        number=part.number,
        count=count,
        total_records=order.tables[order.spec.table].rows,
        first_record=part.first + 1,
        sequence=number,
        version=given.version,
        replaces=(_written(order, before.numbers, place) if before else None) or "",
        replaces_file=files[part.number - 1] if part.number <= len(files) else "",
    )


def name_of(order: Order, page: Page) -> str:
    """The name of a file before it is packed.

    Raises:
        ArtifactError: its numbers make the name too long.
    """
    numbers = FileNumbers(
        sender=order.spec.sender,
        sequence=page.sequence,
        version=page.version,
        part=page.number,
        parts=page.count,
    )
    try:
        name = filename.render(order.spec.filename, order.run, order.name, numbers)
        if order.resubmission and not filename.fields(order.spec.filename) & _TELLING:
            name = filename.resubmitted(name, order.resubmission)
        return name
    except ValueError as error:
        raise ArtifactError(str(error), where=f"artifact {order.name}") from error


def _written(order: Order, numbers: tuple[int, ...], place: int) -> str | None:
    sequence = order.spec.sequence
    if sequence is None or place >= len(numbers):
        return None
    return str(numbers[place]).zfill(sequence.digits)
