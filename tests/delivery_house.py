"""A workspace, a store and an artifact to deliver; and a process that dies on the way."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from openreg_airflow.deliver.delivery import Delivery, deliver
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.records import Artifact, ArtifactFile, Receipt, RunKey
from openreg_airflow.store import Store
from openreg_airflow.store.deliveries import Deliveries
from openreg_airflow.workspace import Workspace
from tests.new_store import new_store

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.store_records import DeliveryAttempt

MIB = 1 << 20
RUN = RunKey(report_id="mifir_transactions", business_date=date(2026, 3, 2), run_id="manual__1")


@dataclass
class House:
    """This side of a delivery: workspace, store and one artifact."""

    folder: Path
    store_url: str
    content: bytes
    artifact: Artifact

    @property
    def store(self) -> Store:
        """The store, as what knows of runs."""
        return Store(self.store_url)

    @property
    def ledger(self) -> Deliveries:
        """The store, as what knows of deliveries."""
        return Deliveries(self.store_url)

    def deliver(
        self, connection: Connection, *, run: RunKey = RUN, again: bool = False, **spec: Any
    ) -> Receipt:
        """Deliver the only file."""
        [receipt] = self.deliver_all(connection, run=run, again=again, **spec)
        return receipt

    def deliver_all(
        self, connection: Connection, *, run: RunKey = RUN, again: bool = False, **spec: Any
    ) -> tuple[Receipt, ...]:
        """Deliver all files."""
        delivery = Delivery(
            run=run, route="regulator", spec=route(**spec), artifact=self.artifact, again=again
        )
        return deliver(
            delivery,
            connect=lambda: connection,
            workspace=Workspace(self.folder),
            store=self.ledger,
        )

    @property
    def attempts(self) -> tuple[DeliveryAttempt, ...]:
        """What is on record of the run's deliveries."""
        return self.store.attempts(RUN)


def route(**spec: Any) -> RouteSpec:
    """A route over SFTP, with changes."""
    return RouteSpec(
        **({"channel": "sftp", "connection": "regulator_sftp", "folder": "in/mifir"} | spec)
    )


def make_house(folder: Path, size: int) -> House:
    """A house whose artifact has a file of that size."""
    workspace = Workspace(folder / "workspace")
    content = random.Random(size).randbytes(size)  # noqa: S311
    with workspace.folder(RUN, "artifact").writing("transactions.xml") as pending:
        pending.path.write_bytes(content)
    file = ArtifactFile(**dict(pending.ref), filename="DEMO_DATTRA_DE_20260302.xml", records=1)
    artifact = Artifact(
        name="transactions", format="xml", records=1, schema_check="valid", files=(file,)
    )
    return House(folder / "workspace", new_store(folder), content, artifact)


def start_victim(
    house: House,
    connection: Connection,
    *,
    kill: str | None = None,
    s3_url: str | None = None,
    **spec: Any,
) -> subprocess.Popen[bytes]:
    """Deliver in a process of its own.

    Args:
        house: this side.
        connection: the other.
        kill: where the process dies.
        s3_url: endpoint of a store; a client cannot be handed to another process.
        spec: of the route.
    """
    order = {
        "run": RUN.model_dump(mode="json"),
        "spec": route(**spec).model_dump(mode="json"),
        "artifact": house.artifact.model_dump(mode="json"),
        "connection": asdict(replace(connection, s3=None)),
        "workspace": str(house.folder),
        "store_url": house.store_url,
        "kill": kill,
        "s3_url": s3_url,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.delivery_victim", json.dumps(order)],
        stderr=subprocess.DEVNULL,
    )
