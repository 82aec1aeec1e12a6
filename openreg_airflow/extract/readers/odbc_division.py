"""Reading a query in parts for a driver that keeps a whole result in memory.

The database says which keys its tables have, ranks the rows by one of them and counts those of each
part; then it is asked for one part after the other, in the state in which they were counted. See
:mod:`openreg_airflow.extract.division` for which queries that is done with.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.division import TableFacts, dividers, without_order
from openreg_airflow.extract.outline import UndividedError, outline
from openreg_airflow.extract.query import Added, Placeholder
from openreg_airflow.extract.sized_parts import sized_parts, sizes_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from openreg_airflow.extract.outline import TableName
    from openreg_airflow.extract.query import Query
    from openreg_airflow.extract.sized_parts import Divider, SizedPart

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
) -> tuple[Divider, list[SizedPart]]:
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
    plain = without_order(query, found)
    reason = ""
    for by in columns[:_TRIES]:
        try:
            sizes = ask(sizes_query(plain, by))
            return by, sized_parts(plain, by, ((low, int(v), int(n)) for low, v, n in sizes))
        except SourceError as error:
            reason = reason or error.message
    raise UndividedError(reason)


def _facts(
    table: TableName,
    query: Query,
    facts_query: str,
    ask: Callable[[Query], list[tuple[Any, ...]]],
) -> TableFacts:
    before, between, after = map(Added, facts_query.split("?"))
    end = len(query.text)
    schema, name = Placeholder(_SCHEMA, end), Placeholder(_TABLE, end)
    asked = replace(
        query,
        pieces=(before, schema, between, name, after),
        parameters={_SCHEMA: table.schema, _TABLE: table.name},
    )
    try:
        return _described(ask(asked))
    except SourceError as error:
        message = f"the database does not say what {table.name} is: {error.message}"
        raise UndividedError(message) from error


def _described(rows: list[tuple[Any, ...]]) -> TableFacts:
    """What is in the rows: one for each column and each index that it is in."""
    keys: dict[str, list[str]] = {}
    unique = [row for row in rows if row[4] is not None and row[6] == 0]
    for index, members in groupby(sorted(unique, key=itemgetter(4, 5)), key=itemgetter(4)):
        keys[index] = [row[2] for row in members]
    return TableFacts(
        steady=bool(rows) and rows[0][0] == 1,
        row_bytes=int(rows[0][1] or 0) if rows else 0,
        columns={row[2]: row[3] for row in rows},
        keys=list(keys.values()),
        indexed=frozenset(row[2] for row in rows if row[4] is not None),
    )
