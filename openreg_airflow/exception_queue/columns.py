"""The columns of items: their types, and the check of what an item is amended to."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import select

from openreg_airflow.errors import DecisionError
from openreg_airflow.exception_queue.item import place_of
from openreg_airflow.exception_queue.values import ValueRefusedError, checked
from openreg_airflow.store.exception_models import ExceptionCount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from openreg_airflow.exception_queue.item import Item

#: The types of columns by table, for the runs and stages that set items aside.
Kinds = dict[tuple[Any, ...], dict[str, pa.Schema]]


def checked_values(
    one: Item, amendments: Mapping[str, Any], kinds: Mapping[str, pa.Schema]
) -> dict[str, Any]:
    """New values of an item as they are kept.

    Args:
        one: the item.
        amendments: by column, as for :func:`amend`.
        kinds: what :func:`schemas` gave.

    Raises:
        DecisionError: a column does not exist, or a value does not fit it.
    """
    return {path: _value(one, path, value, kinds) for path, value in amendments.items()}


def _value(item_: Item, path: str, value: Any, kinds: Mapping[str, pa.Schema]) -> Any:
    """A new value of one place of an item, checked against its column."""
    place = place_of(path, dict(item_.values), {t: list(r) for t, r in item_.children.items()})
    if place is None:
        inner = (f"{table}.1 to {len(rows)}" for table, rows in item_.children.items())
        listed = ", ".join((*item_.values, *inner))
        message = f"item {item_.id} has no column {path!r}"
        raise DecisionError(message, hint=f"There are: {listed}.")
    table = item_.table if path in item_.values else path.partition(".")[0]
    try:
        return checked(value, kinds[table].field(place[1]).type)
    except ValueRefusedError as error:
        message = f"item {item_.id}, column {path}: {error}"
        raise DecisionError(message, hint="Nothing was changed.") from error


def schemas(connection: Connection, item_: Item, known: Kinds) -> dict[str, pa.Schema]:
    """The types of an item's columns, by table, as its run's tables had them.

    Args:
        connection: inside a transaction.
        item_: the item.
        known: those that were looked up before; what is found is added.
    """
    place = (item_.report_id, item_.business_date, item_.run_id, item_.stage, item_.table)
    if place not in known:
        known[place] = _schemas(connection, item_)
    return known[place]


def _schemas(connection: Connection, item_: Item) -> dict[str, pa.Schema]:
    detail = connection.scalar(
        select(ExceptionCount.detail)
        .where(
            ExceptionCount.report_id == item_.report_id,
            ExceptionCount.business_date == item_.business_date,
            ExceptionCount.run_id == item_.run_id,
            ExceptionCount.table == item_.table,
        )
        # What came back from the authority was set aside by no stage that counts; all agree.
        .order_by((ExceptionCount.stage == item_.stage).desc(), ExceptionCount.id)
        .limit(1)
    )
    if detail is None:
        message = f"the types of item {item_.id} are not known"
        raise DecisionError(message, hint="Run the report for the business date again.")
    return {name: _schema(packed) for name, packed in detail["schemas"].items()}


def _schema(packed: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed)))
