"""What an authority said of records, kept on disk until the items that it means are found."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import duckdb
import pyarrow as pa

from openreg_airflow.errors import StorageError
from openreg_airflow.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: Rejections that are put there at a time.
_ROWS = 20_000
_MEMORY = "96MiB"


class Rejection(Record):
    """A record that the authority did not accept.

    Attributes:
        table: the table of records.
        key: the values that name it, as text.
        rule: the authority's id of what it does not meet.
        message: what the authority says.
        row: its 0-based number in the table that the run reported, where several may have the key.
    """

    table: str
    key: tuple[str | None, ...]
    rule: str
    message: str
    row: int | None = None


class Rejections:
    """Rejections by the records that they mean, however many they are; a context manager.

    Args:
        said: what the authority said; read once.
        scratch: a private folder for what does not fit into memory.

    Raises:
        StorageError: the disk is not well.
    """

    def __init__(self, said: Iterable[Rejection], scratch: Path) -> None:
        self._database = duckdb.connect(
            ":memory:",
            config={"max_memory": _MEMORY, "threads": 1, "temp_directory": str(scratch)},
        )
        try:
            self._run("CREATE TABLE said (place VARCHAR, rule VARCHAR, message VARCHAR, n BIGINT)")
            self._run("CREATE TABLE found (place VARCHAR)")
            self._take(said)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def _take(self, said: Iterable[Rejection]) -> None:
        waiting, taken = iter(said), 0
        while rows := list(islice(waiting, _ROWS)):
            batch = {
                "place": [_place(one.table, one.key) for one in rows],
                "rule": [one.rule for one in rows],
                "message": [one.message for one in rows],
                "n": range(taken, taken + len(rows)),
            }
            taken += len(rows)
            self._database.register("batch", pa.table(batch))
            self._run("INSERT INTO said SELECT * FROM batch")

    def of(
        self, records: Mapping[int, tuple[str, tuple[str | None, ...]]]
    ) -> dict[int, list[dict[str, Any]]]:
        """The reasons of those records of which something was said.

        Args:
            records: the tables and the keys of some, by their numbers.
        """
        places = [_place(table, key) for table, key in records.values()]
        self._database.register("asked", pa.table({"id": list(records), "place": places}))
        lines = self._run(
            "SELECT id, rule, message FROM asked JOIN said USING (place) ORDER BY id, n"
        ).fetchall()
        self._run("INSERT INTO found SELECT DISTINCT place FROM asked SEMI JOIN said USING (place)")
        reasons: dict[int, list[dict[str, Any]]] = {}
        for number, rule, message in lines:
            reason = {"rule": rule, "message": message, "table": records[number][0]}
            reasons.setdefault(number, []).append(reason)
        return reasons

    def unfound(self) -> tuple[str, tuple[str | None, ...]] | None:
        """The table and the key of the first record that nobody asked for; None without any."""
        first = self._run(
            "SELECT place FROM said ANTI JOIN found USING (place) ORDER BY n LIMIT 1"
        ).fetchone()
        if first is None:
            return None
        table, *key = json.loads(first[0])
        return table, tuple(key)

    def _run(self, query: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._database.execute(query)
        except duckdb.Error as error:
            message = f"what was rejected cannot be held against the queue: {error}"
            raise StorageError(message, hint="See whether the disk is well.") from error


def _place(table: str, key: tuple[str | None, ...]) -> str:
    return json.dumps([table, *key])
