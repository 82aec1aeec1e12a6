"""Whatever people and runs do, in whatever order: in = reported + rejected + pending."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openreg_airflow.errors import DecisionError, TransientError
from openreg_airflow.exception_queue import claims, decisions
from openreg_airflow.exception_queue.balance import balances
from openreg_airflow.exception_queue.item import DECIDABLE
from openreg_airflow.exception_queue.listing import Wanted, find
from tests.exception_contract import ANNA
from tests.exception_runs import DAY, Desk

_PRICES = st.sampled_from(["0", "-1", "1", "2.5"])
_SOURCES = st.fixed_dictionaries({f"T{n}": _PRICES for n in range(5)})


class Queue(RuleBasedStateMachine):
    """Runs, retries, decisions and resubmissions; some die half way."""

    @initialize(prices=_SOURCES)
    def first_run(self, prices: dict[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.desk = Desk(self.folder)
        self.number = 0
        self.open: dict[str, Any] = {}
        self.prices = prices
        self.source("first", prices)

    def source(self, run_id: str, prices: dict[str, str]) -> None:
        try:
            done = self.desk.source_run(run_id, prices)
        except TransientError:
            assert self.open
            return
        self.prices = prices
        self.run_id = run_id
        self.main = [row["id"] for row in self.desk.read(done.tables["trades"])]

    def items(self) -> list[Any]:
        return list(find(self.desk.url, Wanted(report_id="desk")))

    def decide(self, chosen: int, act: Any) -> None:
        free = [i for i in self.items() if i.state in DECIDABLE and i.claimed_by is None]
        if free:
            one = free[chosen % len(free)]
            # Nothing can be undone of an item that nobody has decided about.
            with suppress(DecisionError):
                act({one.id: one.version})

    @rule(chosen=st.integers(0, 99), price=_PRICES)
    def amend(self, chosen: int, price: str) -> None:
        self.decide(
            chosen,
            lambda seen: decisions.amend(
                self.desk.url, {key: {"price": price} for key in seen}, seen, ANNA, "late"
            ),
        )

    @rule(chosen=st.integers(0, 99), name=st.sampled_from(["reject", "release", "undo"]))
    def decide_otherwise(self, chosen: int, name: str) -> None:
        act = getattr(decisions, name)
        self.decide(chosen, lambda seen: act(self.desk.url, seen, ANNA, "because"))

    @rule(prices=_SOURCES)
    def run_again(self, prices: dict[str, str]) -> None:
        self.number += 1
        self.source(f"run{self.number}", prices)

    @rule()
    def retry(self) -> None:
        self.source(self.run_id, self.prices)

    @rule()
    def begin_resubmission(self) -> None:
        self.number += 1
        taken = self.desk.take(f"resubmit{self.number}")
        if taken is not None:
            self.open[f"resubmit{self.number}"] = taken

    @precondition(lambda self: self.open)
    @rule(chosen=st.integers(0, 99), again=st.booleans())
    def end_resubmission(self, chosen: int, again: bool) -> None:
        run_id = sorted(self.open)[chosen % len(self.open)]
        if again:  # the task died, and the retry begins anew
            self.open[run_id] = self.desk.take(run_id)
        taken = self.open.pop(run_id)
        for _ in range(2 if again else 1):
            self.desk.go_on(run_id, taken.tables)
        claims.settle(self.desk.url, self.desk.key(run_id))

    @precondition(lambda self: self.open)
    @rule(chosen=st.integers(0, 99))
    def give_back(self, chosen: int) -> None:
        run_id = sorted(self.open)[chosen % len(self.open)]
        del self.open[run_id]
        claims.give_back(self.desk.url, self.desk.key(run_id), ANNA, "it cannot be delivered")

    @invariant()
    def it_reconciles(self) -> None:
        if not hasattr(self, "desk"):
            return
        [found] = balances(self.desk.url, "desk", DAY)
        assert found.holds, found.line()
        standing = [i for i in self.items() if i.state != "superseded"]
        # No record is both in the run's own tables and in the queue.
        assert sorted([*self.main, *(i.key[0] for i in standing)]) == sorted(self.prices)
        assert found.records == len(self.prices)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


Queue.TestCase.settings = settings(
    max_examples=6,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestCountsReconcileInAnyOrder = Queue.TestCase
