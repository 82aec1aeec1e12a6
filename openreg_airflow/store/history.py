"""How the rules of a report ended over time."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select

from openreg_airflow.records import Record, RuleResult
from openreg_airflow.store import schema
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.exception_models import ExceptionCount
from openreg_airflow.store.models import ValidationResult

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select


class RuleOutcome(Record):
    """How one rule ended on one business date, in the run that was validated last.

    Attributes:
        failed: failing rows.
        checked: rows of the table.
        error: why it could not be evaluated.
    """

    business_date: date
    run_id: str
    rule_id: str
    title: str
    severity: str
    failed: int
    checked: int
    error: str | None


class RowCount(Record):
    """How many rows one table had on one business date."""

    business_date: date
    table: str
    rows: int


def row_counts(url: str, report_id: str, since: date, before: date) -> tuple[RowCount, ...]:
    """How many rows the tables of a report had on earlier business dates.

    Of each date the last run counts whose rules did not block; tables are known that a rule spoke
    of.

    Args:
        url: SQLAlchemy URL of the store.
        report_id: the report.
        since: the first business date.
        before: the first one that does not count any more.

    Raises:
        StoreNotReadyError: the tables were not made.
        StoreUnavailableError: the database cannot be reached.
    """
    engine = connect_engine(parse_url(url))
    schema.require(engine)
    row = ValidationResult
    wanted = (
        row.report_id == report_id,
        row.business_date >= since,
        row.business_date < before,
        row.run_id.not_in(_resubmissions(report_id)),
    )
    counted = (
        select(
            row.business_date,
            row.run_id,
            row.table,
            func.max(row.checked).label("rows"),
            func.max(row.recorded_at).label("recorded_at"),
        )
        .where(*wanted)
        .group_by(row.business_date, row.run_id, row.table)
        .order_by(row.business_date)
    )
    failed = select(*row.__table__.columns).where(
        *wanted, row.severity != "warning", or_(row.failed > 0, row.error.is_not(None))
    )
    with transaction(engine, write=False) as connection:
        tables = connection.execute(counted).all()
        broken = [dict(found) for found in connection.execute(failed).mappings()]
    blocked = {
        (found["business_date"], found["run_id"]) for found in broken if _result(found).blocks
    }
    newest: dict[date, tuple[datetime, str]] = {}
    for one in tables:
        if (one.business_date, one.run_id) not in blocked:
            at = (one.recorded_at, one.run_id)
            newest[one.business_date] = max(newest.get(one.business_date, at), at)
    return tuple(
        RowCount(business_date=one.business_date, table=one[2], rows=one.rows)
        for one in tables
        if newest.get(one.business_date, (None, None))[1] == one.run_id
    )


def _resubmissions(report_id: str) -> Select[Any]:
    """The runs that saw a few records of the exception queue and say nothing of a whole day."""
    return select(ExceptionCount.run_id).where(
        ExceptionCount.report_id == report_id, ExceptionCount.resubmission > 0
    )


def _result(row: dict[str, Any]) -> RuleResult:
    fields = row | row["detail"] | {"table": row["table_name"]}
    return RuleResult.model_validate(
        {name: fields[name] for name in RuleResult.model_fields if name in fields}
    )


def rule_outcomes(
    url: str, report_id: str, since: date | None = None, until: date | None = None
) -> tuple[RuleOutcome, ...]:
    """The outcomes of a report's rules by business date, in the order of the spec.

    Of several runs for a date the one that was recorded last counts: it is the one whose
    artifact stands.

    Args:
        url: SQLAlchemy URL of the store.
        report_id: the report.
        since: the first business date; all when None.
        until: the last one.

    Raises:
        StoreNotReadyError: the tables were not made.
        StoreUnavailableError: the database cannot be reached.
    """
    engine = connect_engine(parse_url(url))
    schema.require(engine)
    row = ValidationResult
    of_report: list[ColumnElement[bool]] = [
        row.report_id == report_id,
        row.run_id.not_in(_resubmissions(report_id)),
    ]
    if since is not None:
        of_report.append(row.business_date >= since)
    if until is not None:
        of_report.append(row.business_date <= until)
    runs = (
        select(row.business_date, row.run_id, func.max(row.recorded_at).label("recorded_at"))
        .where(*of_report)
        .group_by(row.business_date, row.run_id)
        .subquery()
    )
    # A run records the rules over its finished files later than the others.
    newest = func.row_number().over(
        partition_by=runs.c.business_date, order_by=(runs.c.recorded_at.desc(), runs.c.run_id)
    )
    ranked = select(runs.c.business_date, runs.c.run_id, newest.label("place")).subquery()
    columns = {name: getattr(row, name) for name in RuleOutcome.model_fields}
    query = (
        select(*(column.label(name) for name, column in columns.items()))
        .join(
            ranked,
            and_(row.business_date == ranked.c.business_date, row.run_id == ranked.c.run_id),
        )
        .where(*of_report, ranked.c.place == 1)
        .order_by(row.business_date, row.position, row.rule_id)
    )
    with transaction(engine, write=False) as connection:
        found = connection.execute(query).mappings()
        return tuple(RuleOutcome.model_validate(dict(values)) for values in found)
