"""Holding an authority's answers against what was sent; nothing is guessed.

DuckDB joins the answers with the references of the sent table, so that a million records take
seconds and no memory to speak of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pyarrow as pa

from openreg_airflow.deliver.acknowledgement.feedback import Answer, Feedback, FeedbackError
from openreg_airflow.deliver.acknowledgement.pattern import fill, matches
from openreg_airflow.parquet_rows import RowFile
from openreg_airflow.sql_quoting import named
from openreg_airflow.store.acknowledgements import Acknowledgement, RecordAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec
    from openreg_airflow.records import ArtifactFile

_ASK = "It is kept and nothing of it was taken. Ask the authority what it belongs to."
ANSWERS = pa.schema(
    [
        ("reference", pa.string()),
        ("status", pa.string()),
        ("rules", pa.string()),
        ("text", pa.string()),
    ]
)


class AnswerFile(RowFile):
    """Writes the answers of a feedback file to Parquet; a context manager."""

    schema = ANSWERS

    def take(self, answer: Answer) -> None:
        """Add an answer."""
        rules = " ".join(answer.rules)
        self._put(
            {
                "reference": answer.reference,
                "status": answer.status,
                "rules": rules,
                "text": answer.text,
            },
            len(rules) + len(answer.text),
        )


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What was sent over a route.

    Attributes:
        files: the report files of the artifact, in their order.
        table: the artifact's table as Parquet; None when records are not spoken of by reference.
        reference: its column that names a record at the authority.
    """

    business_date: date
    files: Sequence[ArtifactFile]
    table: Path | None
    reference: str | None


@dataclass(kw_only=True)
class Matched:
    """What a feedback file says of what was sent.

    Attributes:
        standings: how it stands now with each file that was answered.
        answers: every record that is or was not simply accepted.
        rejected: the rejected ones with the 0-based numbers of their rows in the table.
    """

    standings: list[Acknowledgement] = field(default_factory=list)
    answers: list[RecordAnswer] = field(default_factory=list)
    rejected: list[tuple[int, RecordAnswer]] = field(default_factory=list)


def answered_files(
    feedback: Sequence[Feedback], name: str, sent: Sent, spec: AcknowledgementSpec
) -> dict[int, Feedback]:
    """Which sent file each part of a feedback file answers, by position from 1.

    Raises:
        FeedbackError: it answers something else, or does not say what.
    """
    found: dict[int, Feedback] = {}
    for one in feedback:
        if one.original is not None:
            here = [n for n, f in enumerate(sent.files, 1) if one.original in _known(f, sent, spec)]
            said = f"it answers {one.original!r}, which was not sent here"
        else:
            here = [
                number
                for number, file in enumerate(sent.files, 1)
                if matches(name, spec.pattern, file.filename, sent.business_date)
            ]
            said = f"it does not say which of {len(here)} files it answers"
        if len(here) != 1 or here[0] in found:
            message = f"{name} is no answer to this delivery: {said}"
            raise FeedbackError(message, hint=_ASK)
        found[here[0]] = one
    return found


def keys_of(
    table: Path, columns: Sequence[str], rows: Sequence[int]
) -> list[tuple[str | None, ...]]:
    """The values of some columns in some rows, as text.

    Args:
        table: a Parquet file.
        columns: their names.
        rows: 0-based numbers of rows, ascending.
    """
    wanted = ", ".join(f"CAST({named(name)} AS VARCHAR)" for name in columns)
    with duckdb.connect(":memory:", config={"max_memory": "512MiB", "threads": 2}) as database:
        database.execute("SET TimeZone = 'UTC'")
        database.register("wanted", pa.table({"row": pa.array(rows, pa.int64())}))
        return database.execute(
            f"SELECT {wanted} FROM read_parquet($1, file_row_number = true) "  # noqa: S608
            "SEMI JOIN wanted ON file_row_number = wanted.row ORDER BY file_row_number",
            [str(table)],
        ).fetchall()


def _known(file: ArtifactFile, sent: Sent, spec: AcknowledgementSpec) -> set[str]:
    name = file.filename
    patterns = ["{filename}", "{stem}", "{stem0}", *([spec.original] if spec.original else [])]
    return {fill(pattern, name, sent.business_date) for pattern in patterns}


def match(
    name: str,
    feedback: Sequence[Feedback],
    answers: Path,
    sent: Sent,
    spec: AcknowledgementSpec,
    *,
    known: Sequence[RecordAnswer],
    standings: Sequence[Acknowledgement],
    now: datetime,
) -> Matched:
    """Hold a feedback file against what was sent and what is known of it.

    Args:
        name: the feedback file's name.
        feedback: what it says of files.
        answers: what it says of records, as :class:`AnswerFile` wrote it.
        sent: what was sent.
        spec: what was awaited.
        known: what earlier files said of records.
        standings: how it stood with the files before.
        now: the instant that is recorded.

    Raises:
        FeedbackError: it speaks of records that were not sent, contradicts itself, or its counts
            are not those of what was sent.
    """
    answered = answered_files(feedback, name, sent, spec)
    with _Bench(name, answers, sent) as bench:
        bench.refuse_unknown()
        bench.refuse_contradictions()
        # Where nothing is said of the whole file, each accepted record is a word of its own.
        silent = any(one.status in (None, "received") for one in answered.values())
        merged = bench.merged(known, accepted_too=silent)
        result = Matched()
        for before in standings:
            if (one := answered.get(before.position)) is None:
                if any(answer.position == before.position for _, answer in merged):
                    message = (
                        f"{name} speaks of records of {before.filename}, which it does not answer"
                    )
                    raise FeedbackError(message, hint=_ASK)
                continue
            result.standings.append(_standing(name, before, one, merged, now))
        result.answers = [answer for _, answer in merged]
        result.rejected = [(row, answer) for row, answer in merged if answer.status == "rejected"]
    return result


def _standing(
    name: str,
    before: Acknowledgement,
    feedback: Feedback,
    merged: list[tuple[int, RecordAnswer]],
    now: datetime,
) -> Acknowledgement:
    counts = {"accepted": 0, "rejected": 0, "pending": 0}
    for _, answer in merged:
        if answer.position == before.position:
            counts[answer.status] += 1
    left = before.sent - sum(counts.values())
    state = feedback.status or _state_of(counts, left)
    if state in ("rejected", "corrupted"):
        counts["rejected"] += left
    elif state in ("accepted", "partly accepted"):
        counts["accepted"] += left
    else:
        counts["pending"] += left
    _hold_counts(name, before, feedback, counts)
    return before.model_copy(
        update={
            **counts,
            "state": state,
            "answered_at": now,
            "text": " ".join([*feedback.rules, feedback.text]).strip(),
        }
    )


def _state_of(counts: dict[str, int], left: int) -> str:
    """What a file's state is when only its records are spoken of."""
    if left:
        return "received"
    if not counts["rejected"]:
        return "accepted"
    return "partly accepted" if counts["accepted"] or counts["pending"] else "rejected"


def _hold_counts(
    name: str, before: Acknowledgement, feedback: Feedback, counts: dict[str, int]
) -> None:
    """See that the authority counted what was sent, and what it lists."""
    if feedback.total is not None and feedback.total != before.sent:
        message = f"{name} counts {feedback.total} records, {before.filename} has {before.sent}"
        raise FeedbackError(message, hint=_ASK)
    if feedback.status == "accepted" and counts["rejected"]:
        message = f"{name} accepts {before.filename} and lists rejected records of it"
        raise FeedbackError(message, hint=_ASK)
    if feedback.counts is None or feedback.status in ("rejected", "corrupted"):
        return
    told = {status: feedback.counts.get(status, 0) for status in ("rejected", "pending")}
    here = {status: counts[status] for status in told}
    if told != here:
        message = (
            f"{name} counts {told['rejected']} rejected and {told['pending']} pending records of "
            f"{before.filename}, but names {here['rejected']} and {here['pending']}"
        )
        raise FeedbackError(message, hint=_ASK)


class _Bench:
    """The answers and the sent references in one database."""

    def __init__(self, name: str, answers: Path, sent: Sent) -> None:
        self._name = name
        self._sent = sent
        self._db = duckdb.connect(":memory:", config={"max_memory": "512MiB", "threads": 2})
        self._db.execute("SET preserve_insertion_order = true")
        self._db.execute(
            "CREATE TABLE answers AS SELECT reference, status, "
            "string_agg(DISTINCT rules, ' ' ORDER BY rules) AS rules, "
            "string_agg(DISTINCT text, '; ' ORDER BY text) AS text FROM read_parquet($1) "
            "GROUP BY reference, status",
            [str(answers)],
        )
        if sent.table is None or sent.reference is None:
            self._db.execute("CREATE TABLE sent (reference VARCHAR, row BIGINT, position INTEGER)")
            return
        self._db.execute(
            f"CREATE TABLE sent AS SELECT CAST({named(sent.reference)} AS VARCHAR) AS reference, "  # noqa: S608
            "file_row_number AS row, 1 AS position "
            "FROM read_parquet($1, file_row_number = true)",
            [str(sent.table)],
        )
        # Where a record is cancelled and reported anew, an answer means the report.
        self._db.execute(
            "UPDATE sent SET reference = NULL FROM (SELECT reference, max(row) AS last FROM sent "
            "GROUP BY reference HAVING count(*) > 1) t "
            "WHERE sent.reference = t.reference AND sent.row < t.last"
        )
        first = 0
        for position, file in enumerate(sent.files, 1):
            self._db.execute(
                "UPDATE sent SET position = $1 WHERE row >= $2 AND row < $3",
                [position, first, first + file.records],
            )
            first += file.records

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def refuse_unknown(self) -> None:
        found = self._rows(
            "SELECT reference FROM answers WHERE reference NOT IN (SELECT reference FROM sent "
            "WHERE reference IS NOT NULL) ORDER BY reference"
        )
        if found:
            message = (
                f"{self._name} speaks of {len(found)} records that were not sent, such as "
                f"{found[0][0]!r}"
            )
            hint = (
                "Set `reference` to the column that names a record."
                if self._sent.table is None
                else _ASK
            )
            raise FeedbackError(message, hint=hint)

    def refuse_contradictions(self) -> None:
        found = self._rows(
            "SELECT reference FROM answers GROUP BY reference HAVING count(*) > 1 ORDER BY 1"
        )
        if found:
            message = f"{self._name} gives {found[0][0]!r} two different states"
            raise FeedbackError(message, hint=_ASK)

    def merged(
        self, known: Sequence[RecordAnswer], *, accepted_too: bool
    ) -> list[tuple[int, RecordAnswer]]:
        """The newest word on every record that is not, or was not always, simply accepted.

        Args:
            known: earlier words.
            accepted_too: also on those that are accepted now for the first time.
        """
        self._db.register(
            "known",
            pa.Table.from_pylist(
                [
                    {"reference": a.reference, "status": a.status, "rules": a.rules, "text": a.text}
                    for a in known
                ],
                schema=ANSWERS,
            ),
        )
        rows = self._rows(
            "SELECT s.row, s.position, s.reference, coalesce(a.status, k.status), "
            "coalesce(a.rules, k.rules, ''), coalesce(a.text, k.text, '') FROM sent s "
            "LEFT JOIN answers a ON a.reference = s.reference "
            "LEFT JOIN known k ON k.reference = s.reference "
            "WHERE a.status IN ('rejected', 'pending') OR k.status IS NOT NULL "
            "OR (a.status IS NOT NULL AND $1) ORDER BY s.row",
            [accepted_too],
        )
        return [
            (
                row,
                RecordAnswer(
                    route="",
                    artifact="",
                    reference=reference,
                    position=position,
                    status=status,
                    rules=rules.strip(),
                    text=text.strip(),
                ),
            )
            for row, position, reference, status, rules, text in rows
        ]

    def _rows(self, query: str, given: Sequence[Any] = ()) -> list[Any]:
        return self._db.execute(query, list(given)).fetchall()
