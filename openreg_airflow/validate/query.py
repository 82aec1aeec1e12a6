"""The questions that the engine asks of one rule's SQL: its columns, how many rows, which rows."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb

from openreg_airflow.errors import StorageError
from openreg_airflow.sql_quoting import named
from openreg_airflow.validate.session import reason
from openreg_airflow.validate.statement import BUSINESS_DATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from openreg_airflow.validate.statement import Statement

#: Most characters of one value that are kept of a failing row; a longer one ends in ``…``.
KEPT = 4096
#: Rows of groups that are kept in memory or in temporary files while they are shown.
MOST_ONCE = 100_000
_FETCH = 1024


class RuleFailedError(Exception):
    """A rule could not be evaluated; the text says why.

    ``fatal`` means that the connection cannot be used any more.
    """

    def __init__(self, text: str, *, fatal: bool = False) -> None:
        super().__init__(text)
        self.fatal = fatal


class FailingRows:
    """The rows that one rule's SQL returns.

    Every method raises :class:`RuleFailedError` when DuckDB cannot evaluate the SQL,
    :class:`~openreg_airflow.errors.StorageError` when a file cannot be read or written, and
    ``duckdb.InterruptException`` when the connection was interrupted.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, statement: Statement, business_date: date
    ) -> None:
        self._connection = connection
        self._statement = statement
        self._business_date = business_date
        self._parameters = {BUSINESS_DATE: business_date} if statement.dated else {}

    def columns(self) -> tuple[str, ...]:
        """The names of the columns; doubles are numbered by DuckDB."""
        list(self._ask("SELECT * FROM (", ") LIMIT 0"))
        return tuple(column[0] for column in self._connection.description or ())

    def count(self) -> int:
        """The number of rows."""
        [(rows,)] = self._ask("SELECT count(*) FROM (", ")")
        return int(rows)

    def first(self, columns: tuple[str, ...], most: int) -> Iterator[dict[str, str | None]]:
        """The first rows as text by column.

        They come in the statement's own order when it has one that does not change, otherwise
        sorted by all columns from left to right.

        Args:
            columns: what :meth:`columns` gave.
            most: at most so many rows.
        """
        names = [f"c{number}" for number in range(len(columns))]
        texts = ", ".join(map(as_text, names))
        order = "" if self._statement.ordered else f"ORDER BY {', '.join(names)}"
        before = f"SELECT {texts} FROM (SELECT * FROM ("  # noqa: S608 - names of ours only
        after = f") AS failing({', '.join(names)}) {order} LIMIT {most})"
        for row in self._ask(before, after):
            yield dict(zip(columns, map(_cut, row), strict=True))

    def lists(self, columns: tuple[str, ...]) -> Iterator[dict[str, str | None]]:
        """Rows whose SQL gives one list of texts each, of :func:`as_text`, for all columns."""
        for (values,) in self._ask("", ""):
            yield dict(zip(columns, map(_cut, values), strict=True))

    def once(self, columns: tuple[str, ...], table: str) -> tuple[int, FailingRows] | None:
        """Evaluate the SQL a single time, for its count and its rows.

        Args:
            columns: what :meth:`columns` gave.
            table: the name of a temporary table for the rows, to be dropped by the caller.

        Returns:
            The number of rows and themselves; None when they are more than :data:`MOST_ONCE`, or
            one of their values cannot be evaluated.
        """
        names = ", ".join(f"c{number}" for number in range(len(columns)))
        before = f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM ("  # noqa: S608
        try:
            [(rows,)] = self._ask(before, f") AS failing({names}) LIMIT {MOST_ONCE + 1}")
        except RuleFailedError as error:
            if error.fatal:
                raise
            return None
        if rows > MOST_ONCE:
            return None
        kept = replace(self._statement, sql=f"SELECT * FROM {table}", dated=False)  # noqa: S608
        return rows, FailingRows(self._connection, kept, self._business_date)

    def records(
        self, keys: tuple[str, ...], shown: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str | None, ...], dict[str, str | None]]]:
        """All rows: what names their records, uncut, and some columns as text.

        Args:
            keys: columns whose text is given as it is.
            shown: columns that :meth:`columns` gave, for messages.
        """
        quoted = [named(name) for name in (*keys, *shown)]
        texts = [f"CAST({name} AS VARCHAR)" for name in quoted[: len(keys)]]
        texts += map(as_text, quoted[len(keys) :])
        before = f"SELECT {', '.join(texts)} FROM ("  # noqa: S608 - names are quoted
        for row in self._ask(before, ") ORDER BY ALL"):
            values = dict(zip(shown, map(_cut, row[len(keys) :]), strict=True))
            yield tuple(row[: len(keys)]), values

    def _ask(self, before: str, after: str) -> Iterator[tuple[Any, ...]]:
        """Run the rule's SQL, on lines of its own, between two pieces of ours."""
        text = f"{before}\n{self._statement.sql}\n{after}"
        try:
            self._connection.execute(text, self._parameters)
            while rows := self._connection.fetchmany(_FETCH):
                yield from rows
        except duckdb.InterruptException:
            raise
        except duckdb.IOException as error:
            raise _storage(error) from error
        except duckdb.Error as error:
            fatal = isinstance(error, duckdb.FatalException | duckdb.InternalException)
            offset = len(before.encode()) + 1
            said = reason(error, self._statement.sql, offset)
            raise RuleFailedError(said, fatal=fatal) from error
        except MemoryError as error:
            text = "Out of memory; the limit is validate.limits.memory_mb"
            raise RuleFailedError(text) from error


def as_text(expression: str) -> str:
    """SQL for a value as text of bounded length."""
    return f"left(CAST({expression} AS VARCHAR), {KEPT + 1})"


def _cut(value: str | None) -> str | None:
    return value if value is None or len(value) <= KEPT else f"{value[:KEPT]}…"


def _storage(error: duckdb.IOException) -> Exception:
    """A failed read or write is the machine's fault, not the rule's."""
    if os.strerror(errno.ENOSPC) in str(error):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "temporary files of the rules")
    message = f"a file of the run cannot be read or written: {error}"
    return StorageError(message, hint="See whether the disk is well, then clear the task.")
