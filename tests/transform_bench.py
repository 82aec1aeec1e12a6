"""Scripts run as the transform stage runs them, without an operator around it."""

from __future__ import annotations

import logging
import os
import signal
import textwrap
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.mapping_records import MappingSnapshot, MappingUse, TypedColumn
from openreg_airflow.records import RunKey
from openreg_airflow.transform.container import run_in_container
from openreg_airflow.transform.execution import execute
from openreg_airflow.transform.job import Job, MappingFile
from openreg_airflow.transform.spec import TransformSection
from openreg_airflow.transform.unfenced import UnfencedProcess
from openreg_airflow.workspace import Workspace, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from docker import APIClient

    from openreg_airflow.records import Dataset
    from openreg_airflow.transform.fence import Fence
    from openreg_airflow.workspace import StageFolder

Way = Literal["container", "copying container", "subprocess"]

RUN = RunKey(report_id="demo_report", business_date=date(2026, 3, 2), run_id="manual__1")
TRADES = pa.table(
    {
        "trade_id": ["T1", "T2", "T3"],
        "price": pa.array(
            [Decimal("1.10000"), None, Decimal("9999999999999.99999")], pa.decimal128(18, 5)
        ),
        "quantity": pa.array([10, 20, None], pa.int64()),
        "traded_at": pa.array(
            [datetime(2026, 3, 2, 12, 0, 0, micro, tzinfo=UTC) for micro in (1, 2, 999_999)],
            pa.timestamp("us", tz="UTC"),
        ),
    }
)
#: The spec of a report with a script.
REPORT = """\
openreg: 1
id: demo_report
title: Demo
owner: reporting
schedule: {cron: "0 20 * * 1-5", timezone: Europe/Berlin, start_date: 2026-01-01}
extract:
  sources:
    trades: {connection: openreg_trial, sql: trades.sql}
transform: {script: transform.py}
artifacts:
  trades: {format: csv, table: trades, filename: "trades.csv"}
"""
#: A script that says when it runs, and then takes longer than any test.
SLEEP = "import time\ndef transform(inputs, context):\n  print('ready')\n  time.sleep(600)\n"


@dataclass
class Bench:
    """A workspace, one source and a way to run scripts.

    Attributes:
        folder: the workspace's root.
        way: how scripts run.
        client, image: needed for containers.
        fences: the fences of all runs, in order.
    """

    folder: Path
    way: Way
    client: APIClient | None = None
    image: str = ""
    inputs: dict[str, Path] = field(default_factory=dict)
    mappings: dict[str, MappingFile] = field(default_factory=dict)
    looked_up: list[MappingUse] = field(default_factory=list)
    fences: list[Fence] = field(default_factory=list)

    def source(self, name: str, table: pa.Table, mode: int = 0o644) -> Path:
        """Store a source's table and make it an input of the runs that follow."""
        path = self.folder / f"{name}.parquet"
        pq.write_table(table, path)
        path.chmod(mode)
        self.inputs[name] = path
        return path

    def mapping(self, name: str, table: pa.Table, keys: dict[str, str], **values: str) -> None:
        """Store a mapping set for the runs that follow; its columns with their types."""
        path = self.folder / f"mapping-{name}.parquet"
        pq.write_table(table, path)
        path.chmod(0o644)
        snapshot = MappingSnapshot(
            **describe(path).model_dump(),
            name=name,
            set_id=1,
            version=1,
            known_at=datetime(2026, 3, 2, tzinfo=UTC),
            keys=tuple(TypedColumn(name=key, type=kind) for key, kind in keys.items()),
            values=tuple(TypedColumn(name=value, type=kind) for value, kind in values.items()),
            rows=len(table),
        )
        self.mappings[name] = MappingFile(snapshot, path)

    def run(
        self, script: str, *, key: str = "test", imports: Sequence[str] = ("*",), **spec: Any
    ) -> dict[str, Dataset]:
        """Run a script, given with any indentation."""
        job = self.job(script, key=key, imports=imports, **spec)
        if self.way == "subprocess":
            fence = UnfencedProcess(job)
            self.fences.append(fence)
            return execute(fence, job, self.output)
        assert self.client is not None
        return run_in_container(
            self.client,
            self.image,
            job,
            self.output,
            local=self.way == "container",
            starting=self.fences.append,
        )

    def job(
        self, script: str, *, key: str = "test", imports: Sequence[str] = ("*",), **spec: Any
    ) -> Job:
        """A job for a script, given with any indentation."""
        return Job(
            run=RUN,
            key=key,
            spec=TransformSection.model_validate(spec),
            source=textwrap.dedent(script).lstrip("\n"),
            inputs=self.inputs,
            imports=imports,
            mappings=self.mappings,
            looked_up=self.looked_up.extend,
        )

    @property
    def output(self) -> StageFolder:
        """Where tables are stored."""
        return Workspace(self.folder).folder(RUN, "transform")

    @property
    def stored(self) -> list[str]:
        """The names of all files that runs have left in the workspace, without the inputs."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.name for path in files if path not in self.inputs.values())


def read(tables: Mapping[str, Dataset], name: str) -> pa.Table:
    """A stored table."""
    return pq.read_table(tables[name].uri)


@contextmanager
def on_line(text: str, act: Callable[[], None]) -> Iterator[None]:
    """Do something in the task's own thread as soon as a script prints a line."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == text:
                act()

    handler = Handler()
    logger = logging.getLogger("openreg_airflow.transform.execution.script")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def terminated(task: Any) -> Iterator[None]:
    """Terminate a task as Airflow does, soon after its script has printed ``ready``."""
    before = signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
    terminate = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    try:
        with on_line("ready", terminate.start):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
