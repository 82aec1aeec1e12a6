from __future__ import annotations

import time

import pytest

from openreg_airflow.deliver.progress import MIB, Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds; waiting makes it later."""
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    return now


def test_a_long_transfer_tells_every_few_seconds_how_far_it_is(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    told = Progress("sent report.xml", 40 * MIB)
    for second in range(1, 13):
        clock[0] += 1
        told.reached(second * MIB)
    assert caplog.messages == [
        "sent report.xml: 5.0 of 40.0 MiB (12 %), 1.0 MiB/s",
        "sent report.xml: 10.0 of 40.0 MiB (25 %), 1.0 MiB/s",
    ]


def test_a_limited_line_waits_for_what_went_too_soon(clock: list[float]) -> None:
    limited = Progress("sent report.xml", 40 * MIB, bytes_per_second=2 * MIB)
    for block in range(1, 9):
        limited.reached(block * MIB)
    assert clock[0] == pytest.approx(104.0)
