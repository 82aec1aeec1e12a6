"""What an answer that comes in several files has told of one file that was sent."""

from __future__ import annotations

from itertools import islice
from typing import Literal

from openreg_airflow.records import FileRef, Record

#: Numbers of missing pages that people are told.
_SHOWN = 5


class WordsFile(FileRef):
    """A file of words on single records.

    Attributes:
        level: how often its words were put together with those of others.
    """

    level: int = 0


class KeptWords(Record):
    """The words on single records after a feedback file was read; the newest on a row counts.

    Attributes:
        files: where they are, the oldest first.
        named: how many records of each position are spoken of, by their newest states; None where
            an earlier version did not count them.
        sent: hashes by each of which what was sent is known; none where an earlier version did not
            keep them.
    """

    files: tuple[WordsFile, ...]
    named: dict[int, dict[Literal["accepted", "rejected", "pending"], int]] | None = None
    sent: tuple[str, ...] = ()


class ToldPage(Record):
    """One file of an answer.

    Attributes:
        number: from 1; None where the authority does not number them.
        digest: SHA-256 of what it says, to know it again.
        total: records that it counts itself; None where it counts those of the whole file or none.
    """

    number: int | None = None
    digest: str = ""
    total: int | None = None


class Told(Record):
    """What the files of an answer have told that has not come to its end.

    Attributes:
        status: of the whole file.
        counts: of the whole file by state, all that was sent.
        pages: that are numbered or count for themselves.
        last: number of the last page; None as long as nobody said it.
        received: a page that names records says of the whole that it came, and not more.
    """

    status: Literal["accepted", "partly accepted", "rejected", "corrupted"] | None = None
    counts: dict[Literal["accepted", "rejected", "pending"], int] | None = None
    pages: tuple[ToldPage, ...] = ()
    last: int | None = None
    received: bool = False

    @property
    def numbers(self) -> set[int]:
        """The numbers of the pages that are there."""
        return {page.number for page in self.pages if page.number is not None}

    @property
    def totals(self) -> int:
        """How many records the pages count that count for themselves."""
        return sum(page.total or 0 for page in self.pages)

    def untold(self, sent: int, rejected: int, pending: int) -> str:
        """What is still to come, for people.

        Args:
            sent: records in the file.
            rejected: how many of them were named as rejected.
            pending: how many are pending, or were not named.
        """
        said = []
        if numbers := self.numbers:
            top = max(self.last or 0, *numbers)
            gaps = (number for number in range(1, top + 1) if number not in numbers)
            missing = [str(number) for number in islice(gaps, _SHOWN + 1)]
            shown = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
            if missing:
                said.append(f"page {shown} is missing")
            elif self.last is None:
                said.append(f"pages 1 to {top} came and none is the last")
        counted = (self.counts or {}).get("rejected", 0)
        if counted > rejected:
            said.append(f"{counted} rejected records are counted and {rejected} named")
        if 0 < self.totals < sent:
            said.append(f"{self.totals} of {sent} records are counted so far")
        return ", ".join(said) or f"{pending} records are not told yet"
