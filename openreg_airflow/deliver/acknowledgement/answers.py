"""What a feedback file says of records, kept in files so that memory does not grow with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.deliver.acknowledgement.feedback import Answer, FeedbackError
from openreg_airflow.parquet_rows import RowFile, opened
from openreg_airflow.references.names import name_of
from openreg_airflow.store.acknowledgement_records import RecordAnswer
from openreg_airflow.store.models import ID, escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_ASK = "It is kept and nothing of it was taken. Ask the authority what it belongs to."
#: Rows that are read at a time.
_ROWS = 10_000
#: Bytes of Arrow's that are gathered before they are written.
_GATHERED = 16 << 20


class AnswerFile(RowFile):
    """Writes the answers of a feedback file to Parquet; a context manager."""

    schema = pa.schema([(name, pa.string()) for name in ("reference", "status", "rules", "text")])

    def take(self, answer: Answer) -> None:
        """Add an answer.

        Raises:
            FeedbackError: its reference is none that could be kept.
        """
        reference = name_of(answer.reference)
        if len(reference) > ID:
            message = f"a reference has {len(reference)} characters: {reference[:40]!r}..."
            hint = f"References have at most {ID} characters; the file is kept. Ask the authority."
            raise FeedbackError(message, hint=hint)
        if escaped(reference) != reference:
            message = f"{reference!r} is no text that a reference can be"
            raise FeedbackError(message, hint=_ASK)
        rules, text = escaped(" ".join(answer.rules)), escaped(answer.text)
        self._put(
            {"reference": reference, "status": answer.status, "rules": rules, "text": text},
            len(rules) + len(text),
        )


class WordFile(RowFile):
    """Writes words on records to Parquet, one on each; a context manager."""

    schema = pa.schema(
        [*AnswerFile.schema, ("position", pa.int32()), ("row", pa.int64()), ("news", pa.bool_())]
    )

    def add(self, word: RecordAnswer, *, news: bool) -> None:
        """Add a word.

        Args:
            word: what is said of a record.
            news: this feedback file says so, and not just that a record is accepted at once.
        """
        self._put(
            word.model_dump(exclude={"route", "artifact"}) | {"news": news},
            len(word.rules) + len(word.text),
        )


class Words:
    """The words of a feedback file, read batch by batch as often as they are asked for.

    Args:
        path: as :class:`WordFile` wrote them.
        route: of the delivery.
        artifact: what was delivered.
    """

    def __init__(self, path: Path, route: str, artifact: str) -> None:
        self.path = path
        self._own = {"route": route, "artifact": artifact}

    def news(self) -> Iterator[RecordAnswer]:
        """What the store does not know yet."""
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_ROWS):
                for line in batch.filter(batch.column("news")).to_pylist():
                    del line["news"]
                    yield RecordAnswer(**self._own, **line)

    def rejected(self) -> Iterator[RecordAnswer]:
        """What was rejected now, in the order of the rows."""
        return (word for word in self.news() if word.status == "rejected")


def write_known(words: Iterable[RecordAnswer], path: Path) -> None:
    """Write words that only the store has, as :class:`WordFile` has them."""
    with WordFile(path) as writer:
        for word in words:
            writer.add(word, news=False)


def put_together(older: Sequence[Path], path: Path) -> None:
    """Write the words of several files into one, in their order; none of them is news any more."""
    with pq.ParquetWriter(path, WordFile.schema, compression="zstd") as writer:
        gathered: list[pa.RecordBatch] = []
        for one in older:
            with opened(one) as file:
                for batch in file.iter_batches(_ROWS, columns=WordFile.schema.names[:-1]):
                    old = pa.array([False] * batch.num_rows, pa.bool_())
                    gathered.append(batch.append_column("news", old))
                    rows = sum(each.num_rows for each in gathered)
                    if rows >= _ROWS or sum(each.nbytes for each in gathered) >= _GATHERED:
                        writer.write_table(pa.Table.from_batches(gathered))
                        gathered = []
        if gathered:
            writer.write_table(pa.Table.from_batches(gathered))
