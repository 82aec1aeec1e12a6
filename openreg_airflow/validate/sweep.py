"""One pass over a table for all rules that only filter it.

A rule such as ``SELECT * FROM trades WHERE price <= 0`` looks at each row by itself. Many of them
are evaluated together: the first pass notes which rows break which rule, the second fetches the
few rows that are shown, in the order of the table. A rule that groups, joins or sorts is evaluated
alone, and so is every rule whose pass fails: then one of them has an error, which must be told of
that rule and of no other.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import duckdb

from openreg_airflow.language.look_up import JOINED, PREFIX
from openreg_airflow.sql_quoting import named, quoted
from openreg_airflow.validate.query import as_text
from openreg_airflow.validate.session import all_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.validate.joined import DatedSets
    from openreg_airflow.validate.row_filter import Filter

#: Rules that are evaluated in one pass.
TOGETHER = 32
#: Rows that a sweep fetches to be shown; when they are more, each rule fetches its own.
MOST_FETCHED = 200_000
_ROW = "file_row_number"
_TEXTS = "openreg_texts"


class Sweep:
    """What one pass found about some filters of one table.

    Args:
        connection: a locked session; two temporary tables are made in it.
        number: tells the tables of this sweep from those of others.
        file: the Parquet file of the table.
        filters: by rule id; all of one table under one alias.
        parameters: the values of the parameters that the conditions use.
        most: most rows that will be asked of one rule.
        sets: how the session's mapping sets are joined.

    Raises:
        duckdb.Error: a condition cannot be evaluated; which one is not known.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        number: int,
        *,
        file: Path,
        filters: Mapping[str, Filter],
        parameters: Mapping[str, Any],
        most: int,
        sets: DatedSets,
    ) -> None:
        self._connection = connection
        self._filters = filters
        self._sets = sets
        look_ups = (look_up for one in filters.values() for look_up in one.look_ups)
        self._look_ups = tuple(dict.fromkeys(look_ups))
        self._flags = f"openreg_flags_{number}"
        self._rows = f"openreg_rows_{number}"
        self._flag_of = {rule_id: f"openreg_flag_{place}" for place, rule_id in enumerate(filters)}
        self._source = f"read_parquet({quoted(str(file))})"
        columns = all_columns(connection, file)
        if self._look_ups or columns != "*":
            self._source = f"(SELECT {columns}, {_ROW} FROM {self._source})"  # noqa: S608
        self._most = most
        self._conditions = {
            self._flag_of[rule_id]: f"CAST(({one.condition}) AS BOOLEAN)"
            for rule_id, one in filters.items()
        }
        dated = any(one.dated for one in filters.values())
        self._parameters = dict(parameters) if dated else {}
        self._columns = self._own_columns()
        try:
            self._flag()
            self.counts = self._count()
            #: Whether the rows to be shown were few enough to be fetched; only then ask for them.
            self.fetched = self._fetch()
        except (duckdb.Error, MemoryError):
            with suppress(duckdb.Error):
                self.close()
            raise

    def __contains__(self, rule_id: str) -> bool:
        return rule_id in self._filters

    def __len__(self) -> int:
        return len(self._filters)

    def shown(self, rule_id: str) -> tuple[str, ...] | None:
        """The columns of a rule that shows whole rows of the table."""
        return self._columns if self._filters[rule_id].whole else None

    def shows_date(self, rule_id: str) -> bool:
        """Whether a rule's rows depend on the parameters."""
        return self._filters[rule_id].shows_date

    def texts(self, rule_id: str) -> str:
        """SQL that gives, in order, the first failing rows of a rule that shows whole rows.

        It has one column, a list of the values as text.
        """
        return (
            f"SELECT {_TEXTS} FROM {self._rows} WHERE {self._flag_of[rule_id]} "  # noqa: S608
            f"ORDER BY {_ROW} LIMIT {self._most}"
        )

    def rows(self, rule_id: str) -> str:
        """SQL that gives the first failing rows of a rule, as the rule selects them, in order."""
        own = ", ".join(map(named, self._columns))
        picked = (
            f"(SELECT {own} FROM {self._rows} WHERE {self._flag_of[rule_id]} "  # noqa: S608
            f"ORDER BY {_ROW} LIMIT {self._most})"
        )
        name = f"{self._rows}_picked"
        return f"WITH {name} AS {picked} {self._filters[rule_id].over(name)}"

    def failing(self, rule_id: str) -> str:
        """SQL that gives all failing rows of a rule that shows whole rows, in order.

        The rule's own SQL gives the same, but has to evaluate the condition again.
        """
        own = ", ".join(f"source.{named(name)}" for name in self._columns)
        return (
            f"SELECT {own} FROM {self._source} AS source "  # noqa: S608 - names are quoted
            f"JOIN {self._flags} AS flags USING ({_ROW}) WHERE flags.{self._flag_of[rule_id]} "
            f"ORDER BY {_ROW}"
        )

    def close(self) -> None:
        """Give the memory back."""
        for table in (self._rows, self._flags):
            self._connection.execute(f"DROP TABLE IF EXISTS {table}")

    def _own_columns(self) -> tuple[str, ...]:
        """The table's columns, none of which may be taken for one of ours.

        The conditions are bound to the table as rules see it, which has fewer columns than its file
        has for us.
        """
        table = named(next(iter(self._filters.values())).table)
        before, source = self._joined(table)
        self._connection.execute(
            f"{before}SELECT * FROM {source} "  # noqa: S608
            f"WHERE {' OR '.join(self._conditions.values())} LIMIT 0",
            self._parameters,
        )
        if self._look_ups:
            self._connection.execute(f"SELECT * FROM {table} LIMIT 0")  # noqa: S608
        names = tuple(column[0] for column in self._connection.description or ())
        known = {name.casefold() for name in names}
        taken = known.intersection((_ROW, _TEXTS, *self._conditions))
        if self._look_ups:
            taken |= {name for name in known if name.startswith(PREFIX)}
        if taken:
            message = f"the table has a column {min(taken)}"
            raise duckdb.NotSupportedError(message)
        return names

    def _joined(self, source: str) -> tuple[str, str]:
        """The table with the look-ups of the filters: what stands before SELECT and after FROM."""
        alias = next(iter(self._filters.values())).alias
        if not self._look_ups:
            return "", f"{source} AS {named(alias)}"
        joined = self._sets.joined(self._connection, source, alias, self._look_ups)
        # By a name, which subqueries of the conditions ask too.
        before = f"WITH {JOINED} AS NOT MATERIALIZED (SELECT * FROM {joined}) "  # noqa: S608
        return before, f"{JOINED} AS {named(alias)}"

    def _flag(self) -> None:
        """Note of every row that breaks a rule which ones it breaks."""
        conditions = self._conditions
        flags = ", ".join(f"coalesce({sql}, false) AS {flag}" for flag, sql in conditions.items())
        before, source = self._joined(self._source)
        if any(one.asks for one in self._filters.values()):
            # Conditions stand inside once only, because a subquery that is repeated runs twice.
            found = f"SELECT * FROM (SELECT {_ROW}, {flags} FROM {source}) WHERE "  # noqa: S608
            found += " OR ".join(conditions)
        else:
            # Most rows break no rule: a filter is done with a row sooner than many columns are.
            found = f"SELECT {_ROW}, {flags} FROM {source} WHERE "  # noqa: S608
            found += " OR ".join(conditions.values())
        made = f"CREATE TEMP TABLE {self._flags} AS {before}{found}"
        self._connection.execute(made, self._parameters)

    def _count(self) -> dict[str, int]:
        counts = ", ".join(f"count(*) FILTER ({name})" for name in self._flag_of.values())
        [row] = self._connection.execute(f"SELECT {counts} FROM {self._flags}").fetchall()  # noqa: S608
        return dict(zip(self._flag_of, map(int, row), strict=True))

    def _fetch(self) -> bool:
        failed = [rule_id for rule_id, count in self.counts.items() if count]
        if sum(min(self.counts[rule_id], self._most) for rule_id in failed) > MOST_FETCHED:
            return False
        if not failed:
            return True
        picked = " UNION ".join(
            f"(SELECT {_ROW} FROM {self._flags} WHERE {self._flag_of[rule_id]} "  # noqa: S608
            f"ORDER BY {_ROW} LIMIT {self._most})"
            for rule_id in failed
        )
        shown = [f"flags.{self._flag_of[rule_id]}" for rule_id in failed]
        own = [f"source.{named(name)}" for name in self._columns]
        if any(self._filters[rule_id].whole for rule_id in failed):
            # Once for all rules: to plan a query of many columns takes longer than to run it.
            shown.append(f"[{', '.join(map(as_text, own))}] AS {_TEXTS}")
        if not all(self._filters[rule_id].whole for rule_id in failed):
            shown += own
        self._connection.execute(
            f"CREATE TEMP TABLE {self._rows} AS SELECT {_ROW}, {', '.join(shown)} "  # noqa: S608
            f"FROM {self._source} AS source JOIN {self._flags} AS flags USING ({_ROW}) "
            f"WHERE {_ROW} IN ({picked})"
        )
        return True


def groups(filters: Mapping[str, Filter]) -> Iterator[dict[str, Filter]]:
    """Filters that can be swept together: of one table under one name, not too many at once.

    Those with look-ups are swept by themselves: they read few columns, and a join would only carry
    along what the others read.
    """
    together: dict[tuple[str, str, bool], dict[str, Filter]] = {}
    for rule_id, one in filters.items():
        key = (one.table, one.alias, bool(one.look_ups))
        group = together.setdefault(key, {})
        group[rule_id] = one
        if len(group) == TOGETHER:
            yield together.pop(key)
    yield from together.values()
