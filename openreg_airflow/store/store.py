"""What a run leaves in the product's own tables, and how it is read again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import UniqueConstraint, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from openreg_airflow.records import Artifact, ArtifactFile, FileRef, Record, RuleResult, Verdict
from openreg_airflow.store import schema
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.models import (
    ArtifactFileRow,
    ArtifactRow,
    Attempt,
    ExtractFile,
    RunRow,
    SourceWindow,
    ValidationResult,
)
from openreg_airflow.store_records import DeliveryAttempt, Extract, Window

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from sqlalchemy import Column, ColumnElement, Connection, Table

    from openreg_airflow.records import RunKey

R = TypeVar("R", bound=Record)
#: Positions from here on are those of rules over finished files.
_AFTER_ALL_OTHERS = 1_000_000


class Store:
    """The product's own tables, in SQLite or PostgreSQL.

    A repeated task replaces what its earlier try wrote. No connection stays open between calls.
    Every method raises :class:`~openreg_airflow.errors.StoreNotReadyError` when the tables were
    not made (``openreg db upgrade``) and :class:`~openreg_airflow.errors.StoreUnavailableError`
    when the database cannot be reached.

    Args:
        url: SQLAlchemy URL, as the setting ``[openreg] store_url`` has it.
    """

    def __init__(self, url: str) -> None:
        #: As the setting has it, with its password.
        self.url = url
        self._engine = connect_engine(parse_url(url))
        self._ready = False

    def record_extract(self, run: RunKey, extract: Extract) -> None:
        """Record where one source's table came from; the same source again replaces its row."""
        columns = _columns(ExtractFile)
        fields = extract.model_dump()
        plain = extract.model_dump(mode="json")
        row = {name: value for name, value in fields.items() if name in columns}
        detail = {name: value for name, value in plain.items() if name not in columns}
        with self._transaction(write=True) as connection:
            _put(connection, ExtractFile, run, [row | {"detail": detail}])

    def record_windows(self, run: RunKey, windows: Iterable[Window]) -> None:
        """Record what a run that succeeded read of its incremental sources."""
        with self._transaction(write=True) as connection:
            _put(connection, SourceWindow, run, [window.model_dump() for window in windows])

    def window(self, run: RunKey, source: str) -> tuple[str | None, str | None]:
        """What a run is to read of an incremental source: after the first, up to the second.

        A business date that succeeded before reads its own window again. Another begins where the
        business date before it ended, and ends where a later one began. None is an open end.
        """
        days = select(SourceWindow.since, SourceWindow.mark).where(
            SourceWindow.report_id == run.report_id, SourceWindow.source == source
        )
        day, newest = SourceWindow.business_date, SourceWindow.recorded_at.desc()
        own = days.where(day == run.business_date).order_by(newest)
        before = days.where(day < run.business_date).order_by(day.desc(), newest)
        after = days.where(day > run.business_date).order_by(day, newest)
        with self._transaction(write=False) as connection:
            if found := connection.execute(own.limit(1)).first():
                return found.since, found.mark
            earlier = connection.execute(before.limit(1)).first()
            later = connection.execute(after.limit(1)).first()
        return earlier.mark if earlier else None, later.since if later else None

    def record_verdict(self, run: RunKey, verdict: Verdict, *, finished: bool = False) -> None:
        """Record how each rule of the run ended; rules that are no longer there go.

        Args:
            run: the run.
            verdict: of the rules over finished files when ``finished``, else of all others.
            finished: which of the two; the other's results stay.
        """
        failures = verdict.failures.model_dump(mode="json") if verdict.failures else None
        columns = _columns(ValidationResult)
        rows = []
        for position, result in enumerate(verdict.results):
            fields = result.model_dump(mode="json")
            row = {name: value for name, value in fields.items() if name in columns}
            detail = {name: value for name, value in fields.items() if name not in columns}
            place = position + (_AFTER_ALL_OTHERS if finished else 0)
            rows.append(row | {"position": place, "detail": detail, "failures": failures})
        kept = [row["rule_id"] for row in rows]
        place_of = ValidationResult.position
        same = place_of >= _AFTER_ALL_OTHERS if finished else place_of < _AFTER_ALL_OTHERS
        with self._transaction(write=True) as connection:
            connection.execute(
                delete(ValidationResult)
                .where(*_of_run(ValidationResult, run), same)
                .where(ValidationResult.rule_id.not_in(kept))
            )
            _put(connection, ValidationResult, run, rows)

    def record_artifact(self, run: RunKey, artifact: Artifact) -> None:
        """Record one finished artifact of the run with its files; it replaces an earlier one."""
        with self._transaction(write=True) as connection:
            put_artifact(connection, run, artifact)

    def record_attempt(self, run: RunKey, attempt: DeliveryAttempt) -> None:
        """Record one delivery attempt; the same attempt again replaces its row."""
        with self._transaction(write=True) as connection:
            _put(connection, Attempt, run, [attempt.model_dump()])

    def extracts(self, run: RunKey) -> tuple[Extract, ...]:
        """Where the run's tables came from, by source."""
        rows = self._rows(ExtractFile, run, "source")
        return tuple(_record(Extract, row | row["detail"]) for row in rows)

    def verdict(self, run: RunKey, *, finished: bool = False) -> Verdict | None:
        """The run's verdict, or that on its finished files; None when no rule was recorded."""
        every = self._rows(ValidationResult, run, "position")
        rows = [row for row in every if (row["position"] >= _AFTER_ALL_OTHERS) == finished]
        if not rows:
            return None
        failures = rows[0]["failures"]
        return Verdict(
            results=tuple(_record(RuleResult, row | row["detail"]) for row in rows),
            failures=FileRef.model_validate(failures) if failures else None,
        )

    def artifacts(self, run: RunKey) -> tuple[Artifact, ...]:
        """The run's finished artifacts by name."""
        files: dict[str, list[ArtifactFile]] = {}
        for row in self._rows(ArtifactFileRow, run, "name", "position"):
            files.setdefault(row["name"], []).append(_record(ArtifactFile, row))
        return tuple(
            _record(
                Artifact,
                row | {"files": files.get(row["name"], ()), "metadata": row["metadata_"]},
            )
            for row in self._rows(ArtifactRow, run, "name")
            if row["finished"]
        )

    def attempts(self, run: RunKey) -> tuple[DeliveryAttempt, ...]:
        """The run's delivery attempts by route, artifact, number and file."""
        rows = self._rows(Attempt, run, "route", "artifact", "attempt", "position")
        return tuple(_record(DeliveryAttempt, row) for row in rows)

    def _rows(self, model: type[RunRow], run: RunKey, *order: str) -> list[dict[str, Any]]:
        columns = _columns(model)
        query = select(*(column.label(name) for name, column in columns.items()))
        query = query.where(*_of_run(model, run)).order_by(*(columns[name] for name in order))
        with self._transaction(write=False) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _transaction(self, *, write: bool) -> AbstractContextManager[Connection]:
        if not self._ready:
            schema.require(self._engine)
            self._ready = True
        return transaction(self._engine, write=write)


def put_artifact(
    connection: Connection, run: RunKey, artifact: Artifact, *, finished: bool = True
) -> None:
    """Record an artifact with its files in the caller's transaction; see :class:`Store`."""
    row = artifact.model_dump(mode="json", exclude={"files", "metadata"})
    row |= {"metadata_": artifact.model_dump(mode="json")["metadata"], "finished": finished}
    files = [
        file.model_dump() | {"name": artifact.name, "position": position, "removed_at": None}
        for position, file in enumerate(artifact.files, 1)
    ]
    _put(connection, ArtifactRow, run, [row])
    connection.execute(
        delete(ArtifactFileRow)
        .where(*_of_run(ArtifactFileRow, run))
        .where(ArtifactFileRow.name == artifact.name, ArtifactFileRow.position > len(files))
    )
    _put(connection, ArtifactFileRow, run, files)


def _put(
    connection: Connection, model: type[RunRow], run: RunKey, rows: list[dict[str, Any]]
) -> None:
    """Insert rows of a run, or update those that are there: their ids stay as they were."""
    if not rows:
        return
    table = cast("Table", model.__table__)
    columns = _columns(model)
    fixed = run.model_dump() | {"recorded_at": datetime.now(UTC)}
    values = [{columns[name].name: value for name, value in (row | fixed).items()} for row in rows]
    [key] = (c for c in table.constraints if isinstance(c, UniqueConstraint))
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table)
    new = {name: insert.excluded[name] for name in values[0] if name not in key.columns}
    connection.execute(
        insert.on_conflict_do_update(index_elements=list(key.columns), set_=new), values
    )


def _columns(model: type[RunRow]) -> dict[str, Column[Any]]:
    """The columns of a model by the name of their attribute, which is a record's field."""
    return {
        attribute.key: cast("Column[Any]", attribute.columns[0])
        for attribute in model.__mapper__.column_attrs
    }


def _of_run(model: type[RunRow], run: RunKey) -> tuple[ColumnElement[bool], ...]:
    return (
        model.report_id == run.report_id,
        model.business_date == run.business_date,
        model.run_id == run.run_id,
    )


def _record(kind: type[R], row: dict[str, Any]) -> R:
    return kind.model_validate({name: row[name] for name in kind.model_fields if name in row})
