"""Whether records find their references as they need them, and what to say when they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from openreg_airflow.errors import ReferenceReuseError
from openreg_airflow.store.reference_models import ReferenceRow, SubmissionRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Faults that a message tells of.
_TOLD = 5
#: The last record of a reference that counts.
LAST = (
    "SELECT x.{column} FROM openreg_reference x WHERE x.scope = :scope "
    "AND x.reference = {of}.reference AND NOT x.rejected {and_}ORDER BY x.id DESC LIMIT 1"
)


def refuse_reuse(connection: Connection, scope: str) -> None:
    """See that each staged record finds its reference as it needs it.

    Raises:
        ReferenceReuseError: it is not so.
    """
    # What was only told of a record does not make it stand: the record may have been rejected.
    state = LAST.format(column="cancels", of="s", and_="AND x.event = '' ")
    # Without a record before it there is no state, which is neither true nor false.
    query = text(
        "SELECT reference, cancels, needs, prior, inside, count(*) OVER () AS faults FROM ("  # noqa: S608
        "SELECT position, reference, cancels, needs, earlier IS NOT NULL AS inside, "
        f"coalesce(earlier, ({state})) AS prior FROM (SELECT position, reference, cancels, needs, "
        "lag(cancels) OVER (PARTITION BY reference ORDER BY position) AS earlier "
        "FROM openreg_staged) s) t WHERE CASE needs WHEN 'standing' THEN coalesce(prior, :yes) "
        "WHEN 'known' THEN prior IS NULL WHEN 'unused' THEN prior IS NOT NULL "
        "WHEN 'uncancelled' THEN coalesce(prior, :no) WHEN 'any' THEN :no "
        "ELSE NOT coalesce(prior, :yes) END ORDER BY position LIMIT :most"
    )
    faults = connection.execute(
        query, {"scope": scope, "yes": True, "no": False, "most": _TOLD}
    ).all()
    if not faults:
        return
    said = "; ".join(_said(connection, scope, fault) for fault in faults)
    more = f"; and {faults[0].faults - len(faults)} more" if faults[0].faults > len(faults) else ""
    message = f"{faults[0].faults} records may not be sent: {said}{more}"
    hint = (
        "Cancel a reference before it is reported anew: in the table, or by `corrections`; where "
        "the format forbids that, give a new one. If a delivery of another run stopped half way, "
        "clear that task first."
    )
    raise ReferenceReuseError(message, hint=hint)


def _said(connection: Connection, scope: str, fault: Any) -> str:
    row, other = ReferenceRow, SubmissionRow
    holder = connection.execute(
        select(other.report_id, other.business_date, other.run_id, other.version, other.state)
        .join(row, row.submission_id == other.id)
        .where(row.scope == scope, row.reference == fault.reference, row.event == "")
        .where(row.rejected.is_(False))
        .order_by(row.id.desc())
        .limit(1)
    ).first()
    verb = "is cancelled" if fault.cancels else "is spoken of"
    reports = fault.needs in ("free", "unused")
    if fault.inside:
        if fault.cancels == fault.prior:
            return f"{fault.reference!r} {verb if fault.cancels else 'is reported'} twice in it"
        return f"{fault.reference!r} {'is reported' if reports else verb} after its cancellation"
    if holder is None:
        return f"{fault.reference!r} {verb} and was never reported"
    where = (
        f"report {holder.report_id} for {holder.business_date}, version {holder.version}, "
        f"run {holder.run_id}"
    )
    if not reports:
        return f"{fault.reference!r} {verb} and was cancelled before by {where}"
    if fault.prior:
        return f"{fault.reference!r} was cancelled by {where}, and is reported anew"
    done = "was reported" if holder.state == "delivered" else "is being sent"
    return f"{fault.reference!r} {done} by {where}, and is not cancelled"
