"""A delivery in a process of its own, which kills itself where a test says so.

Usage: ``python -m tests.delivery_victim JSON``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from openreg_airflow.deliver.channels.folder import FolderSession
from openreg_airflow.deliver.channels.ftp import FtpSession
from openreg_airflow.deliver.channels.s3 import S3Session
from openreg_airflow.deliver.channels.sftp import SftpSession
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.delivery import Delivery, deliver
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.records import Artifact, RunKey
from openreg_airflow.references.guard import ReferenceGuard
from openreg_airflow.store import references
from openreg_airflow.store.deliveries import Deliveries
from openreg_airflow.workspace import Workspace
from tests.services.s3 import client_of

SESSIONS = {
    "sftp": SftpSession,
    "ftp": FtpSession,
    "ftps": FtpSession,
    "folder": FolderSession,
    "s3": S3Session,
}
#: What holds references against the store, and the step inside its transaction.
GUARDS = {"reserve": ReferenceGuard, "delivered": ReferenceGuard, "refuse_reuse": references}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(kind: Any, point: str) -> None:
    """Make the process die before or after a step of a session, such as ``before publish``."""
    when, step = point.split(" ")
    kind = GUARDS.get(step, kind)
    original = getattr(kind, step)

    def doomed(*arguments: Any) -> Any:
        if when == "before":
            die()
        result = original(*arguments)
        die()
        return result

    setattr(kind, step, doomed)


def run(order: dict[str, Any]) -> None:
    if order.get("kill"):
        kill_at(SESSIONS[order["spec"]["channel"]], order["kill"])
    delivery = Delivery(
        run=RunKey.model_validate(order["run"]),
        route="regulator",
        spec=RouteSpec.model_validate(order["spec"]),
        artifact=Artifact.model_validate(order["artifact"]),
    )
    connection = Connection(**order["connection"])
    if url := order.get("s3_url"):
        connection = replace(connection, s3=lambda _: client_of(url))
    deliver(
        delivery,
        connect=lambda: connection,
        workspace=Workspace(Path(order["workspace"])),
        store=Deliveries(order["store_url"]),
    )


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
