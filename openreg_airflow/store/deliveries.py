"""What was delivered where: the ledger that keeps a file from going out twice, or not at all.

A file is known by what it reports (report, business date, artifact, content, part), so that a
packed or encrypted file, whose bytes differ each time, is recognised too; its place by the
destination's URL. A row is

- ``publishing`` from right before the step that makes the file visible to the receiver until it
  is known how that step ended: a process that dies in between leaves it so;
- ``delivered`` when it is there, or was, whether or not the receiver has taken it since;
- ``withdrawn`` when it is known that the step did not take effect, or was not reached yet: its
  ``temporary`` is then the token of the one try that may go on.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from openreg_airflow.records import Record
from openreg_airflow.store import audit
from openreg_airflow.store.delivery_models import Delivered
from openreg_airflow.store.models import Attempt
from openreg_airflow.store.store import Store, _put, _record
from openreg_airflow.store_records import DeliveryAttempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from openreg_airflow.records import RunKey
    from openreg_airflow.store.actor import Actor

State = Literal["publishing", "delivered", "withdrawn"]

#: What the audit trail calls a delivery.
KIND = "delivery"


class LedgerEntry(Record):
    """One file at one destination.

    Attributes:
        content: hash of what it reports; see :func:`content_of`.
        place: hash of where it goes; see :func:`place_of`.
        temporary: while it is ``publishing`` the name from which it is renamed; None where there
            is none. While it is ``withdrawn`` the token of the try that is under way.
        sequence: the sequence that its number is of.
        number: its number.
    """

    content: str
    place: str
    destination: str
    state: State
    report_id: str
    business_date: date
    run_id: str
    route: str
    artifact: str
    filename: str
    bytes: int
    sha256: str
    temporary: str | None = None
    sequence: str | None = None
    number: int | None = None
    updated_at: datetime | None = None


class AttemptOfRun(DeliveryAttempt):
    """A delivery attempt with the run it belongs to."""

    report_id: str
    business_date: date
    run_id: str


def content_of(run: RunKey, artifact: str, content: str, part: int, role: str) -> str:
    """The hash by which a file is recognised, whatever packing made of it.

    Args:
        run: its report and business date; a later run of the same content counts as the same.
        artifact: name of the artifact.
        content: hash of what the artifact follows from, or of the file where that is not known.
        part: which part of the artifact it belongs to.
        role: ``report``, ``signature`` or ``checksum``.
    """
    known = "\n".join(
        (run.report_id, run.business_date.isoformat(), artifact, content, str(part), role)
    )
    return hashlib.sha256(known.encode()).hexdigest()


def place_of(channel: str, account: str, destination: str) -> str:
    """The hash by which a place is recognised.

    Args:
        channel: name of the delivery channel.
        account: whose folder it is, where the address alone does not tell.
        destination: the file's place as a URL without credentials.
    """
    return hashlib.sha256("\n".join((channel, account, destination)).encode()).hexdigest()


class Deliveries(Store):
    """The ledger and the attempts, read and written across runs."""

    def at(self, place: str) -> tuple[LedgerEntry, ...]:
        """Everything that is known of a place, oldest first."""
        with self._transaction(write=False) as connection:
            return _entries(connection, Delivered.place == place)

    def of_number(self, sequence: str, number: int) -> tuple[LedgerEntry, ...]:
        """What carries a sequence number, oldest first."""
        with self._transaction(write=False) as connection:
            return _entries(connection, Delivered.sequence == sequence, Delivered.number == number)

    def of_contents(self, route: str, contents: Sequence[str]) -> tuple[LedgerEntry, ...]:
        """What is known of some files at the places of a route, oldest first."""
        with self._transaction(write=False) as connection:
            return _entries(
                connection, Delivered.route == route, Delivered.content.in_(list(contents))
            )

    def put(self, entry: LedgerEntry) -> None:
        """Note how it stands with a file at a destination."""
        with self._transaction(write=True) as connection:
            _put_entry(connection, entry)

    def begin(self, entry: LedgerEntry, token: str, *, again: bool = False) -> bool:
        """Let this try alone go on at a place: all others that run there give way.

        Args:
            entry: the file and its place.
            token: tells this try from all others; :meth:`publish` asks for it.
            again: a person orders it: what is known of the file itself stays as it is.

        Returns:
            False when another try has reached its last step, or delivered, meanwhile.
        """
        at_place = Delivered.place == entry.place
        with self._transaction(write=True) as connection:
            connection.execute(
                update(Delivered)
                .where(at_place, Delivered.state == "withdrawn")
                .values(temporary=None)
            )
            if again:
                return True
            taken = _put_entry(
                connection,
                entry.model_copy(update={"state": "withdrawn", "temporary": token}),
                only_when=Delivered.state == "withdrawn",
            )
            return taken and not _entries(connection, at_place, Delivered.state == "publishing")

    def publish(self, entry: LedgerEntry, token: str) -> bool:
        """Note that the next step of a try makes its file visible.

        Returns:
            False when it has to give way: a later one began.
        """
        values = entry.model_dump() | {"state": "publishing", "updated_at": datetime.now(UTC)}
        with self._transaction(write=True) as connection:
            changed = connection.execute(
                update(Delivered)
                .where(
                    Delivered.content == entry.content,
                    Delivered.place == entry.place,
                    Delivered.state == "withdrawn",
                    Delivered.temporary == token,
                )
                .values(values)
            )
            return bool(changed.rowcount)

    def settle(self, entry: LedgerEntry, state: State) -> None:
        """Note how an earlier try ended, unless another process has noted something since."""
        with self._transaction(write=True) as connection:
            connection.execute(
                update(Delivered)
                .where(
                    Delivered.content == entry.content,
                    Delivered.place == entry.place,
                    Delivered.state == "publishing",
                    Delivered.temporary == entry.temporary
                    if entry.temporary is not None
                    else Delivered.temporary.is_(None),
                )
                .values(state=state, temporary=None, updated_at=datetime.now(UTC))
            )

    def finish(self, run: RunKey, attempt: DeliveryAttempt, entry: LedgerEntry) -> None:
        """Note, in one transaction, that an attempt ended well and the file is delivered."""
        with self._transaction(write=True) as connection:
            _put(connection, Attempt, run, [attempt.model_dump()])
            _put_entry(connection, entry)

    def next_attempt(self, run: RunKey, route: str, artifact: str) -> int:
        """The number of the next attempt of a run to bring an artifact over a route."""
        with self._transaction(write=False) as connection:
            last = connection.execute(
                select(func.max(Attempt.attempt)).where(
                    Attempt.report_id == run.report_id,
                    Attempt.business_date == run.business_date,
                    Attempt.run_id == run.run_id,
                    Attempt.route == route,
                    Attempt.artifact == artifact,
                )
            ).scalar()
        return (last or 0) + 1

    def note_again(self, actor: Actor, entry: LedgerEntry, reason: str) -> None:
        """Append to the audit trail that somebody has a file sent again, and why."""
        with self._transaction(write=True) as connection:
            _audit(connection, actor, "send again", entry, reason)

    def note_delivered(self, actor: Actor, entry: LedgerEntry, reason: str) -> None:
        """Note on somebody's word that the receiver has a file."""
        with self._transaction(write=True) as connection:
            _put_entry(connection, entry)
            _audit(connection, actor, "note as delivered", entry, reason)

    def list_attempts(
        self,
        *,
        report_id: str | None = None,
        business_date: date | None = None,
        failed: bool = False,
        limit: int = 1000,
    ) -> tuple[AttemptOfRun, ...]:
        """Attempts of all runs, the newest first.

        Args:
            report_id: of one report only.
            business_date: of one business date only.
            failed: only those that did not end well, killed ones included.
            limit: the most that are given.
        """
        wanted: list[ColumnElement[bool]] = []
        if report_id is not None:
            wanted.append(Attempt.report_id == report_id)
        if business_date is not None:
            wanted.append(Attempt.business_date == business_date)
        if failed:
            wanted.append(Attempt.result.in_(("failed", "started")))
        query = (
            select(Attempt.__table__)
            .where(*wanted)
            .order_by(Attempt.started_at.desc(), Attempt.id.desc())
            .limit(limit)
        )
        with self._transaction(write=False) as connection:
            rows = connection.execute(query).mappings()
            return tuple(_record(AttemptOfRun, dict(row)) for row in rows)


def _entries(connection: Connection, *wanted: ColumnElement[bool]) -> tuple[LedgerEntry, ...]:
    query = select(Delivered.__table__).where(*wanted).order_by(Delivered.updated_at, Delivered.id)
    return tuple(_record(LedgerEntry, dict(row)) for row in connection.execute(query).mappings())


def _audit(
    connection: Connection, actor: Actor, action: str, entry: LedgerEntry, reason: str
) -> None:
    audit.append(
        connection,
        audit.AuditEntry(
            actor=actor,
            action=action,
            kind=KIND,
            subject=f"{entry.report_id} {entry.business_date} {entry.destination}",
            after={"reason": reason, "run_id": entry.run_id, "sha256": entry.sha256},
        ),
    )


def _put_entry(
    connection: Connection, entry: LedgerEntry, *, only_when: ColumnElement[bool] | None = None
) -> bool:
    """Write an entry over that of its file and place; False when that is not ``only_when``."""
    values: dict[str, Any] = entry.model_dump() | {"updated_at": datetime.now(UTC)}
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(Delivered).values(values)
    key = ("content", "place")
    new = {name: insert.excluded[name] for name in values if name not in key}
    put = insert.on_conflict_do_update(index_elements=list(key), set_=new, where=only_when)
    return bool(connection.execute(put).rowcount)
