"""What authorities answered: by file, by record, and the files themselves."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, select, update

from openreg_airflow.records import RunKey
from openreg_airflow.store.acknowledgement_models import (
    AcknowledgementRow,
    FeedbackFileRow,
    RecordAnswerRow,
)
from openreg_airflow.store.acknowledgement_records import (
    Acknowledgement,
    AcknowledgementOfRun,
    FeedbackFile,
    RecordAnswer,
)
from openreg_airflow.store.models import ArtifactRow
from openreg_airflow.store.store import Store, _of_run, _put, _record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import date, datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from openreg_airflow.store.models import RunRow

#: Rows of one INSERT.
_BATCH = 5000
_RUN = ("report_id", "business_date", "run_id")


class Acknowledgements(Store):
    """Reads and writes answers; errors are those of the store."""

    def of_run(self, run: RunKey, route: str, artifact: str) -> tuple[Acknowledgement, ...]:
        """How it stands with the files of an artifact, in their order."""
        rows = self._of(AcknowledgementRow, run, route, artifact, "position")
        return tuple(_record(Acknowledgement, row) for row in rows)

    def files(self, run: RunKey, route: str, artifact: str) -> tuple[FeedbackFile, ...]:
        """The files that came, the oldest first."""
        rows = self._of(FeedbackFileRow, run, route, artifact, "id")
        return tuple(_record(FeedbackFile, row) for row in rows)

    def file(self, run: RunKey, route: str, artifact: str, sha256: str) -> FeedbackFile | None:
        """The file with these bytes, if it came before."""
        found = self._of(FeedbackFileRow, run, route, artifact, sha256=sha256)
        return _record(FeedbackFile, found[0]) if found else None

    def last_read(self, run: RunKey, route: str, artifact: str) -> FeedbackFile | None:
        """The file that was read last; None when none was."""
        with self._transaction(write=False) as connection:
            return self._last_read(connection, run, route, artifact)

    def _last_read(
        self, connection: Connection, run: RunKey, route: str, artifact: str
    ) -> FeedbackFile | None:
        query = self._query(FeedbackFileRow, run, route, artifact, result="read")
        newest = query.order_by(FeedbackFileRow.id.desc()).limit(1)
        found = connection.execute(newest).mappings().first()
        return _record(FeedbackFile, dict(found)) if found else None

    def answers(
        self, run: RunKey, route: str, artifact: str, *, status: str | None = None
    ) -> tuple[RecordAnswer, ...]:
        """What is known of single records, by reference.

        Args:
            run: the run that delivered.
            route: the route that it delivered over.
            artifact: what it delivered.
            status: only of those in this state.
        """
        wanted = {} if status is None else {"status": status}
        rows = self._of(RecordAnswerRow, run, route, artifact, "reference", "row", **wanted)
        return tuple(_record(RecordAnswer, row) for row in rows)

    def each_answer(self, run: RunKey, route: str, artifact: str) -> Iterator[list[RecordAnswer]]:
        """The same in batches, in the order in which they came."""
        query = self._query(RecordAnswerRow, run, route, artifact, "id")
        with self._transaction(write=False) as connection:
            found = connection.execution_options(stream_results=True).execute(query).mappings()
            for rows in found.partitions(_BATCH):
                yield [_record(RecordAnswer, dict(row)) for row in rows]

    def of_content(
        self, run: RunKey, route: str, artifact: str, content: str
    ) -> tuple[RunKey, ...]:
        """Other runs of the date with the same content of an artifact, answered to, newest first.

        Args:
            run: whose report and business date.
            route: the route that they delivered over.
            artifact: name of the artifact.
            content: its hash; see :attr:`~openreg_airflow.records.Artifact.content`.
        """
        row, file = ArtifactRow, FeedbackFileRow
        query = (
            select(row.run_id)
            .join(
                file,
                and_(
                    *(file.report_id == row.report_id, file.business_date == row.business_date),
                    *(file.run_id == row.run_id, file.artifact == row.name),
                    *(file.route == route, file.result == "read"),
                ),
            )
            .where(row.report_id == run.report_id, row.business_date == run.business_date)
            .where(row.name == artifact, row.content == content, row.run_id != run.run_id)
            .group_by(row.run_id)
            .order_by(func.max(file.id).desc())
        )
        with self._transaction(write=False) as connection:
            found = connection.scalars(query).all()
        return tuple(run.model_copy(update={"run_id": run_id}) for run_id in found)

    def await_files(
        self, run: RunKey, awaited: Collection[Acknowledgement], sent: Collection[str] = ()
    ) -> tuple[Acknowledgement, ...]:
        """Note which files an answer is awaited to; known ones stay as they are.

        A run that was cleared may have sent another version since. What was answered to the one
        before says nothing of that: it is forgotten, only the files that came stay on record.

        Args:
            run: the run that delivered.
            awaited: the files of artifacts.
            sent: hashes by each of which what is in them is known; where there are none, only
                their names and sizes tell them from those of another version.

        Returns:
            How it stood with the files that no answer is awaited to any more.
        """
        replaced: list[Acknowledgement] = []
        with self._transaction(write=True) as connection:
            for route, artifact in dict.fromkeys((one.route, one.artifact) for one in awaited):
                place = {"route": route, "artifact": artifact}
                files = {
                    one.position: one
                    for one in awaited
                    if (one.route, one.artifact) == (route, artifact)
                }
                query = self._query(AcknowledgementRow, run, route, artifact, "position")
                there = [
                    _record(Acknowledgement, dict(row))
                    for row in connection.execute(query).mappings()
                ]
                last = self._last_read(connection, run, route, artifact)
                words = last.words if last is not None else None
                other = bool(words and words.sent and sent and not {*sent} & {*words.sent})
                if other or not all(_same_file(one, files.get(one.position)) for one in there):
                    _forget_answers(connection, run, place)
                    replaced += there
                    there = []
                known = {one.position for one in there}
                new = [one.model_dump() for n, one in files.items() if n not in known]
                if new:
                    _put(connection, AcknowledgementRow, run, new)
        return tuple(replaced)

    def await_again(
        self, run: RunKey, route: str, artifact: str, positions: Collection[int], due_at: datetime
    ) -> None:
        """Forget what was said of files that were sent once more; their answers are awaited anew.

        Args:
            run: the run that delivered.
            route: the route that it delivered over.
            artifact: what it delivered.
            positions: of the files.
            due_at: until when an answer is waited for at least.
        """
        found = [
            one.model_copy(
                update={
                    "state": "awaited",
                    "accepted": 0,
                    "rejected": 0,
                    "pending": one.sent,
                    "answered_at": None,
                    "text": "",
                    "told": None,
                    "due_at": max(one.due_at, due_at),
                }
            )
            for one in self.of_run(run, route, artifact)
            if one.position in positions
        ]
        answer = RecordAnswerRow
        with self._transaction(write=True) as connection:
            _put(connection, AcknowledgementRow, run, [one.model_dump() for one in found])
            connection.execute(
                delete(answer)
                .where(*_of_run(answer, run), answer.route == route, answer.artifact == artifact)
                .where(answer.position.in_(positions))
            )

    def note(self, run: RunKey, file: FeedbackFile) -> None:
        """Note a file that is no answer to what was sent, or that came under another name too."""
        with self._transaction(write=True) as connection:
            _put(connection, FeedbackFileRow, run, [file.model_dump()])

    def apply(
        self,
        run: RunKey,
        file: FeedbackFile,
        standings: Iterable[Acknowledgement],
        answers: Iterable[RecordAnswer],
    ) -> None:
        """Note what a file says, all of it or nothing; answers are taken batch by batch."""
        waiting = iter(answers)
        row = FeedbackFileRow
        with self._transaction(write=True) as connection:
            # One that was refused before, or read before its file was sent once more, is the
            # newest now.
            connection.execute(
                delete(row)
                .where(*_of_run(row, run), row.route == file.route, row.artifact == file.artifact)
                .where(row.sha256 == file.sha256)
            )
            _put(connection, FeedbackFileRow, run, [file.model_dump()])
            _put(connection, AcknowledgementRow, run, [one.model_dump() for one in standings])
            while batch := [answer.model_dump() for answer in islice(waiting, _BATCH)]:
                _put(connection, RecordAnswerRow, run, batch)
                _forget_rowless(connection, run, file, batch)

    def outstanding(
        self,
        *,
        report_id: str | None = None,
        business_date: date | None = None,
        everything: bool = False,
    ) -> tuple[AcknowledgementOfRun, ...]:
        """The files of all runs that an answer is still awaited to, the most urgent first.

        Args:
            report_id: of one report only.
            business_date: of one business date only.
            everything: settled ones too.
        """
        row = AcknowledgementRow
        wanted: list[ColumnElement[bool]] = []
        if report_id is not None:
            wanted.append(row.report_id == report_id)
        if business_date is not None:
            wanted.append(row.business_date == business_date)
        query = select(row.__table__).where(*wanted).order_by(row.due_at, row.id)
        with self._transaction(write=False) as connection:
            found = tuple(
                _record(AcknowledgementOfRun, dict(each))
                for each in connection.execute(query).mappings()
            )
            found = tuple(one for one in found if everything or not one.settled)
            return tuple(_with_refused(connection, one) for one in found)

    def _of(
        self,
        model: type[RunRow],
        run: RunKey,
        route: str,
        artifact: str,
        *order: str,
        **wanted: str,
    ) -> list[dict[str, Any]]:
        query = self._query(model, run, route, artifact, *order, **wanted)
        with self._transaction(write=False) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _query(
        self,
        model: type[RunRow],
        run: RunKey,
        route: str,
        artifact: str,
        *order: str,
        **wanted: str,
    ) -> Select[Any]:
        table = model.__table__
        place = {"route": route, "artifact": artifact, **wanted}
        return (
            select(table)
            .where(*_of_run(model, run), *(table.c[name] == value for name, value in place.items()))
            .order_by(*(table.c[name] for name in order))
        )


def _with_refused(connection: Connection, one: AcknowledgementOfRun) -> AcknowledgementOfRun:
    """The same, with the files that were refused; nobody asks for those of what is settled."""
    if one.settled:
        return one
    file, run = FeedbackFileRow, RunKey.model_validate(one.model_dump(include=set(_RUN)))
    query = (
        select(file.filename, file.reason)
        .where(*_of_run(file, run), file.route == one.route, file.artifact == one.artifact)
        .where(file.result == "refused")
        .order_by(file.id)
    )
    refused = {row.filename: row.reason for row in connection.execute(query)}
    return one.model_copy(update={"refused": refused})


def _same_file(one: Acknowledgement, other: Acknowledgement | None) -> bool:
    return other is not None and (one.filename, one.sent) == (other.filename, other.sent)


def _forget_answers(connection: Connection, run: RunKey, place: dict[str, str]) -> None:
    """Forget what was said of the files and records of a version that the run replaced."""
    for model in (AcknowledgementRow, RecordAnswerRow):
        of_place = [model.__table__.c[name] == value for name, value in place.items()]
        connection.execute(delete(model).where(*_of_run(model, run), *of_place))
    file = FeedbackFileRow
    of_place = [file.__table__.c[name] == value for name, value in place.items()]
    connection.execute(update(file).where(*_of_run(file, run), *of_place).values(words=None))


def _forget_rowless(
    connection: Connection, run: RunKey, file: FeedbackFile, batch: list[dict[str, Any]]
) -> None:
    """Forget what an earlier version kept of records of which more is known now."""
    row = RecordAnswerRow
    better = {answer["reference"] for answer in batch if answer["row"] >= 0}
    if not better:
        return
    # By the index, whatever number of answers is there.
    connection.execute(
        delete(row)
        .where(*_of_run(row, run), row.route == file.route, row.artifact == file.artifact)
        .where(row.reference.in_(sorted(better)), row.row == -1)
    )
