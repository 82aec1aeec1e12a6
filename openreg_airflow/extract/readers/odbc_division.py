"""Reading a query in parts for a driver that keeps a whole result in memory.

The database says which keys its tables have, ranks the rows by one of them and counts those of each
part; then it is asked for one part after the other, in the state in which they were counted. See
:mod:`openreg_airflow.extract.division` for which queries that is done with.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.division import TableDivider, TableFacts, dividers
from openreg_airflow.extract.outline import UndividedError, outline
from openreg_airflow.extract.query import Added, Placeholder
from openreg_airflow.extract.sized_parts import sized_parts, sizes_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from openreg_airflow.extract.outline import TableName
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.sized_parts import SizedPart

#: How many columns are tried: each takes the database a look at all rows.
_TRIES = 3
_SCHEMA, _TABLE = "_schema", "_table"


def divided(
    query: Query,
    dialect: str,
    facts_query: str,
    *,
    ask: Callable[[Query], list[tuple[Any, ...]]],
    hold: Callable[[], None],
) -> tuple[TableDivider, list[SizedPart]]:
    """The parts of a query, and what divides it.

    Args:
        query: of the whole.
        dialect: sqlglot's name of the database's SQL.
        facts_query: see :attr:`~.odbc_products.Product.table_facts`.
        ask: gives all rows of a small result; an error of the database's ends no session.
        hold: keeps one state of the database for what is asked from now on.

    Raises:
        UndividedError: it is not divided; says why.
        SourceUnavailableError: the database is lost, or takes too long.
    """
    found = outline(query, dialect)
    tables = sorted({*found.sources.values(), *found.others}, key=lambda t: (t.schema, t.name))
    columns = dividers(found, {table: _facts(table, query, facts_query, ask) for table in tables})
    hold()
    reason = ""
    for by in columns[:_TRIES]:
        try:
            sizes = ask(sizes_query(query, by))
            return by, sized_parts(query, by, ((low, int(v), int(n)) for low, v, n in sizes))
        except SourceError as error:
            reason = reason or error.message
    raise UndividedError(reason)


def _facts(
    table: TableName,
    query: Query,
    facts_query: str,
    ask: Callable[[Query], list[tuple[Any, ...]]],
) -> TableFacts:
    end = len(query.text)
    marks = cycle((Placeholder(_SCHEMA, end), Placeholder(_TABLE, end)))
    first, *others = facts_query.split("?")
    pieces: list[str | Placeholder] = [Added(first)]
    for mark, text in zip(marks, others, strict=False):
        pieces += [mark, Added(text)]
    asked = replace(
        query,
        pieces=tuple(pieces),
        parameters={_SCHEMA: table.schema, _TABLE: table.name},
    )
    try:
        return _described(ask(asked))
    except SourceError as error:
        message = f"the database does not say what {table.name} is: {error.message}"
        raise UndividedError(message) from error


def _described(rows: list[tuple[Any, ...]]) -> TableFacts:
    """What the rows say: of columns first, then of indexes."""
    columns = [row for row in rows if row[4] is None]
    indexes = {
        (name, several): [row[2] for row in members]
        for (name, several), members in groupby(rows[len(columns) :], key=itemgetter(4, 6))
    }
    return TableFacts(
        steady=any(row[0] == 1 for row in columns),
        row_bytes=max((row[1] for row in columns), default=0),
        columns={row[2]: row[3] for row in columns},
        keys=[members for (_, several), members in indexes.items() if not several],
        indexed=frozenset(name for members in indexes.values() for name in members),
    )
