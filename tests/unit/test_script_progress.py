from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from openreg_airflow.transform.runner.context import PROGRESS_SECONDS, Progress

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "transform")
    return lambda: [record.getMessage() for record in caplog.records]


def test_progress_is_said_at_most_now_and_then(lines: Callable[[], list[str]]) -> None:
    clock = Clock()
    progress = Progress(logging.getLogger("transform"), clock)

    for done in range(1000):
        clock.now += PROGRESS_SECONDS / 100
        progress(done * 1000, 2_000_000)

    assert 8 <= len(lines()) <= 10
    assert lines()[0] == "progress: 99,000 of 2,000,000 (5 %)"


def test_end_is_always_said_and_only_once(lines: Callable[[], list[str]]) -> None:
    progress = Progress(logging.getLogger("transform"), Clock())

    for _ in range(3):
        progress(5, 5)

    assert lines() == ["progress: 5 of 5 (100 %)"]


def test_total_may_be_unknown_or_zero(lines: Callable[[], list[str]]) -> None:
    clock = Clock()
    progress = Progress(logging.getLogger("transform"), clock)
    clock.now = PROGRESS_SECONDS
    progress(12_345)
    progress(0, 0)

    assert lines() == ["progress: 12,345", "progress: 0"]


@pytest.mark.parametrize("numbers", [(-1, None), (1, -5), (float("nan"), None)])
def test_numbers_that_make_no_sense_are_refused(numbers: tuple[float, float | None]) -> None:
    progress = Progress(logging.getLogger("transform"), Clock())

    with pytest.raises(ValueError, match="neither may be negative"):
        progress(*numbers)
