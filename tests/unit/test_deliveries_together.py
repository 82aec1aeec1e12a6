"""Two tries at the same delivery that run at the same time, as after a lost heartbeat."""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.deliver.channel import NameTakenError, Outcome, Parcel
from openreg_airflow.deliver.journal import LedgerJournal
from openreg_airflow.deliver.placing import place
from openreg_airflow.errors import (
    DeliveryError,
    DeliveryRefusedError,
    StoreUnavailableError,
)
from openreg_airflow.store.deliveries import Deliveries, LedgerEntry
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = b"<report/>" * 10
FINAL = "in/report.xml"
#: More than a try has steps.
STEPS = 16


class KilledError(BaseException):
    """The process ends here."""


@dataclass
class Clock:
    """Counts the steps of a try; at one of them something happens, once."""

    at: int = -1
    happens: Callable[[], None] = lambda: None

    def tick(self) -> None:
        self.at -= 1
        if self.at == -1:
            self.happens()


@dataclass
class Inbox:
    """What lies at the destination; a receiver may take each file as soon as it is there."""

    takes: bool
    listable: bool
    files: dict[str, bytes] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)


@dataclass
class Session:
    """One try's connection to the inbox."""

    inbox: Inbox
    clock: Clock

    def make_folder(self, folder: str) -> None:
        self.clock.tick()

    def names(self, folder: str) -> list[str] | None:
        self.clock.tick()
        names = [posixpath.basename(name) for name in self.inbox.files]
        return names if self.inbox.listable else None

    def size(self, path: str) -> int | None:
        self.clock.tick()
        return len(self.inbox.files[path]) if path in self.inbox.files else None

    def sha256(self, path: str) -> str | None:
        self.clock.tick()
        return hashlib.sha256(self.inbox.files[path]).hexdigest()

    def upload(self, parcel: Parcel, path: str) -> None:
        self.clock.tick()
        self.inbox.files[path] = parcel.path.read_bytes()
        self.clock.tick()

    def publish(self, temporary: str, final: str) -> None:
        self.clock.tick()
        if final in self.inbox.files:
            raise NameTakenError(final)
        if temporary not in self.inbox.files:
            raise DeliveryError(temporary)
        self.inbox.files[final] = self.inbox.files.pop(temporary)
        self.inbox.seen.append(final)
        if self.inbox.takes:
            del self.inbox.files[final]
        self.clock.tick()

    def remove(self, path: str) -> bool:
        self.clock.tick()
        return self.inbox.files.pop(path, None) is not None


class TickingJournal(LedgerJournal):
    """A journal between whose steps something may happen, too."""

    def __init__(self, store: Deliveries, entry: LedgerEntry, clock: Clock, **options: Any) -> None:
        super().__init__(store, entry, **options)
        self._clock = clock

    def begin(self) -> None:
        self._tick()
        super().begin()
        self._tick()

    def publishing(self, temporary: str | None) -> None:
        self._tick()
        super().publishing(temporary)
        self._tick()

    def withdrawn(self) -> None:
        self._tick()
        super().withdrawn()
        self._tick()

    def _tick(self) -> None:
        try:
            self._clock.tick()
        except DeliveryError as error:
            # The store is not where the files go; what it was told it may have noted.
            raise StoreUnavailableError(error.message) from error


@dataclass
class House:
    """This side: a file and the ledger."""

    store: Deliveries
    inbox: Inbox
    path: Path
    place: str

    def entry(self, content: bytes) -> LedgerEntry:
        digest = hashlib.sha256(content).hexdigest()
        return LedgerEntry(
            content=digest,
            place=self.place,
            destination=f"sftp://inbox.example:22/{FINAL}",
            state="delivered",
            report_id="mifir",
            business_date=date(2026, 3, 2),
            run_id="manual__1",
            route="regulator",
            artifact="transactions",
            filename="report.xml",
            bytes=len(content),
            sha256=digest,
        )

    def deliver(
        self, clock: Clock | None = None, *, content: bytes = CONTENT, again: bool = False
    ) -> Outcome:
        """One try, as a task makes it."""
        clock = clock or Clock()
        path = self.path.with_name(hashlib.sha256(content).hexdigest())
        path.write_bytes(content)
        entry = self.entry(content)
        journal = TickingJournal(self.store, entry, clock, again=again)
        if journal.delivered_before():
            return Outcome(bytes_sent=0, already_there=True)
        parcel = Parcel(
            path=path,
            filename="report.xml",
            bytes=len(content),
            sha256=entry.sha256,
            journal=journal,
        )
        outcome = place(Session(self.inbox, clock), parcel, "in", "size")
        clock.tick()
        self.store.put(entry)
        return outcome

    def deliver_at_last(self, content: bytes = CONTENT) -> Outcome:
        """Try again as Airflow does."""
        with contextlib.suppress(DeliveryError):
            return self.deliver(content=content)
        return self.deliver(content=content)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Deliveries:
    return Deliveries(new_store(tmp_path_factory.mktemp("store")))


@pytest.fixture
def make(store: Deliveries, tmp_path: Path) -> Callable[..., House]:
    number = 0

    def made(*, takes: bool = False, listable: bool = True) -> House:
        nonlocal number
        number += 1
        name = hashlib.sha256(f"{tmp_path} {number}".encode()).hexdigest()
        return House(store, Inbox(takes, listable), tmp_path / "file", name)

    return made


def dying(kind: type[BaseException]) -> Callable[[], None]:
    def die() -> None:
        raise kind("the end")

    return die


@pytest.mark.parametrize(
    ("takes", "listable"), [(True, True), (True, False), (False, True)], ids=str
)
def test_the_receiver_sees_the_file_once_wherever_another_try_comes_between(
    make: Callable[..., House], takes: bool, listable: bool
) -> None:
    for begins in range(STEPS):
        for ends in range(begins % 5 - 1, STEPS, 5):
            house = make(takes=takes, listable=listable)
            kind = DeliveryError if ends % 2 else KilledError

            def other(house: House = house, ends: int = ends, kind: Any = kind) -> None:
                with contextlib.suppress(DeliveryError, StoreUnavailableError, KilledError):
                    house.deliver(Clock(ends, dying(kind)))

            with contextlib.suppress(DeliveryError):
                house.deliver(Clock(begins, other))
            house.deliver_at_last()
            said = f"the other try came at step {begins} and ended at {ends}"
            assert house.inbox.seen == [FINAL], said
            assert (FINAL in house.inbox.files) == (not takes), said
            if ends == -1:
                assert set(house.inbox.files) <= {FINAL}, said
            assert [one.state for one in house.store.at(house.place)] == ["delivered"], said


def test_a_file_that_is_renamed_while_it_is_looked_for_was_delivered(
    make: Callable[..., House],
) -> None:
    for looks in range(4):
        house = make(takes=True)
        with contextlib.suppress(KilledError):
            house.deliver(Clock(9, dying(KilledError)))
        [temporary] = house.inbox.files
        first = Session(house.inbox, Clock())

        def rename(first: Session = first, temporary: str = temporary) -> None:
            with contextlib.suppress(DeliveryError):
                first.publish(temporary, FINAL)

        with contextlib.suppress(DeliveryError):
            house.deliver(Clock(looks, rename))
        house.deliver_at_last()
        assert house.inbox.seen == [FINAL], f"renamed at step {looks}"


@pytest.mark.parametrize("answer", ["None", "refused"])
def test_a_destination_that_tells_or_lets_less_about_removing_still_gets_the_file(
    make: Callable[..., House],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: str,
) -> None:
    house = make()
    for dies in (6, 10):
        with contextlib.suppress(KilledError):
            house.deliver(Clock(dies, dying(KilledError)))
    remove = Session.remove

    def silent(self: Session, path: str) -> None:
        if answer == "refused":
            raise DeliveryRefusedError(path)
        remove(self, path)

    monkeypatch.setattr(Session, "remove", silent)
    house.deliver()
    assert house.inbox.seen == [FINAL]
    assert ("stays behind" in caplog.text) == (answer == "refused")


def test_a_file_that_is_sent_again_in_vain_still_goes_out(make: Callable[..., House]) -> None:
    for ends in range(STEPS):
        house = make()
        with contextlib.suppress(KilledError):
            house.deliver(Clock(9, dying(KilledError)))
        with contextlib.suppress(DeliveryError, StoreUnavailableError):
            house.deliver(Clock(ends, dying(DeliveryError)), again=True)
        house.deliver_at_last()
        assert house.inbox.seen == [FINAL], f"the command ended at step {ends}"


def test_a_correction_goes_out_though_the_first_version_was_sent_again_before(
    make: Callable[..., House],
) -> None:
    for dies in range(STEPS):
        house = make(takes=True)
        house.deliver()
        with contextlib.suppress(KilledError):
            house.deliver(Clock(dies, dying(KilledError)), content=b"corrected")
        sent = len(house.inbox.seen)
        assert not house.deliver(again=True).already_there
        house.deliver_at_last(b"corrected")
        assert len(house.inbox.seen) == 3, f"died at step {dies}, sent {sent} before"
