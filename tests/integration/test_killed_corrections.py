"""A delivery that is killed around its references leaves each of them on record exactly once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.delivery import Delivery, deliver
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.errors import ArtifactError, DeliveryError
from openreg_airflow.store.deliveries import Deliveries
from openreg_airflow.store.references import References
from tests.artifact_files import RUN
from tests.nested_house import CANCEL_AND_NEW, House, Row, records

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.records import Artifact, RunKey

ROUTE: dict[str, Any] = {"channel": "folder", "connection": "outbox", "folder": "in"}
FIRST: list[Row] = [("NEW", "A", 1, {"x": ["1"]}), ("NEW", "B", 2, {}), ("NEW", "C", 3, {})]
SECOND: list[Row] = [("NEW", "A", 1, {"x": ["2"]}), ("NEW", "B", 2, {}), ("NEW", "D", 4, {})]
SENT = [("CANCEL", "A"), ("CANCEL", "C"), ("NEW", "A"), ("NEW", "D")]
#: Where it dies, and what is then on record of the second version: nothing, or its state.
POINTS = [
    ("before reserve", None),
    ("after refuse_reuse", None),
    ("after reserve", "sending"),
    ("after publish", "sending"),
    ("before delivered", "sending"),
    ("after delivered", "delivered"),
]


class Firm(House):
    """Brings its files to a folder, in this process or in one that dies."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, CANCEL_AND_NEW, split={"records": 2, "repeat": ["header"]})
        (folder / "outbox").mkdir()
        self.references = References(self.url)

    def connection(self) -> Connection:
        return Connection(id="outbox", type="fs", extra={"path": str(self.folder / "outbox")})

    def bring(self, run: RunKey, artifact: Artifact) -> None:
        deliver(
            Delivery(run=run, route="regulator", spec=RouteSpec(**ROUTE), artifact=artifact),
            connect=self.connection,
            workspace=self.workspace,
            store=Deliveries(self.url),
        )

    def killed(self, run: RunKey, artifact: Artifact, point: str) -> None:
        order = {
            "run": run.model_dump(mode="json"),
            "spec": ROUTE,
            "artifact": artifact.model_dump(mode="json"),
            "connection": {"id": "outbox", "type": "fs", "extra": self.connection().extra},
            "workspace": str(self.workspace.root),
            "store_url": self.url,
            "kill": point,
        }
        command = [sys.executable, "-m", "tests.delivery_victim", json.dumps(order)]
        assert subprocess.run(command, timeout=120, check=False).returncode == -signal.SIGKILL

    def states(self) -> list[str]:
        key = ("authority", RUN.report_id, RUN.business_date, "out")
        return [one.state for one in self.references.submissions(*key)]

    def sent(self, artifact: Artifact) -> list[tuple[str, str]]:
        files = [self.folder / "outbox" / "in" / file.filename for file in artifact.files]
        return [row[:2] for file in files for row in records(file)]


@pytest.fixture
def firm(tmp_path: Path) -> Firm:
    firm = Firm(tmp_path / "firm")
    firm.bring(*firm.make(FIRST))
    return firm


@pytest.mark.parametrize(("point", "state"), POINTS)
def test_killed_correction_is_on_record_and_delivered_once(
    firm: Firm, point: str, state: str | None
) -> None:
    run, made = firm.make(SECOND)
    firm.killed(run, made, point)
    assert firm.states() == ["delivered", *([state] if state else [])]
    if state == "sending":
        # Nobody knows yet what the authority has, so nothing else is derived from it.
        with pytest.raises(ArtifactError, match="is not delivered yet"):
            firm.make(FIRST)
    # The whole run is repeated: the same artifact, and the same files once each.
    again = firm.make(SECOND)
    assert [file.sha256 for file in again[1].files] == [file.sha256 for file in made.files]
    firm.bring(run, made)
    assert firm.states() == ["delivered", "delivered"]
    assert firm.sent(made) == SENT
    inbox = sorted(path.name for path in (firm.folder / "outbox" / "in").iterdir())
    assert inbox == ["out_1_1.xml", "out_1_2.xml", "out_2_1.xml", "out_2_2.xml"]
    # What stands is exactly the second version: the next one is derived from it.
    third = firm.make([("NEW", "A", 1, {"x": ["2"]}), ("NEW", "C", 3, {})])
    firm.bring(*third)
    assert firm.sent(third[1]) == [("CANCEL", "B"), ("CANCEL", "D"), ("NEW", "C")]


def test_killed_delivery_that_then_finds_no_folder_frees_its_references(firm: Firm) -> None:
    run, made = firm.make(SECOND)
    firm.killed(run, made, "after reserve")
    outbox = firm.folder / "outbox"
    outbox.rename(firm.folder / "away")
    with pytest.raises(DeliveryError):
        firm.bring(run, made)
    (firm.folder / "away").rename(outbox)
    # Nothing had left the house, so that the report may go another way.
    assert firm.states() == ["delivered"]
    third = firm.make([("NEW", "A", 9, {})])
    firm.bring(*third)
    assert firm.sent(third[1]) == [("CANCEL", "A"), ("CANCEL", "B"), ("CANCEL", "C"), ("NEW", "A")]


def test_artifact_task_of_an_older_run_may_be_cleared(firm: Firm) -> None:
    firm.bring(*firm.make(SECOND))
    # The first run's task makes its version anew, which is never sent.
    firm.runs = 0
    run, _ = firm.make(FIRST)
    assert run.run_id == "run-1"
    firm.runs = 2
    third = firm.make([("NEW", "B", 3, {})])
    firm.bring(*third)
    assert firm.sent(third[1]) == [("CANCEL", "A"), ("CANCEL", "B"), ("CANCEL", "D"), ("NEW", "B")]
