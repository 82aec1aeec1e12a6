"""Versions of artifacts, and the sequence numbers that authorities expect without gaps.

A content of an artifact (:attr:`~openreg_airflow.records.Artifact.content`) for a report and a
business date gets a version, and its numbers with it, in one transaction with the run's record of
the artifact:

- The newest version's content again, by a retry or another run, gets that version and its numbers.
- Other content is a correction: it gets the next version and the next numbers. But as long as no
  file of the newest version was ever finished, nothing of it can have left the house, and the
  other content takes its place with its numbers: they would else be missing at the authority.
- A resubmission of the exception queue goes beside the report: it has a version of its own, which
  runs that read the source do not see as a correction.
- A run whose own content was corrected by another run keeps its version when it is repeated.
- The content of a derived correction tells what it follows. The same content is the same step, and
  repeats its version: newer ones can only have been made and not sent.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select, text, update

from openreg_airflow.errors import StoreConflictError
from openreg_airflow.records import Artifact, RunKey
from openreg_airflow.store import audit
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.exception_models import ExceptionCount
from openreg_airflow.store.models import ArtifactRow, ArtifactVersion, SequenceNumber
from openreg_airflow.store.sequences import numbers_of
from openreg_airflow.store.store import Store, _of_run, _put, put_artifact
from openreg_airflow.store_records import Allocation, Replaced

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from openreg_airflow.store.sequences import Numbers

KIND = "artifact version"


class Numbering(Store):
    """Gives versions and numbers to the artifacts of runs."""

    def allocate(
        self,
        run: RunKey,
        artifact: Artifact,
        parts: int,
        wanted: Numbers | None,
        *,
        chained: bool = False,
    ) -> Allocation:
        """Give an artifact its version and numbers, and record it as begun.

        Args:
            run: the run that makes it.
            artifact: without files: its name, format, records and content.
            parts: how many files it will have.
            wanted: the numbers; None when it has no sequence.
            chained: its content tells what it follows, so that it repeats the version that has it,
                also where newer ones were made and never sent.

        Raises:
            ArtifactError: the sequence has no number left that can be written.
        """
        with self._transaction(write=True) as connection:
            _lock(connection, run, artifact.name)
            versions = connection.execute(
                select(ArtifactVersion.__table__)
                .where(*_of_artifact(run, artifact.name))
                .order_by(ArtifactVersion.version)
            ).all()
            own = connection.execute(
                select(ArtifactRow.version, ArtifactRow.content, ArtifactRow.finished).where(
                    *_of_run(ArtifactRow, run), ArtifactRow.name == artifact.name
                )
            ).first()
            rivals = _rivals(connection, run, versions)
            version, action = _choose(versions, rivals, own, artifact.content, chained=chained)
            if action != "repeat":
                _put_version(connection, run, artifact, version, parts)
            numbers = numbers_of(connection, run, artifact.name, version, wanted)
            if own is None or not own.finished or own.content != artifact.content:
                begun = artifact.model_copy(update={"version": version, "numbers": numbers})
                if wanted is not None:
                    begun = begun.model_copy(update={"sequence": wanted.sequence})
                put_artifact(connection, run, begun, finished=False)
            finished = _finished(versions, version, artifact.content, action)
            allocation = Allocation(
                version=version,
                numbers=numbers,
                replaces=_replaced(connection, run, artifact.name, versions, version),
            )
            if action != "repeat":
                _audit(connection, run, artifact, allocation, wanted=wanted, action=action)
        if finished is None:
            return allocation
        before = [a for a in self.artifacts(finished) if a.name == artifact.name]
        same = [a for a in before if (a.version, a.content) == (version, artifact.content)]
        return allocation.model_copy(update={"finished": same[0] if same else None})

    def finish(self, run: RunKey, artifact: Artifact) -> None:
        """Record the finished files of an artifact whose version was allocated.

        Raises:
            StoreConflictError: another run took the version over while the files were written.
        """
        files = [
            file.model_dump(mode="json", include={"filename", "part", "bytes", "sha256"})
            for file in artifact.reports
        ]
        with self._transaction(write=True) as connection:
            _lock(connection, run, artifact.name)
            done = connection.execute(
                update(ArtifactVersion)
                .where(*_of_artifact(run, artifact.name))
                .where(
                    ArtifactVersion.version == artifact.version,
                    ArtifactVersion.content == artifact.content,
                )
                .values(finished=True, files=files, run_id=run.run_id)
            )
            if not done.rowcount:
                message = (
                    f"version {artifact.version} of artifact {artifact.name} was taken over by "
                    "another run for the same business date while its files were written"
                )
                raise StoreConflictError(message, hint="The retry gets a version of its own.")
            put_artifact(connection, run, artifact)

    def numbers(self, sequence: str, period: str | None = None) -> tuple[dict[str, Any], ...]:
        """Who has which number of a sequence, in their order.

        The columns are those of ``SequenceNumber``, and ``finished`` says whether the files of the
        version that has it were ever finished; None for a free number.
        """
        version = ArtifactVersion
        query = (
            select(SequenceNumber.__table__, version.finished)
            .outerjoin(
                version,
                and_(
                    version.report_id == SequenceNumber.report_id,
                    version.business_date == SequenceNumber.business_date,
                    version.name == SequenceNumber.artifact,
                    version.version == SequenceNumber.version,
                ),
            )
            .where(SequenceNumber.name == sequence)
        )
        if period is not None:
            query = query.where(SequenceNumber.period == period)
        query = query.order_by(SequenceNumber.period, SequenceNumber.number)
        with self._transaction(write=False) as connection:
            return tuple(dict(row) for row in connection.execute(query).mappings())


def _rivals(connection: Connection, run: RunKey, versions: Any) -> Any:
    """The versions that a run's content may repeat.

    A resubmission goes beside the report: it repeats itself at most, and a run that reads the
    source again repeats the newest version of its kind.
    """
    count = ExceptionCount
    resubmissions = set(
        connection.scalars(
            select(count.run_id).where(
                count.report_id == run.report_id,
                count.business_date == run.business_date,
                count.resubmission > 0,
            )
        )
    )
    if run.run_id in resubmissions:
        return [row for row in versions if row.run_id == run.run_id]
    return [row for row in versions if row.run_id not in resubmissions]


def _choose(
    versions: Any, rivals: Any, own: Any, content: str, *, chained: bool
) -> tuple[int, str]:
    """The version of a content, and whether it repeats one, takes one over or is a new one."""
    if not versions:
        return 1, "allocate"
    newest = versions[-1]
    if rivals and rivals[-1].content == content:
        return rivals[-1].version, "repeat"
    if chained:
        for earlier in rivals:
            if earlier.content == content and earlier.finished:
                return earlier.version, "repeat"
    if own is not None and own.content == content:
        for earlier in versions:
            if (earlier.version, earlier.content) == (own.version, content):
                return earlier.version, "repeat"
    if not newest.finished:
        return newest.version, "take over"
    return newest.version + 1, "correct"


def _put_version(
    connection: Connection, run: RunKey, artifact: Artifact, version: int, parts: int
) -> None:
    row = {
        "name": artifact.name,
        "version": version,
        "content": artifact.content,
        "parts": parts,
        "finished": False,
        "files": [],
    }
    _put(connection, ArtifactVersion, run, [row])


def _replaced(
    connection: Connection, run: RunKey, name: str, versions: Any, version: int
) -> Replaced | None:
    before = [row for row in versions if row.version == version - 1]
    if not before:
        return None
    table = SequenceNumber
    numbers = connection.scalars(
        select(table.number)
        .where(table.report_id == run.report_id, table.business_date == run.business_date)
        .where(table.artifact == name, table.version == version - 1)
        .order_by(table.part)
    ).all()
    names = tuple(file["filename"] for file in before[0].files)
    return Replaced(version=version - 1, numbers=tuple(numbers), filenames=names)


def _finished(versions: Any, version: int, content: str, action: str) -> RunKey | None:
    """The run that finished a version with this content."""
    if action != "repeat":
        return None
    for row in versions:
        if row.version == version and row.content == content and row.finished:
            return RunKey(
                report_id=row.report_id, business_date=row.business_date, run_id=row.run_id
            )
    return None


def _audit(
    connection: Connection,
    run: RunKey,
    artifact: Artifact,
    allocation: Allocation,
    *,
    wanted: Numbers | None,
    action: str,
) -> None:
    after: dict[str, Any] = {
        "content": artifact.content,
        "run": run.run_id,
        "version": allocation.version,
    }
    if wanted is not None:
        after |= {"sequence": wanted.sequence, "period": wanted.period}
        after["numbers"] = list(allocation.numbers)
    before = allocation.replaces.model_dump(mode="json") if allocation.replaces else None
    audit.append(
        connection,
        audit.AuditEntry(
            actor=Actor.of_task(run.report_id, run.run_id),
            action=action,
            kind=KIND,
            subject=f"{run.report_id} {run.business_date} {artifact.name}",
            before=before,
            after=after,
        ),
    )


def _lock(connection: Connection, run: RunKey, name: str) -> None:
    """Keep others from the versions of one artifact until the transaction ends."""
    if connection.dialect.name != "postgresql":
        return
    key = f"{run.report_id}\0{run.business_date}\0{name}".encode()
    number = int.from_bytes(hashlib.sha256(key).digest()[:8], "big", signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": number})


def _of_artifact(run: RunKey, name: str) -> tuple[ColumnElement[bool], ...]:
    return (
        ArtifactVersion.report_id == run.report_id,
        ArtifactVersion.business_date == run.business_date,
        ArtifactVersion.name == name,
    )
