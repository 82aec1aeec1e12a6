"""Which records stand in which file of an artifact that is split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Records of the first trial of a plan by bytes; the first trial tells how long records are.
_TRIAL = 1000
#: A file that is at least this full is full enough; a fuller one would cost another trial.
_FULL = 0.95
_TRIALS = 12
#: Of the limit, what is kept free for numbers and names that are known only after the plan.
_SPARE = 1 / 16
_MOST_SPARE = 1024


@dataclass(frozen=True)
class Part:
    """Records that stand in one file.

    Attributes:
        number: from 1.
        first: 0-based number of the first record in the table.
        records: how many.
    """

    number: int
    first: int
    records: int


def by_records(total: int, most: int) -> tuple[Part, ...]:
    """Parts of at most ``most`` records; no records give one part without any."""
    return _numbered([min(most, total - first) for first in range(0, total, most)] or [0])


def by_bytes(
    total: int, limit: int, measure: Callable[[int, int], int], most: int | None = None
) -> tuple[Part, ...]:
    """Parts whose files have at most a number of bytes.

    The same records give the same plan: it follows from nothing but the sizes of trials.

    Args:
        total: records of the artifact.
        limit: the most bytes of a file.
        measure: writes a trial file of records, given the 0-based first and their number, and
            gives its bytes.
        most: the most records of a file.

    Raises:
        ArtifactError: one record alone is too long for a file.
    """
    room = limit - min(_MOST_SPARE, int(limit * _SPARE))
    counts: list[int] = []
    first, guess = 0, _TRIAL
    while first < total:
        left = min(total - first, most or total)
        guess = _fitting(first, left, min(guess, left), room, measure)
        counts.append(guess)
        first += guess
    if not total:
        measure(0, 0)
    return _numbered(counts or [0])


def refuse_too_long(part: Part, size: int, limit: int) -> None:
    """Make sure that a finished file keeps its limit.

    Raises:
        ArtifactError: it does not.
    """
    if size > limit:
        message = f"the file has {size} bytes, split.bytes allows {limit}"
        raise ArtifactError(
            message,
            where=f"part {part.number}",
            hint="Its header is much longer than in the other parts. Lower split.bytes.",
        )


def _fitting(
    first: int, left: int, guess: int, room: int, measure: Callable[[int, int], int]
) -> int:
    """How many records from ``first`` on fit: the most that a few trials find."""
    fits, too_many = 0, left + 1
    for trial in range(64):
        size = measure(first, guess)
        if size <= room:
            fits = guess
            if guess == left or size >= _FULL * room:
                return fits
        else:
            too_many = guess
            if guess == 1:
                message = (
                    f"record {first + 1} alone makes a file of {size} bytes, which is more than "
                    f"the {room} that split.bytes leaves for it"
                )
                raise ArtifactError(message, hint="Raise split.bytes, or shorten the record.")
        if too_many - fits <= 1 or (fits and trial >= _TRIALS):
            return fits
        # What stands around the records makes this too careful below the limit, not above it.
        wanted = int(guess * room * 0.98 / size) if trial < _TRIALS else (fits + too_many) // 2
        guess = max(fits + 1, min(wanted, too_many - 1))
    return fits


def _numbered(counts: list[int]) -> tuple[Part, ...]:
    parts, first = [], 0
    for number, records in enumerate(counts, 1):
        parts.append(Part(number, first, records))
        first += records
    return tuple(parts)
