"""Rules that look at the business dates before."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.errors import BlockingRulesError
from openreg_airflow.records import RuleResult, RunKey, Verdict
from openreg_airflow.store.history import row_counts
from openreg_airflow.validate.check import check
from openreg_airflow.validate.spec import ValidateSection
from tests.integration.test_validate_operator import (  # noqa: F401 - fixtures
    RUN,
    execute,
    folder,
    operator,
    positions,
    store,
    workspace,
)

if TYPE_CHECKING:
    from openreg_airflow.store import Store
    from openreg_airflow.workspace import Workspace

LIKE_BEFORE = {
    "title": "About as many as before",
    "table": "positions",
    "row_count": {"previous_within_percent": 25},
    "message": "{rows} rows; there were {previous} on {previous_date}",
}


def ended(kept: Store, days_ago: int, rows: int, run_id: str = "r", **more: Any) -> None:
    """A run of an earlier business date has recorded its verdict."""
    fields = {
        "rule_id": "any", "title": "t", "severity": "blocking", "table": "positions",
        "failed": 0, "checked": rows, "seconds": 0.0, "message": "",
    }  # fmt: skip
    day = RUN.business_date - timedelta(days_ago)
    run = RunKey(report_id=RUN.report_id, business_date=day, run_id=run_id)
    kept.record_verdict(run, Verdict(results=(RuleResult.model_validate(fields | more),)))


@pytest.mark.parametrize(
    ("before", "rows", "passes"),
    [
        ([], 3, True),
        ([(1, 4)], 5, True),
        ([(1, 5)], 3, False),
        # The last date counts, and not the one before it.
        ([(3, 4), (7, 100)], 4, True),
        # A run whose rules blocked has not been reported.
        ([(1, 100, {"failed": 1}), (2, 4)], 4, True),
    ],
)
def test_row_count_is_held_against_the_last_business_date(  # noqa: PLR0917 - fixtures
    workspace: Workspace,  # noqa: F811
    store: Store,  # noqa: F811
    folder: Path,  # noqa: F811
    before: list[Any],
    rows: int,
    passes: bool,
) -> None:
    for days_ago, count, *more in before:
        ended(store, days_ago, count, **(more[0] if more else {}))
    task = operator(folder, positions(workspace, *[1] * rows), {"rules": {"like": LIKE_BEFORE}})
    if passes:
        assert execute(task).results[0].passed
        return
    with pytest.raises(BlockingRulesError, match=rf"{rows} rows; there were \d+ on 2026-03-"):
        execute(task)


def test_of_several_runs_of_a_date_the_last_counts(store: Store) -> None:  # noqa: F811
    ended(store, 1, 10, "first")
    ended(store, 1, 20, "second")
    ended(store, 1, 99, "blocked", failed=3)
    ended(store, 1, 98, "not evaluated", error="no such column")
    ended(store, 2, 30, failed=3, severity="warning")
    ended(store, 3, 40, failed=1, at_most="2 rows", tolerated=True)
    ended(store, 500, 7)
    since, before = date(2026, 1, 1), RUN.business_date
    counts = row_counts(str(store._engine.url), RUN.report_id, since, before)
    assert [((before - one.business_date).days, one.table, one.rows) for one in counts] == [
        (3, "positions", 40), (2, "positions", 30), (1, "positions", 20),
    ]  # fmt: skip


def test_days_without_a_good_run_are_found(
    workspace: Workspace,  # noqa: F811
    store: Store,  # noqa: F811
    folder: Path,  # noqa: F811
) -> None:
    """31 March is the business date; of the month only 30 March and the 2nd to the 6th ran."""
    for days_ago in (1, *range(25, 30)):
        ended(store, days_ago, 10)
    rule = {
        "title": "Every business day of the month has been reported",
        "table": "openreg_history",
        "severity": "warning",
        "complete_days": {"column": "business_date", "calendar": "WEEKDAYS"},
        "message": "nothing was reported for {day}",
    }
    average = {
        "title": "Not half of the average",
        "table": "positions",
        "sql": "SELECT count(*) AS n FROM positions HAVING count(*) * 2 < (SELECT avg(rows) FROM "
        "openreg_history WHERE table_name = 'positions' AND business_date < $business_date)",
        "message": "only {n}",
        "severity": "warning",
    }
    spec = {"rules": {"days": rule, "average": average}}
    days, below = execute(operator(folder, positions(workspace, 1), spec)).results
    assert days.messages[0] == "nothing was reported for 2026-03-09"
    assert days.failed == 15
    assert below.messages == ("only 1",)


def test_examples_of_such_a_rule_give_the_history() -> None:
    def problems(previous: int) -> list[str]:
        history = {"business_date": "2026-03-30", "table_name": "positions", "rows": previous}
        rule = LIKE_BEFORE | {
            "examples": {"pass": [[{"id": 1}, {"id": 2}]], "tables": {"openreg_history": [history]}}
        }
        section = ValidateSection.model_validate({"rules": {"like": rule}})
        return [p.message for p in check(section, Path(), {"positions": {"id": "integer"}})]

    assert problems(2) == []
    assert "the example breaks the rule" in problems(9)[0]
