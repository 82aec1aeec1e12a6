"""The keys of items as text, the way they stand in the tables that a resubmission sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import duckdb
import pyarrow as pa

from openreg_airflow.exception_queue.columns import schemas
from openreg_airflow.exception_queue.values import decode
from openreg_airflow.sql_quoting import named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from openreg_airflow.exception_queue.columns import Kinds
    from openreg_airflow.exception_queue.item import Item
    from openreg_airflow.exception_queue.spec import RecordTable


class SentKeys:
    """Gives keys as DuckDB casts them to text, amended values included; a context manager.

    An item keeps its values as JSON, where an instant or a boolean is another text than in the
    table that went out.

    Args:
        connection: inside a transaction.
        records: the report's section ``records``.
    """

    def __init__(self, connection: Connection, records: Mapping[str, RecordTable]) -> None:
        self._connection = connection
        self._records = records
        self._known: Kinds = {}
        self._database = duckdb.connect(":memory:", config={"max_memory": "96MiB", "threads": 1})
        self._database.execute("SET TimeZone = 'UTC'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def of(self, items: Sequence[Item]) -> Iterator[tuple[Item, tuple[str | None, ...]]]:
        """Some items with their keys."""
        alike: dict[tuple[str, int], tuple[pa.Schema, list[Item]]] = {}
        for one in items:
            schema = schemas(self._connection, one, self._known)[one.table]
            alike.setdefault((one.table, id(schema)), (schema, []))[1].append(one)
        for (table, _), (schema, group) in alike.items():
            yield from zip(group, self._cast(table, schema, group), strict=True)

    def _cast(
        self, table: str, schema: pa.Schema, group: Sequence[Item]
    ) -> list[tuple[str | None, ...]]:
        rows = [one.amended()[0] for one in group]
        key = self._records[table].key or ()
        columns = {}
        for name in key:
            kind = schema.field(name).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            columns[name] = pa.array([decode(row[name], kind) for row in rows], kind)
        self._database.register("sent", pa.table(columns))
        casts = ", ".join(f"CAST({named(name)} AS VARCHAR)" for name in key)
        return self._database.execute(f"SELECT {casts} FROM sent").fetchall()  # noqa: S608
