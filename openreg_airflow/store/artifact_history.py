"""The artifacts of all runs, found again by run, report or date, and how long they are kept."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from openreg_airflow.records import Artifact, ArtifactFile, Record, RunKey
from openreg_airflow.store import audit
from openreg_airflow.store.models import ArtifactFileRow, ArtifactRow
from openreg_airflow.store.store import Store, _columns, _of_run, _record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from openreg_airflow.store.actor import Actor
    from openreg_airflow.store.models import RunRow
    from openreg_airflow.store_records import DeliveryAttempt


class KeptArtifact(Record):
    """A finished artifact of some run.

    Attributes:
        recorded_at: when it was finished last.
        removed_at: when the retention policy removed its files; None while they are kept.
    """

    run: RunKey
    artifact: Artifact
    recorded_at: datetime
    removed_at: datetime | None = None


class ArtifactHistory(Store):
    """Looks artifacts up; errors are those of the store."""

    def find(
        self,
        *,
        runs: Sequence[str] = (),
        report: str | None = None,
        business_date: date | None = None,
        artifact: str | None = None,
        before: datetime | None = None,
    ) -> tuple[KeptArtifact, ...]:
        """The finished artifacts that meet all of what is given, the oldest first.

        Args:
            runs: ids of runs; all when empty.
            report: a report's id.
            business_date: a date.
            artifact: its name in the spec.
            before: only those recorded before this instant.
        """
        rows = self._found(ArtifactRow, runs, report, business_date, artifact)
        files: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in self._found(ArtifactFileRow, runs, report, business_date, artifact):
            files.setdefault(_key(row), []).append(row)
        found = []
        for row in rows:
            if not row["finished"] or (before is not None and row["recorded_at"] >= before):
                continue
            own = sorted(files.get(_key(row), []), key=lambda file: file["position"])
            plain = row | {"files": [_record(ArtifactFile, file) for file in own]}
            removed = [file["removed_at"] for file in own if file["removed_at"]]
            found.append(
                KeptArtifact(
                    run=_record(RunKey, row),
                    artifact=_record(Artifact, plain | {"metadata": row["metadata_"]}),
                    recorded_at=row["recorded_at"],
                    removed_at=removed[0] if removed else None,
                )
            )
        return tuple(sorted(found, key=lambda kept: (kept.recorded_at, kept.artifact.name)))

    def mark_removed(self, kept: KeptArtifact, actor: Actor) -> None:
        """Record that the files of an artifact were removed; what is known of them stays."""
        files = [file.model_dump(include={"filename", "sha256"}) for file in kept.artifact.files]
        entry = audit.AuditEntry(
            actor=actor,
            action="remove",
            kind="artifact files",
            subject=f"{kept.run.report_id} {kept.run.business_date} {kept.artifact.name}",
            before={"run": kept.run.run_id, "files": files},
        )
        row = ArtifactFileRow
        with self._transaction(write=True) as connection:
            connection.execute(
                update(row)
                .where(*_of_run(row, kept.run))
                .where(row.name == kept.artifact.name, row.removed_at.is_(None))
                .values(removed_at=datetime.now(UTC))
            )
            audit.append(connection, entry)

    def _found(
        self,
        model: type[RunRow],
        runs: Sequence[str],
        report: str | None,
        business_date: date | None,
        artifact: str | None,
    ) -> list[dict[str, Any]]:
        columns = _columns(model)
        query = select(*(column.label(name) for name, column in columns.items()))
        if runs:
            query = query.where(columns["run_id"].in_(runs))
        wanted = {"report_id": report, "business_date": business_date, "name": artifact}
        for name, value in wanted.items():
            if value is not None:
                query = query.where(columns[name] == value)
        with self._transaction(write=False) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def unsettled(
    artifact: Artifact,
    attempts: Sequence[DeliveryAttempt],
    taken: Callable[[str], bool],
    acknowledged: Callable[[str], bool],
) -> str | None:
    """Why the files of an artifact must still be kept; None when nothing speaks for it.

    Each file has to be delivered over each route that the artifact was made for, or over one that
    stands in for it; a route whose condition does not hold, and which was never tried, does not
    count. Where a route awaits an acknowledgement, the authority has to have accepted the files.

    Args:
        artifact: a finished artifact.
        attempts: the delivery attempts of its run.
        taken: whether a route's condition holds for the artifact.
        acknowledged: whether the authority behind a route has accepted all files of the artifact.
    """
    routes: dict[str, dict[str, Any]] | None = artifact.metadata.get("routes")
    if routes is None:
        return "it is not known over which routes it goes"
    own = [attempt for attempt in attempts if attempt.artifact == artifact.name]
    done = {(a.route, a.sha256) for a in own if a.result in ("delivered", "already-there")}
    for name, route in sorted(routes.items()):
        if route["instead_of"] is not None or not artifact.files:
            continue
        tried = any(attempt.route == name for attempt in own)
        if route["when"] is not None and not tried and not taken(route["when"]):
            continue
        ways = [name]
        for way in ways:
            ways += [other for other, spec in routes.items() if spec["instead_of"] == way]
        missing = {
            way: [file.filename for file in artifact.files if (way, file.sha256) not in done]
            for way in ways
        }
        whole = [way for way in ways if not missing[way]]
        if not whole:
            return f"{missing[name][0]} was not delivered over route {name}"
        if not any(not routes[way]["acknowledged"] or acknowledged(way) for way in whole):
            return f"what went over route {whole[0]} is not acknowledged"
    return None


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["report_id"], row["business_date"], row["run_id"], row["name"]
