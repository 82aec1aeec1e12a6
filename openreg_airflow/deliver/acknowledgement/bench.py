"""The answers, the sent references and what was known before, joined by DuckDB.

What does not fit into its memory goes to files of the scratch folder, so that millions of answers
take seconds and no memory to speak of.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb

from openreg_airflow.deliver.acknowledgement.answers import WordFile
from openreg_airflow.deliver.acknowledgement.feedback import FeedbackError
from openreg_airflow.errors import StorageError
from openreg_airflow.sql_quoting import named
from openreg_airflow.store.acknowledgements import RecordAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.deliver.acknowledgement.addressee import Sent

_ASK = "It is kept and nothing of it was taken. Ask the authority what it belongs to."
_MEMORY = "256MiB"
#: Rows that are fetched at a time.
_ROWS = 10_000
#: Characters that may be said of one record.
_MOST_TEXT = 1 << 20


@dataclass
class Count:
    """How many records of one sent file are spoken of.

    Attributes:
        states: by anybody, in each state.
        said: by the feedback file at hand.
    """

    states: Counter[str] = field(default_factory=Counter)
    said: int = 0


class Bench:
    """Where a feedback file is held against what was sent; a context manager.

    Args:
        name: the feedback file's name, for messages.
        answers: what it says of records, as :class:`.AnswerFile` wrote it.
        sent: what was sent.
        known: what earlier files said, as :class:`.WordFile` wrote it; None for nothing.
        scratch: a private folder for temporary files.

    Raises:
        StorageError: the scratch folder's disk is full, or a file cannot be read.
    """

    def __init__(
        self, name: str, answers: Path, sent: Sent, known: Path | None, scratch: Path
    ) -> None:
        self._name = name
        self._sent = sent
        self._ends = list(accumulate(file.records for file in sent.files))
        self._db = duckdb.connect(
            ":memory:",
            config={
                "max_memory": _MEMORY,
                "threads": 2,
                "temp_directory": str(scratch / "matching_spill"),
            },
        )
        try:
            self._load(answers, known)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def _load(self, answers: Path, known: Path | None) -> None:
        columns = "reference, status, rules, text"
        self._run(f"CREATE TABLE answers AS SELECT {columns} FROM read_parquet($1)", answers)  # noqa: S608
        if known is None:
            self._run(f"CREATE TABLE known AS SELECT {columns} FROM answers LIMIT 0")  # noqa: S608
        else:
            self._run(f"CREATE TABLE known AS SELECT {columns} FROM read_parquet($1)", known)  # noqa: S608
        if self._sent.table is None or self._sent.reference is None:
            self._run("CREATE TABLE sent (reference VARCHAR, row BIGINT)")
            return
        column = named(self._sent.reference)
        # Where a record is cancelled and reported anew, an answer means the report.
        self._run(
            f"CREATE TABLE sent AS SELECT CAST({column} AS VARCHAR) AS reference, "  # noqa: S608
            "max(file_row_number) AS row FROM read_parquet($1, file_row_number = true) "
            f"WHERE {column} IS NOT NULL GROUP BY 1",
            self._sent.table,
        )

    def refuse_unknown(self) -> None:
        """See that only what was sent is spoken of.

        Raises:
            FeedbackError: with the first reference that was not.
        """
        [(count, first)] = self._run(
            "SELECT count(*), min(reference) FROM ("
            "SELECT DISTINCT reference FROM answers ANTI JOIN sent USING (reference))"
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

    def refuse_contradictions(self) -> None:
        """See that each record has one state.

        Raises:
            FeedbackError: with the first reference that has two.
        """
        [(first,)] = self._run(
            "SELECT min(reference) FROM (SELECT reference FROM answers GROUP BY reference "
            "HAVING min(status) <> max(status))"
        ).fetchall()
        if first is not None:
            message = f"{self._name} gives {first!r} two different states"
            raise FeedbackError(message, hint=_ASK)

    def write_newest(self, into: Path, *, accepted_too: bool) -> dict[int, Count]:
        """Write the newest word on every record that is not, or was not always, simply accepted.

        Args:
            into: the file that :class:`.WordFile` writes.
            accepted_too: also on those that are accepted now for the first time.

        Returns:
            By position of a sent file, how many words there are.
        """
        found = {position: Count() for position in range(1, len(self._ends) + 1)}
        with WordFile(into) as writer:
            for word, row, before, said in self._newest(accepted_too=accepted_too):
                count = found[word.position]
                count.states[word.status] += 1
                count.said += said
                # A million records that are accepted at once are no news, and stay in this file.
                writer.add(word, row, news=said and {word.status, before} != {"accepted"})
        return found

    def _newest(self, *, accepted_too: bool) -> Iterator[tuple[RecordAnswer, int, str, bool]]:
        """Words with the rows of their records, the states before, and who said them."""
        joined = self._run(
            "SELECT s.row, s.reference, a.status, a.rules, a.text, k.status, k.rules, k.text "
            "FROM sent s LEFT JOIN answers a USING (reference) LEFT JOIN known k USING (reference) "
            "WHERE a.status IN ('rejected', 'pending') OR k.status IS NOT NULL "
            "OR (a.status IS NOT NULL AND $1) ORDER BY s.row",
            accepted_too,
        )
        lines = (line for part in iter(lambda: joined.fetchmany(_ROWS), []) for line in part)
        for row, same in groupby(lines, itemgetter(0)):
            first = next(same)
            _, reference, status, rules, text, before, known_rules, known_text = first
            said = status is not None
            if said:
                rules, text = self._together(reference, first, same)  # noqa: B031 - rest of it
            else:
                status, rules, text = before, known_rules, known_text
            word = RecordAnswer(
                route="",
                artifact="",
                reference=reference,
                position=min(bisect_right(self._ends, row) + 1, len(self._ends)),
                status=status,
                rules=rules,
                text=text,
            )
            yield word, row, before or "accepted", said

    def _together(
        self, reference: str, first: tuple[Any, ...], others: Iterator[tuple[Any, ...]]
    ) -> tuple[str, str]:
        """What several answers of the same state say of one record."""
        rules, texts, length = {first[3]}, {first[4]}, 0
        for other in others:
            rules.add(other[3])
            texts.add(other[4])
            length += len(other[3]) + len(other[4])
            if length > _MOST_TEXT:
                message = f"{self._name} says more than {_MOST_TEXT} characters of {reference!r}"
                raise FeedbackError(message, hint=_ASK)
        return " ".join(sorted(rules)).strip(), "; ".join(sorted(texts - {""}))

    def _run(self, query: str, *given: object) -> duckdb.DuckDBPyConnection:
        values = [str(each) if isinstance(each, Path) else each for each in given]
        try:
            return self._db.execute(query, values)
        except duckdb.Error as error:
            message = f"{self._name} cannot be held against what was sent: {error}"
            raise StorageError(message, hint="See whether the disk is well.") from error
