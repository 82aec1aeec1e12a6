from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.e2e.conftest import DAY
from tests.e2e.test_exceptions import openreg
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.conftest import Stack


def test_another_route_delivers_and_the_authority_s_answer_ends_the_run(stack: Stack) -> None:
    client, outbox = stack.client, stack.site.project / "outbox"
    client.wait_for_dags({"rerouted"})
    run = client.trigger("rerouted", DAY)
    waiting = "acknowledge"
    wait_until(lambda: stack.tasks("rerouted", run)[waiting].state == "deferred", 180, every=0.5)
    assert (outbox / "in" / "rerouted_20260930.csv").is_file()
    [one] = json.loads(openreg(stack, "acks", "--report", "rerouted", "--json"))
    assert (one["state"], one["pending"], one["overdue"]) == ("awaited", 2, False)
    (outbox / "out").mkdir()
    answer = "ref;state;rule;why\n3;rejected;CON-412;unknown instrument\n1;ok;;\n"
    (outbox / "out" / "rerouted_20260930_FDB.csv").write_text(answer)

    outcome = stack.finish("rerouted", run)

    states = {name: task.state for name, task in stack.tasks("rerouted", run).items()}
    assert outcome.state == "success", f"{states}\n{stack.log('rerouted', run, waiting)}"
    assert states["deliver.trades_to_regulator"] == "failed"
    assert states["deliver.trades_to_spare"] == "success"
    queue = openreg(stack, "exceptions", "list", "--report", "rerouted")
    assert "unknown instrument" in queue
    assert "no answer is outstanding" in openreg(stack, "acks", "--report", "rerouted")
    day = ("--business-date", DAY.isoformat())
    counts = openreg(stack, "exceptions", "reconcile", "rerouted", *day)
    assert counts.startswith("trades: in 3 = reported 1 + rejected 0 + pending 2")
