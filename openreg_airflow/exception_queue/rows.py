"""Rows of the queue's tables as items; what the other modules of the room share of the store."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from openreg_airflow.exception_queue.item import Item
from openreg_airflow.store import schema
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.exception_models import ExceptionItem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Select

#: The columns of an item by the names of its record.
COLUMNS: dict[str, Any] = {
    attribute.key: attribute.columns[0]
    for attribute in ExceptionItem.__mapper__.column_attrs
    if attribute.key in Item.model_fields
}


@contextmanager
def queue_transaction(store_url: str, *, write: bool) -> Iterator[Connection]:
    """One transaction on the store; see :func:`openreg_airflow.store.engine.transaction`.

    Raises:
        StoreNotReadyError: the tables are not there, or of another version.
        StoreUnavailableError: the database cannot be reached.
    """
    engine = connect_engine(parse_url(store_url))
    schema.require(engine)
    with transaction(engine, write=write) as connection:
        yield connection


def items() -> Select[Any]:
    """The SELECT whose rows :func:`item` understands."""
    columns = (column.label(name) for name, column in COLUMNS.items())
    return select(*columns, ExceptionItem.record_key)


def item(row: Any) -> Item:
    """A row of :func:`items` as an item."""
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    fields["key"] = tuple(json.loads(fields.pop("record_key")))
    return Item.model_validate(fields)
