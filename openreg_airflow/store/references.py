"""The references under which records stand at authorities, so that none is used twice.

A submission is one version of an artifact; its records are on record from before its first file is
sent, so that two runs cannot send one reference at the same time. A record counts until the
authority rejects it; how it stands with a reference is what its last record that counts says:
reported, or cancelled.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from itertools import count
from typing import TYPE_CHECKING, Literal, NamedTuple

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.orm import aliased

from openreg_airflow.records import Dataset, Record
from openreg_airflow.store.delivery_models import Delivered
from openreg_airflow.store.reference_models import ReferenceRow, SubmissionRow
from openreg_airflow.store.reference_reuse import LAST, refuse_reuse
from openreg_airflow.store.reference_staging import lock_scope, stage
from openreg_airflow.store.store import Store, _record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement

    from openreg_airflow.store.reference_staging import StagedRecord

log = logging.getLogger(__name__)

_FETCH = 20_000


class Submission(Record):
    """One version of an artifact.

    Attributes:
        scope: whose references it uses.
        content: :attr:`~openreg_airflow.records.Artifact.content`.
        target: hash of the table that the authority is to have in the end.
        resubmission: number of the exception queue's resubmission; 0 for a report.
        state: ``sending`` until all files are known to be delivered.
        written: the table whose rows were written, in their order.
        inner_tables: the tables inside its records, as they were written.
        records: its records as they are staged; None where that is not known any more.
    """

    scope: str
    report_id: str
    business_date: date
    run_id: str
    artifact: str
    version: int
    content: str
    target: str
    written: Dataset
    inner_tables: dict[str, Dataset] = {}  # noqa: RUF012 - the model is immutable
    records: Dataset | None = None
    resubmission: int = 0
    state: Literal["sending", "delivered"] = "sending"
    id: int = 0


class Held(NamedTuple):
    """What was said last of one reference, or of one event of it.

    Attributes:
        event: what it told of; empty for the record itself.
        cancels: whether it was cancelled last, and reported otherwise.
        digest: hash of the record.
        submission_id: the submission that said so.
        position: which row of its table, from 0.
        before: the submission that spoke of a cancelled record before that one.
        refused: hash of the record as the source last had it, where the authority rejected that
            and a resubmission reported what was said last.
    """

    reference: str
    event: str
    cancels: bool
    digest: str
    submission_id: int
    position: int
    before: int | None
    refused: str | None = None


class Said(NamedTuple):
    """What an authority says of one record of a submission.

    Attributes:
        row: its position; -1 where only its reference is known, of which the last one is meant.
        rejected: whether it rejects it.
    """

    row: int
    reference: str
    rejected: bool


class References(Store):
    """Keeps the references of all scopes; errors are those of the store."""

    def reserve(
        self, wanted: Submission, records: Iterable[list[StagedRecord]], *, again: bool = False
    ) -> None:
        """Put the records of a submission on record before it is sent, if its references may be.

        A submission that is on record is not held against itself. When it is sent again on
        purpose, the records that the authority had rejected are reported anew.

        Args:
            wanted: the submission.
            records: its records in their order, in batches.
            again: it is sent again on purpose.

        Raises:
            ReferenceReuseError: a record uses a reference that stands, or speaks of one that does
                not; nothing is put on record then.
        """
        with self._transaction(write=True) as connection:
            lock_scope(connection, wanted.scope)
            own = connection.scalar(select(SubmissionRow.id).where(*_same(wanted)))
            if own is not None and not again:
                return
            stage(connection, records)
            if own is not None:
                connection.execute(
                    text(
                        "DELETE FROM openreg_staged WHERE position IN (SELECT position FROM "
                        "openreg_reference WHERE submission_id = :own AND NOT rejected)"
                    ),
                    {"own": own},
                )
            refuse_reuse(connection, wanted.scope)
            if own is None:
                files = {"written", "inner_tables", "records"}
                values = wanted.model_dump(exclude={"id", *files})
                values |= wanted.model_dump(mode="json", include=files)
                values["recorded_at"] = datetime.now(UTC)
                new = insert(SubmissionRow).values(**values).returning(SubmissionRow.id)
                own = connection.execute(new).scalar_one()
            connection.execute(
                delete(ReferenceRow).where(ReferenceRow.submission_id == own, ReferenceRow.rejected)
            )
            done = connection.execute(
                text(
                    "INSERT INTO openreg_reference (submission_id, scope, reference, cancels, "
                    "digest, position, rejected, event) SELECT :own, :scope, reference, cancels, "
                    "digest, position, :no, event FROM openreg_staged ORDER BY position"
                ),
                {"own": own, "scope": wanted.scope, "no": False},
            )
            log.info("%d references of scope %s are on record", done.rowcount, wanted.scope)

    def look(self, wanted: Submission, records: Iterable[list[StagedRecord]]) -> None:
        """See whether a submission could be put on record, and leave everything as it is.

        Raises:
            ReferenceReuseError: as :meth:`reserve`.
        """
        with self._transaction(write=False) as connection:
            if connection.scalar(select(SubmissionRow.id).where(*_same(wanted))) is None:
                stage(connection, records)
                refuse_reuse(connection, wanted.scope)

    def finish(self, wanted: Submission) -> bool:
        """Note that all files of a submission are delivered; False when it is not on record."""
        with self._transaction(write=True) as connection:
            done = connection.execute(
                update(SubmissionRow).where(*_same(wanted)).values(state="delivered")
            )
            return bool(done.rowcount)

    def release(self, wanted: Submission, files: Sequence[str]) -> bool:
        """Take a submission off the record of which no file can have left the house.

        Args:
            wanted: the submission.
            files: its files as the ledger of deliveries knows them.

        Returns:
            Whether it was on record and is no more.
        """
        with self._transaction(write=True) as connection:
            lock_scope(connection, wanted.scope)
            left = connection.scalar(
                select(Delivered.id)
                .where(Delivered.content.in_(files), Delivered.state != "withdrawn")
                .limit(1)
            )
            own = connection.scalar(
                select(SubmissionRow.id).where(*_same(wanted), SubmissionRow.state == "sending")
            )
            if left is not None or own is None:
                return False
            connection.execute(delete(ReferenceRow).where(ReferenceRow.submission_id == own))
            connection.execute(delete(SubmissionRow).where(SubmissionRow.id == own))
            return True

    def submissions(
        self, scope: str, report_id: str, business_date: date, artifact: str
    ) -> tuple[Submission, ...]:
        """The submissions of an artifact for a business date, the oldest first."""
        row = SubmissionRow
        query = (
            select(row.__table__)
            .where(row.scope == scope, row.report_id == report_id)
            .where(row.business_date == business_date, row.artifact == artifact)
            .order_by(row.id)
        )
        with self._transaction(write=False) as connection:
            return tuple(
                _record(Submission, dict(each)) for each in connection.execute(query).mappings()
            )

    def held(
        self, scope: str, submissions: Mapping[int, int], records: Iterable[list[StagedRecord]]
    ) -> Iterator[list[Held]]:
        """How it stands with the references of records and of submissions, in batches.

        Args:
            scope: whose references.
            submissions: ids of submissions of the scope; the number of the resubmission, 0 for a
                report.
            records: the records.
        """
        last = LAST.format(column="id", of="r", and_="AND x.event = r.event ")
        before = LAST.format(
            column="submission_id", of="e", and_="AND x.event = e.event AND x.id < e.id "
        )
        own, reports, again = (
            ", ".join(str(int(one)) for one in ids) or "-1"
            for ids in (
                submissions,
                [one for one, number in submissions.items() if not number],
                [one for one, number in submissions.items() if number],
            )
        )
        source = (
            "SELECT CASE WHEN x.rejected THEN x.digest END FROM openreg_reference x "  # noqa: S608
            "WHERE x.scope = :scope AND x.reference = e.reference AND x.event = e.event "
            f"AND x.id < e.id AND NOT x.cancels AND x.submission_id IN ({reports}) "
            "ORDER BY x.id DESC LIMIT 1"
        )
        query = text(
            "SELECT e.reference, e.event, e.cancels, e.digest, e.submission_id, e.position, "  # noqa: S608
            f"CASE WHEN e.cancels THEN ({before}) END AS before, "
            f"CASE WHEN e.submission_id IN ({again}) THEN ({source}) END AS refused "
            "FROM (SELECT reference, event FROM openreg_staged UNION "
            f"SELECT reference, event FROM openreg_reference WHERE submission_id IN ({own})) r "
            f"JOIN openreg_reference e ON e.id = ({last})"
        )
        with self._transaction(write=False) as connection:
            stage(connection, records)
            found = connection.execution_options(stream_results=True).execute(
                query, {"scope": scope}
            )
            for rows in found.partitions(_FETCH):
                yield [Held(r[0], r[1], bool(r[2]), *r[3:]) for r in rows]

    def rejected(self, submissions: Sequence[int]) -> bool:
        """Whether the authority rejected any record of submissions that none of them sent again.

        Args:
            submissions: ids of submissions of one artifact for one business date.
        """
        row, later = ReferenceRow, aliased(ReferenceRow)
        again = (
            select(later.id)
            .where(later.submission_id.in_(submissions), later.id > row.id)
            .where(later.scope == row.scope, later.reference == row.reference)
            .where(later.event == row.event)
        )
        query = (
            select(row.id)
            .where(row.submission_id.in_(submissions), row.rejected)
            .where(~again.correlate(row).exists())
            .limit(1)
        )
        with self._transaction(write=False) as connection:
            return connection.scalar(query) is not None

    def reject(
        self,
        submission: int,
        answers: Iterable[list[Said]],
        files: Sequence[tuple[int, int]] = (),
        taken: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Note what the authority rejected, which then counts no more.

        A record that it accepts or looks at after all counts again.

        Args:
            submission: id of the submission.
            answers: what it said of single records, in batches.
            files: those rejected as a whole: their first position, and the one after their last.
            taken: those that it accepted, if only in part or in the end.
        """
        said = {"own": submission, "yes": True, "no": False}
        with self._transaction(write=True) as connection:
            stage(connection, _as_staged(answers))
            for first, end in taken:
                connection.execute(
                    update(ReferenceRow)
                    .where(ReferenceRow.submission_id == submission, ReferenceRow.rejected)
                    .where(ReferenceRow.position >= first, ReferenceRow.position < end)
                    .values(rejected=False)
                )
            for word, rejected in (("NOT cancels", ":no"), ("cancels", ":yes")):
                connection.execute(
                    text(
                        f"UPDATE openreg_reference SET rejected = {rejected} "  # noqa: S608
                        f"WHERE submission_id = :own AND rejected <> {rejected} AND position IN "
                        "(SELECT CAST(digest AS BIGINT) FROM openreg_staged "
                        f"WHERE digest <> '-1' AND {word})"
                    ),
                    said,
                )
            connection.execute(
                text(
                    "UPDATE openreg_reference SET rejected = :yes WHERE id IN (SELECT max(e.id) "
                    "FROM openreg_reference e JOIN openreg_staged s ON s.reference = e.reference "
                    "WHERE e.submission_id = :own AND s.digest = '-1' AND s.cancels "
                    "GROUP BY e.reference)"
                ),
                said,
            )
            for first, end in files:
                connection.execute(
                    update(ReferenceRow)
                    .where(ReferenceRow.submission_id == submission)
                    .where(ReferenceRow.position >= first, ReferenceRow.position < end)
                    .values(rejected=True)
                )


def _as_staged(answers: Iterable[list[Said]]) -> Iterator[list[StagedRecord]]:
    """Answers in the columns of the staging table: `digest` is the row, `cancels` the rejection."""
    number = count()
    for batch in answers:
        yield [(next(number), one.reference, one.rejected, str(one.row), "", "") for one in batch]


def _same(wanted: Submission) -> tuple[ColumnElement[bool], ...]:
    row = SubmissionRow
    return (
        row.scope == wanted.scope,
        row.report_id == wanted.report_id,
        row.business_date == wanted.business_date,
        row.artifact == wanted.artifact,
        row.content == wanted.content,
        # The same content as another version is another file: the authority would get it twice.
        row.version == wanted.version,
    )
