"""The answers, the names of what was sent and what was known before, joined by DuckDB.

What does not fit into its memory goes to files of the scratch folder, so that millions of answers
take seconds and no memory to speak of.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb

from openreg_airflow.deliver.acknowledgement.answers import WordFile
from openreg_airflow.deliver.acknowledgement.feedback import FeedbackError
from openreg_airflow.errors import StorageError
from openreg_airflow.references.names import name_sql
from openreg_airflow.store.acknowledgement_records import RecordAnswer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from openreg_airflow.deliver.acknowledgement.addressee import Sent
    from openreg_airflow.deliver.acknowledgement.feedback import RecordStatus
    from openreg_airflow.deliver.acknowledgement.kept import KnownWords

_ASK = "It is kept and nothing of it was taken. Ask the authority what it belongs to."
_MEMORY = "256MiB"
#: Rows that are fetched at a time.
_ROWS = 10_000
_WORDS = "status, rules, text"
#: Beyond the last row of any file.
_NO_END = 1 << 62
#: What people are told of a rejection that may be that of another row.
_UNCLEAR = "the answer names only the reference: it may mean the cancellation in the same file"
#: Characters that may be said of one record.
_MOST_TEXT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Heard:
    """How many records of a file are spoken of.

    Attributes:
        named: by now, by their newest states.
        own: by this feedback file.
        again: by this feedback file, and by earlier ones.
    """

    named: dict[RecordStatus, int]
    own: dict[RecordStatus, int]
    again: int


@dataclass(frozen=True)
class Written:
    """What was written of records.

    Attributes:
        named: how many records of each position are spoken of by now, by their newest states.
        words: how many words were written.
    """

    named: dict[int, dict[RecordStatus, int]]
    words: int


class Bench:
    """Where a feedback file is held against what was sent; a context manager.

    Where several rows have the same name, each of them is looked at by the authority only when it
    took the ones before: a cancellation, then the new report. So what is rejected or pending are
    the last of them, as many as the file says, and the others are accepted.

    Args:
        name: the feedback file's name, for messages.
        answers: what it says of records, as :class:`.AnswerFile` wrote it.
        sent: what was sent.
        answered: positions from 1 of the files that it answers.
        known: what earlier files said; None for nothing.
        scratch: a private folder for temporary files.
        unheard: positions of files of which nothing is known, whatever was said before: they were
            sent once more since.

    Attributes:
        everything: all words are written anew, and not only those of this feedback file: of what
            was known not all counts any more, or nobody has counted it.

    Raises:
        StorageError: the scratch folder's disk is full, or a file cannot be read.
    """

    def __init__(  # noqa: PLR0917 - what is held against what
        self,
        name: str,
        answers: Path,
        sent: Sent,
        answered: Collection[int],
        known: KnownWords | None,
        scratch: Path,
        *,
        unheard: Collection[int] = (),
    ) -> None:
        self._name = name
        self._sent = sent
        self._answered = answered
        named = {} if known is None else known.named
        forgotten = named is None or any(sum(named.get(n, {}).values()) for n in unheard)
        self.everything = forgotten
        self._named: Mapping[int, Mapping[RecordStatus, int]] = (
            {} if forgotten or named is None else named
        )
        self._db = duckdb.connect(
            ":memory:",
            config={
                "max_memory": _MEMORY,
                "threads": 2,
                "temp_directory": str(scratch / "matching_spill"),
            },
        )
        try:
            self._run("SET TimeZone = 'UTC'")
            self._load(answers, known, sorted(unheard))
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _load(self, answers: Path, known: KnownWords | None, unheard: list[int]) -> None:
        columns = "reference AS name, status, rules, text"
        self._run(f"CREATE TABLE answers AS SELECT {columns} FROM read_parquet($1)", answers)  # noqa: S608
        self._load_sent()
        if known is None or not known.paths:
            self._run(f"CREATE TABLE known AS SELECT 0 AS row, {_WORDS} FROM answers LIMIT 0")  # noqa: S608
            return
        # Which words are the newest is told by few columns; only of those the others are read.
        paths = [str(path) for path in known.paths]
        source = "read_parquet($1, filename = true, file_row_number = true)"
        row = (
            "CASE WHEN row < 0 THEN (SELECT max(s.row) FROM sent s WHERE s.name = reference) "
            "ELSE row END"
            if self.everything
            else "row"
        )
        self._run(
            f"CREATE TABLE places AS SELECT row, arg_max(filename, age) AS filename, "  # noqa: S608
            "arg_max(place, age) AS file_row_number FROM ("
            f"SELECT {row} AS row, filename, file_row_number AS place, "
            "(list_position($1, filename), file_row_number) AS age "
            f"FROM {source} WHERE NOT list_contains($2::INTEGER[], position)) "
            "SEMI JOIN sent USING (row) GROUP BY row",
            paths,
            unheard,
        )
        self._run(
            f"CREATE TABLE known AS SELECT p.row AS row, {_WORDS} FROM {source} "  # noqa: S608
            "JOIN places p USING (filename, file_row_number)",
            paths,
        )

    def _load_sent(self) -> None:
        table, names = self._sent.table, self._sent.names
        if table is None or not names:
            self._run("CREATE TABLE sent (name VARCHAR, row BIGINT, part INTEGER, here BOOLEAN)")
            return
        self._run("CREATE TABLE parts (part INTEGER, first BIGINT, after BIGINT, here BOOLEAN)")
        ends = list(accumulate(file.records for file in self._sent.files))
        for part, (first, after) in enumerate(zip([0, *ends], ends, strict=False), 1):
            last = part == len(ends)
            values = (part, first, _NO_END if last else after, part in self._answered)
            self._run("INSERT INTO parts VALUES ($1, $2, $3, $4)", *values)
        # What is not spoken of matters only where what was known is written anew.
        spoken = "" if self.everything else "SEMI JOIN answers USING (name) "
        self._run(
            "CREATE TABLE sent AS SELECT name, row, part, here FROM ("  # noqa: S608
            f"SELECT {name_sql(names)} AS name, file_row_number AS row "
            "FROM read_parquet($1, file_row_number = true)) "
            f"{spoken}JOIN parts ON row >= first AND row < after",
            table,
        )

    def refuse_unknown(self) -> None:
        """See that only what was sent is spoken of, and only in the files that are answered.

        Raises:
            FeedbackError: with the first name that was not.
        """
        [(count, first)] = self._run(
            "SELECT count(*), min(name) FROM ("
            "SELECT DISTINCT name FROM answers ANTI JOIN sent USING (name))"
        ).fetchall()
        if count:
            message = (
                f"{self._name} speaks of {count} records that were not sent, such as {first!r}"
            )
            hint = (
                "Set `reference` to the column that names a record."
                if self._sent.table is None
                else _ASK
            )
            raise FeedbackError(message, hint=hint)
        [(part,)] = self._run(
            "SELECT min(part) FROM sent JOIN (SELECT DISTINCT name FROM answers "
            "ANTI JOIN (SELECT name FROM sent WHERE here) USING (name)) USING (name)"
        ).fetchall()
        if part is not None:
            of = self._sent.files[part - 1].filename
            message = f"{self._name} speaks of records of {of}, which it does not answer"
            raise FeedbackError(message, hint=_ASK)

    def refuse_contradictions(self) -> None:
        """See that each name has one state; of several rows some may be accepted and some not.

        Raises:
            FeedbackError: with the first name that has two.
        """
        self._run(
            "CREATE TABLE said AS SELECT name, count(*) FILTER (status = 'accepted') AS taken, "
            "count(*) FILTER (status <> 'accepted') AS others, "
            "min(status) FILTER (status <> 'accepted') AS one, "
            "max(status) FILTER (status <> 'accepted') AS other FROM answers GROUP BY name"
        )
        # What is said of a row; nothing of one that is accepted because a later one was looked at.
        self._run(
            "CREATE TABLE spoken AS SELECT row, name, rows, taken, others, CASE "
            "WHEN one IS NULL THEN 'accepted' "
            "WHEN back <= greatest(1, least(others, rows - (taken > 0)::INTEGER)) THEN one "
            "END AS status, one <> other AS differ FROM ("
            "SELECT *, count(*) OVER (PARTITION BY name) AS rows, "
            "row_number() OVER (PARTITION BY name ORDER BY row DESC) AS back "
            "FROM sent JOIN said USING (name) WHERE here)"
        )
        [(first,)] = self._run(
            "SELECT min(name) FROM spoken WHERE differ "
            "OR (rows = 1 AND taken > 0 AND status <> 'accepted')"
        ).fetchall()
        if first is not None:
            message = f"{self._name} gives {first!r} two different states"
            raise FeedbackError(message, hint=_ASK)

    def forget(self, position: int) -> None:
        """Let nothing of what this feedback file says of a file count: it was said before."""
        self._run(
            "DELETE FROM spoken WHERE row IN (SELECT row FROM sent WHERE part = $1)", position
        )

    def refuse_other_words(self, position: int) -> None:
        """See that a file of an answer says of no record something else than an earlier one.

        What was pending may be settled. Of a name that several rows have no two files may speak:
        nobody could tell which of them they mean.

        Raises:
            FeedbackError: with the first name of which it does.
        """
        both = "FROM spoken p JOIN known k USING (row) JOIN sent s USING (row) WHERE s.part = $1"
        [(other,)] = self._run(
            f"SELECT min(p.name) {both} AND k.status <> 'pending' AND p.status <> k.status",
            position,
        ).fetchall()
        [(again,)] = self._run(
            f"SELECT min(name) FROM (SELECT p.name {both} AND p.rows > 1 GROUP BY p.name "  # noqa: S608
            "HAVING count(*) FILTER (k.status = 'pending') = 0)",
            position,
        ).fetchall()
        if other is not None:
            message = f"{self._name} says of {other!r} something else than an earlier file did"
            raise FeedbackError(message, hint=_ASK)
        if again is not None:
            message = f"{self._name} speaks again of {again!r}, which several records are named"
            raise FeedbackError(message, hint=_ASK)

    def heard(self, position: int) -> Heard:
        """How many records of a file are spoken of, by their newest states."""
        lines = self._run(
            "SELECT coalesce(p.status, k.status, 'accepted') AS status, p.status IS NOT NULL, "
            "k.status IS NOT NULL, count(*) FROM sent s LEFT JOIN spoken p USING (row) "
            "LEFT JOIN known k USING (row) "
            "WHERE s.part = $1 AND (p.row IS NOT NULL OR k.row IS NOT NULL) GROUP BY ALL",
            position,
        ).fetchall()
        states: tuple[RecordStatus, ...] = ("accepted", "rejected", "pending")
        others = self._unspoken(position)
        return Heard(
            named={
                s: others.get(s, 0) + sum(n for status, _, _, n in lines if status == s)
                for s in states
            },
            own={s: sum(n for status, own, _, n in lines if own and status == s) for s in states},
            again=sum(n for _, own, before, n in lines if own and before),
        )

    def _unspoken(self, position: int) -> dict[RecordStatus, int]:
        """How many records of a file only others speak of, beside those that are looked at."""
        counted = self._named.get(position, {})
        looked_at = dict(
            self._run(
                "SELECT k.status, count(*) FROM sent s JOIN known k USING (row) "
                "WHERE s.part = $1 GROUP BY ALL",
                position,
            ).fetchall()
        )
        return {status: n - looked_at.get(status, 0) for status, n in counted.items()}

    def write_newest(self, into: Path, *, accepted_too: bool) -> Written:
        """Write the newest words on records that are not, or were not always, simply accepted.

        They are those of this feedback file, or all that are known; see :attr:`everything`.

        Args:
            into: the file that :class:`.WordFile` writes.
            accepted_too: also on those that are accepted now for the first time.
        """
        named: dict[int, Counter[RecordStatus]] = defaultdict(Counter)
        for position, counts in self._named.items():
            named[position].update(counts)
        with WordFile(into) as writer:
            for word, before, new in self._newest(accepted_too=accepted_too):
                # A million records that are accepted at once are no news, and stay in this file.
                news = new and {word.status, before or "accepted"} != {"accepted"}
                writer.add(word, news=news)
                named[word.position][word.status] += 1
                if before is not None and not self.everything:
                    named[word.position][before] -= 1
        return Written({position: dict(each) for position, each in named.items()}, writer.written)

    def _newest(
        self, *, accepted_too: bool
    ) -> Iterator[tuple[RecordAnswer, RecordStatus | None, bool]]:
        """Words with the states before, and whether it is this file that says so first."""
        of = "" if self.everything else "p.row IS NOT NULL AND "
        joined = self._run(
            "SELECT s.row, s.name, s.part, p.status, a.rules, a.text, k.status, k.rules, k.text, "  # noqa: S608
            "p.rows > greatest(1, p.others) "
            "FROM sent s LEFT JOIN spoken p USING (row) LEFT JOIN known k USING (row) "
            "LEFT JOIN answers a ON a.name = s.name AND a.status = p.status "
            f"WHERE {of}(p.status IN ('rejected', 'pending') OR k.status IS NOT NULL "
            "OR (p.row IS NOT NULL AND $1)) ORDER BY s.row",
            accepted_too,
        )
        lines = (line for part in iter(lambda: joined.fetchmany(_ROWS), []) for line in part)
        for row, same in groupby(lines, itemgetter(0)):
            first = next(same)
            _, reference, part, status, _, _, before, known_rules, known_text, unclear = first
            said = status is not None
            if said:
                rules, text = self._together(first, same)  # noqa: B031 - the rest of it
                if unclear and status == "rejected":
                    text = f"{text} ({_UNCLEAR})".lstrip()
            else:
                status, rules, text = before or "accepted", known_rules or "", known_text or ""
            word = RecordAnswer(
                route="",
                artifact="",
                reference=reference,
                position=part,
                row=row,
                status=status,
                rules=rules,
                text=text,
            )
            # What was said before in the same words has gone its way.
            news = said and (status, rules, text) != (before, known_rules, known_text)
            yield word, before, news

    def _together(
        self, first: tuple[Any, ...], others: Iterator[tuple[Any, ...]]
    ) -> tuple[str, str]:
        """What several answers of the same state say of one record."""
        rules, texts, length = {first[4]}, {first[5]}, 0
        for other in others:
            rules.add(other[4])
            texts.add(other[5])
            length += len(other[4]) + len(other[5])
            if length > _MOST_TEXT:
                message = f"{self._name} says more than {_MOST_TEXT} characters of {first[1]!r}"
                raise FeedbackError(message, hint=_ASK)
        return " ".join(sorted(rules)).strip(), "; ".join(sorted(texts - {""}))

    def _run(self, query: str, *given: object) -> duckdb.DuckDBPyConnection:
        values = [str(each) if isinstance(each, Path) else each for each in given]
        try:
            return self._db.execute(query, values)
        except duckdb.Error as error:
            message = f"{self._name} cannot be held against what was sent: {error}"
            raise StorageError(message, hint="See whether the disk is well.") from error
