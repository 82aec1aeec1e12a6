"""What a report leaves out since the queue has it: it is not gone, and may have been reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openreg_airflow.exception_queue.item import OPEN, Item
from openreg_airflow.exception_queue.rows import item, items, queue_transaction
from openreg_airflow.store.exception_models import ExceptionItem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.records import RunKey

_PAGE = 1000


def left_out(store_url: str, run: RunKey, table: str, column: str) -> Iterator[list[str]]:
    """Give the values of a column in the rows that a run's tables do not have, in batches.

    What somebody has decided to leave out for good is not among them. A record that a
    resubmission reported is there as it was reported.

    Args:
        store_url: the product's own database.
        run: a run that reads the source; it has set aside what it sets aside.
        table: a table of records, or one whose rows belong to records.
        column: a column of it.
    """
    query = (
        items()
        .where(
            ExceptionItem.report_id == run.report_id,
            ExceptionItem.business_date == run.business_date,
            ExceptionItem.state.in_((*OPEN, "reported")),
            # What the authority rejected is in the tables of the runs after it.
            ExceptionItem.taken_back.is_(False),
        )
        .order_by(ExceptionItem.id)
    )
    with queue_transaction(store_url, write=False) as connection:
        found = connection.execution_options(yield_per=_PAGE).execute(query)
        for rows in found.partitions(_PAGE):
            yield [
                str(row[column])
                for one in map(item, rows)
                for row in _rows(one, table)
                if row.get(column) is not None
            ]


def _rows(one: Item, table: str) -> list[dict[str, Any]]:
    row, inner = one.amended() if one.state == "reported" else (one.values, one.children)
    return [row] if one.table == table else inner.get(table, [])
