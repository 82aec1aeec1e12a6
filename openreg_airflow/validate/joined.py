"""A table joined with the mapping sets in which its rows are looked up as of a date.

The rows stay as they are, each once: a look-up adds a column. A hash join on the key and the period
is the fastest while keys have few periods; it compares a row with every period of its key, and
would double a row whose key has two entries on one date. Where either could happen, the distinct
pairs of key and date are looked up by an ASOF join, which finds one entry at most, and the rows are
joined with these pairs.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from openreg_airflow.sql_quoting import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from openreg_airflow.language.look_up import LookUp

#: With more periods of a key than these, ASOF is faster (2 million rows, 100,000 entries).
FEW_PERIODS = 64
#: An entry's period with open ends closed; a date that is NULL has no end beside it.
_FROM = "coalesce(effective_from, DATE '-infinity')"
_TO = "coalesce(effective_to, DATE 'infinity')"


class DatedSets:
    """The mapping sets of a session, and how each is best joined."""

    def __init__(self) -> None:
        self._simple: dict[str, bool] = {}

    def joined(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: str,
        alias: str,
        look_ups: Iterable[LookUp],
    ) -> str:
        """The rows of a table with a column for each look-up, as what can stand after FROM.

        Args:
            connection: a session with the sets.
            source: the table, as what can stand after FROM.
            alias: the name by which the look-ups call it.
            look_ups: any number; one that several conditions share is joined once.

        Raises:
            duckdb.Error: a set cannot be read.
        """
        left = list(dict.fromkeys(look_ups))
        while left:
            now = [one for one in left if not any(map(one.needs, left))]
            entries = groupby(sorted(now, key=_entry), key=_entry)
            source = self._join(
                connection, f"{source} AS {named(alias)}", [[*g] for _, g in entries]
            )
            left = [one for one in left if one not in now]
        return source

    def _join(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: str,
        entries: Sequence[Sequence[LookUp]],
    ) -> str:
        """Join look-ups that do not need one another; those of one entry are given together."""
        asked, joins, found = [], [], []
        for group in entries:
            name = group[0].entry
            asked += [f"{sql} AS {name}_key{n}" for n, sql in enumerate(group[0].given)]
            asked.append(f"CAST({group[0].day} AS DATE) AS {name}_day")
            found += [f"{name}.{one.column}" for one in group]
        rows = f"(SELECT *, {', '.join(asked)} FROM {source})"  # noqa: S608 - compiled, or quoted
        for group in entries:
            simple = self._is_simple(connection, group[0])
            joins.append(_in_period(group) if simple else _last_begun(group, rows))
        return (
            f"(SELECT openreg_rows.*, {', '.join(found)} "  # noqa: S608
            f"FROM {rows} AS openreg_rows {' '.join(joins)})"
        )

    def _is_simple(self, connection: duckdb.DuckDBPyConnection, one: LookUp) -> bool:
        """Whether the keys of a set have few periods, and none that overlap."""
        if one.view not in self._simple:
            queries = (_out_of_order(one), _overlapping(one))
            # The second sorts, and takes several times as long; the first mostly answers.
            self._simple[one.view] = any(
                connection.execute(query).fetchall() == [(0,)] for query in queries
            )
        return self._simple[one.view]


def _out_of_order(one: LookUp) -> str:
    """Counts entries that do not follow the one before them, or are one too many of their key.

    Snapshots are sorted by key and period. Where each entry has a greater key than the one before
    it, or the same key and begins when that one has ended, no two overlap.
    """
    keys = [f"CAST({named(key)} AS VARCHAR)" for key in one.keys]
    key = keys[0] if len(keys) == 1 else f"row({', '.join(keys)})"
    before = f"lag({key}) OVER () AS before, lag({key}, {FEW_PERIODS}) OVER () AS long_before"
    return (
        "SELECT count(*) FROM "  # noqa: S608
        f"(SELECT {key} AS own, {before}, {_FROM} AS begins, lag({_TO}) OVER () AS ended "
        f"FROM {named(one.view)} WHERE {_FROM} < {_TO}) "
        "WHERE own IS NULL OR before > own OR before = own AND begins < ended OR long_before = own"
    )


def _overlapping(one: LookUp) -> str:
    """Counts entries that begin before another one of their key has ended, or are one too many."""
    keys = ", ".join(map(named, one.keys))
    return (
        f"SELECT count(*) FILTER (begins < ended OR number > {FEW_PERIODS}) FROM "  # noqa: S608
        f"(SELECT {_FROM} AS begins, lag({_TO}) OVER periods AS ended, "
        f"row_number() OVER periods AS number FROM {named(one.view)} "
        f"WHERE {_FROM} < {_TO} WINDOW periods AS (PARTITION BY {keys} ORDER BY {_FROM}))"
    )


def _in_period(group: Sequence[LookUp]) -> str:
    """Each row with the entry of its key whose period has its date."""
    first, name = group[0], group[0].entry
    found = [
        f"{'true' if one.value is None else named(one.value)} AS {one.column}" for one in group
    ]
    return (
        f"LEFT JOIN (SELECT {_key_and_period(first)}, {', '.join(found)} "  # noqa: S608
        f"FROM {named(first.view)}) AS {name} ON {_same_keys(first, 'openreg_rows')} "
        f"AND {name}.openreg_from <= openreg_rows.{name}_day "
        f"AND openreg_rows.{name}_day < {name}.openreg_to"
    )


def _last_begun(group: Sequence[LookUp], rows: str) -> str:
    """Each row with the last entry of its key that has begun by its date, unless that has ended."""
    first, name = group[0], group[0].entry
    keys = [f"{name}_key{number}" for number in range(len(first.keys))]
    pair = [*keys, f"{name}_day"]
    held = f"openreg_pairs.{name}_day < {name}.openreg_to"
    found = [
        f"CASE WHEN {held} THEN {'true' if one.value is None else f'{name}.{one.column}'} END "
        f"AS {one.column}"
        for one in group
    ]
    wanted = [f"{named(one.value)} AS {one.column}" for one in group if one.value is not None]
    entries = ", ".join((_key_and_period(first), *wanted))
    pairs = f"SELECT DISTINCT {', '.join(pair)} FROM {rows}"  # noqa: S608
    pairs += f" WHERE {' AND '.join(f'{one} IS NOT NULL' for one in pair)}"
    same = " AND ".join(f"openreg_rows.{one} = {name}.{one}" for one in pair)
    return (
        f"LEFT JOIN (SELECT {', '.join(f'openreg_pairs.{one}' for one in pair)}, "  # noqa: S608
        f"{', '.join(found)} FROM ({pairs}) AS openreg_pairs "
        f"ASOF JOIN (SELECT {entries} FROM {named(first.view)} WHERE {_FROM} < {_TO}) AS {name} "
        f"ON {_same_keys(first, 'openreg_pairs')} "
        f"AND openreg_pairs.{name}_day >= {name}.openreg_from) AS {name} ON {same}"
    )


def _key_and_period(one: LookUp) -> str:
    keys = (f"{named(key)} AS openreg_key{number}" for number, key in enumerate(one.keys))
    return ", ".join((*keys, f"{_FROM} AS openreg_from", f"{_TO} AS openreg_to"))


def _same_keys(one: LookUp, rows: str) -> str:
    return " AND ".join(
        f"{rows}.{one.entry}_key{number} = {one.entry}.openreg_key{number}"
        for number in range(len(one.keys))
    )


def _entry(one: LookUp) -> str:
    return one.entry
