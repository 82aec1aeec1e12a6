"""A report that uses a mapping set in a map step, in its script and in a rule."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import yaml

from openreg_airflow.records import RunKey
from openreg_airflow.store.mapping_runs import MappingRuns
from tests.e2e import reports
from tests.e2e.conftest import DAY
from tests.mapping_sets import add, make_set

if TYPE_CHECKING:
    from tests.e2e.conftest import Stack

SCRIPT = """\
def transform(inputs, context):
    trades = inputs["trades"]
    trades["again"] = context.mapping("e2e_desks").map(trades["id"], unmapped="none")
    return trades
"""
RULE = {
    "title": "Desks are those of the set",
    "table": "trades",
    "condition": 'desk == mapping("e2e_desks", id)',
    "unknown": "pass",
    "message": "desk {desk}",
}


def test_a_report_is_filled_from_a_mapping_set_that_its_run_keeps(stack: Stack) -> None:
    url = stack.site.store_url
    make_set(url, "e2e_desks", keys=(("id", "integer"),), values=(("desk", "string"),))
    add(url, {"id": 1}, {"desk": "Rates"}, name="e2e_desks")
    add(url, {"id": 3}, {"desk": "Credit"}, name="e2e_desks")
    folder = reports.write(stack.site.project / "report_specs", "mapped", script=SCRIPT)
    spec = yaml.safe_load((folder / "report.yaml").read_text())
    spec["mappings"] = {"sets": ["e2e_desks"]}
    spec["map"] = {
        "desk": {
            "table": "trades",
            "phase": "source",
            "set": "e2e_desks",
            "key": ["id"],
            "fill": {"desk": "desk"},
            "unmapped": "default",
            "default": {"desk": "NONE"},
        }
    }
    spec["validate"]["rules"]["desk_known"] = RULE
    (folder / "report.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))

    stack.parse_again()
    outcome = stack.run("mapped")

    assert outcome.proven, outcome.failures
    run = RunKey(report_id="mapped", business_date=DAY, run_id=outcome.run_id)
    runs = MappingRuns(url)
    [snapshot] = runs.snapshots(run)
    assert (snapshot.name, snapshot.version, snapshot.rows) == ("e2e_desks", 2, 2)
    assert {one.place: one.unmapped for one in runs.uses(run)} == {"map.desk": 1, "transform": 1}
    (receipt, _) = outcome.delivered[0]
    (found,) = stack.site.inbox.rglob(receipt.filename)
    with found.open(newline="") as file:
        assert [(row["id"], row["desk"], row["again"]) for row in csv.DictReader(file)] == [
            ("1", "Rates", "Rates"),
            ("2", "NONE", ""),
            ("3", "Credit", "Credit"),
        ]
    assert "1 unmapped (default): '2' (1 row)" in stack.log("mapped", outcome.run_id, "map_sources")
