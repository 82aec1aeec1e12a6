"""The numbers of sequences: who has which, which are free, and which come next.

Numbers that a smaller content leaves behind are free, and the next artifact gets them first.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from openreg_airflow.errors import ArtifactError
from openreg_airflow.records import Record, RunKey
from openreg_airflow.store.models import Sequence, SequenceNumber

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Numbers(Record):
    """The numbers that an artifact wants.

    Attributes:
        sequence: name of the sequence.
        period: what it begins anew with, such as the year; empty when it never does.
        start: its first number.
        count: how many are wanted.
        most: the largest number that can be written; None when any can.
    """

    sequence: str
    period: str = ""
    start: int = 1
    count: int = 1
    most: int | None = None


def numbers_of(
    connection: Connection, run: RunKey, name: str, version: int, wanted: Numbers | None
) -> tuple[int, ...]:
    """The numbers of a version: those that it has, and new ones where some are missing.

    Numbers that it has and no longer wants become free.

    Raises:
        ArtifactError: the sequence has no number left that can be written.
    """
    table = SequenceNumber
    owner = (
        table.report_id == run.report_id,
        table.business_date == run.business_date,
        table.artifact == name,
        table.version == version,
    )
    held = connection.execute(
        select(table.id, table.name, table.period, table.number).where(*owner).order_by(table.part)
    ).all()
    scope = (wanted.sequence, wanted.period) if wanted else None
    kept = [row for row in held if (row.name, row.period) == scope][: wanted.count if wanted else 0]
    if released := {row.id for row in held} - {row.id for row in kept}:
        connection.execute(
            update(table)
            .where(table.id.in_(released))
            .values(report_id=None, business_date=None, artifact=None, version=None, part=None)
        )
    numbers = [row.number for row in kept]
    if wanted is not None and len(numbers) < wanted.count:
        values = {
            "report_id": run.report_id,
            "business_date": run.business_date,
            "artifact": name,
            "version": version,
            "allocated_at": datetime.now(UTC),
        }
        numbers += _more(connection, wanted, len(numbers), values)
    return tuple(numbers)


def _more(connection: Connection, wanted: Numbers, have: int, values: dict[str, Any]) -> list[int]:
    """Take the missing numbers: free ones first, then new ones. Nobody else can at this time."""
    table = SequenceNumber
    scope = {"name": wanted.sequence, "period": wanted.period}
    _make_sequence(connection, scope | {"last": wanted.start - 1})
    of_scope = (Sequence.name == wanted.sequence, Sequence.period == wanted.period)
    # The row's lock serialises PostgreSQL; SQLite has one writer from the beginning.
    last = connection.execute(select(Sequence.last).where(*of_scope).with_for_update()).scalar_one()
    count = wanted.count - have
    free = connection.execute(
        select(table.id, table.number)
        .where(table.name == wanted.sequence, table.period == wanted.period)
        .where(table.report_id.is_(None))
        .order_by(table.number)
        .limit(count)
    ).all()
    part = have
    for row in free:
        part += 1
        connection.execute(update(table).where(table.id == row.id).values(part=part, **values))
    new = list(range(last + 1, last + 1 + count - len(free)))
    if new and wanted.most is not None and new[-1] > wanted.most:
        message = f"sequence {wanted.sequence} is used up: {new[-1]} is more than {wanted.most}"
        raise ArtifactError(message, hint="Agree with the authority on longer numbers (digits).")
    if new:
        rows = [
            scope | values | {"number": number, "part": part + place}
            for place, number in enumerate(new, 1)
        ]
        connection.execute(insert(table), rows)
        connection.execute(update(Sequence).where(*of_scope).values(last=new[-1]))
    return [*(row.number for row in free), *new]


def _make_sequence(connection: Connection, values: dict[str, Any]) -> None:
    """Make a sequence that nobody has asked before; two may do so at once."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(Sequence).values(**values).on_conflict_do_nothing())
