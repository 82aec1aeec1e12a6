"""How long Airflow waits for our Dags, beside dag-factory and Dags written by hand.

Two moments matter. The Dag processor parses everything; and every task parses its Dag's file once
more before it starts, so that with many reports the second is what a user waits for. Each figure
is the time from opening the Dag file to having its Dags, in a fresh process in which Airflow
itself is imported already.

Run it as ``make benchmark-dag-parse``, which installs dag-factory into a folder of its own;
``BENCHMARK_ARGS="--rows 100"`` sets the number of specs.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.table import Row, arguments, measure, show

SPEC = """\
openreg: 1
id: {name}
title: Report {number}
description: One of many reports.
owner: reporting
tags: [benchmark]
schedule: {{cron: "0 20 * * 1-5", timezone: Europe/Berlin, start_date: 2026-01-01}}
retries: {{count: 3, delay_seconds: 30, max_delay_seconds: 600}}
extract:
  sources:
    trades: {{connection: source, sql: trades.sql}}
transform: {{script: transform.py}}
validate:
  rules:
    positive:
      title: Prices are positive
      table: trades
      severity: blocking
      sql: SELECT * FROM trades WHERE price <= 0
      message: "a price is {{price}}"
artifacts:
  trades: {{format: csv, table: trades, filename: "{name}_{{business_date:%Y%m%d}}.csv"}}
deliver:
  routes:
    regulator: {{channel: sftp, connection: inbox, folder: inbox}}
"""
PEER_TASK = """\
    {task}:
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: "echo {task}"
      retries: 3
      retry_delay: {{__type__: datetime.timedelta, seconds: 30}}
      retry_exponential_backoff: true
      max_retry_delay: {{__type__: datetime.timedelta, seconds: 600}}
      dependencies: [{after}]
"""
PEER = """\
{name}:
  description: "One of many reports."
  schedule: "0 20 * * 1-5"
  catchup: false
  tags: [benchmark]
  default_args:
    owner: reporting
    start_date: "2026-01-01"
  tasks:
"""
BY_HAND = """\
from datetime import datetime, timedelta
from airflow.sdk import DAG, Param
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import get_parsing_context

wanted = get_parsing_context().dag_id
for number in range({count}):
    name = f"report_{{number:05}}"
    if wanted not in (None, name):
        continue
    with DAG(dag_id=name, schedule="0 20 * * 1-5", start_date=datetime(2026, 1, 1),
             catchup=False, tags=["benchmark"], description="One of many reports.",
             default_args={{"owner": "reporting", "retries": 3,
                            "retry_delay": timedelta(seconds=30),
                            "retry_exponential_backoff": True,
                            "max_retry_delay": timedelta(seconds=600)}}) as dag:
        before = None
        for task_id in ("extract", "transform", "validate", "artifact", "deliver"):
            task = BashOperator(task_id=task_id, bash_command=f"echo {{task_id}}")
            if before is not None:
                before >> task
            before = task
    globals()[name] = dag
"""
OURS = """\
from pathlib import Path
from dag_factory.loader import load_dags
globals().update(load_dags([Path({specs!r})]))
"""
THEIRS = """\
import sys
sys.path.insert(0, {installed!r})
from dagfactory import load_yaml_dags
load_yaml_dags(globals_dict=globals(), dags_folder={specs!r})
"""
PROJECT = Path(__file__).resolve().parent.parent
#: dag-factory has a place of its own: in our environment its plugin would run in every process.
PEER_INSTALLED = PROJECT / ".benchmarks" / "dag-factory"
STAGES = ("extract", "transform", "validate", "artifact", "deliver")


def parse(file: str, dag_id: str) -> None:
    """Parse one Dag file as Airflow does and print how long it took; runs in its own process."""
    import airflow.sdk
    from airflow.sdk.definitions.dag import DAG

    assert airflow.sdk  # noqa: S101 - imported for its cost, which is not ours
    source = Path(file).read_text(encoding="utf-8")
    if dag_id:
        os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = dag_id
    names: dict[str, object] = {"__name__": "dag_file"}
    began = time.perf_counter()
    exec(compile(source, file, "exec"), names)  # noqa: S102 - a Dag file of this benchmark
    seconds = time.perf_counter() - began
    dags = [value for value in names.values() if isinstance(value, DAG)]
    tasks = sum(len(dag.tasks) for dag in dags)
    if not dags or tasks != len(STAGES) * len(dags):
        sys.exit(f"{len(dags)} Dags with {tasks} tasks")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_rss_mb": peak, "dags": len(dags)}))


def write(folder: Path, count: int) -> dict[str, Path]:
    """Write the same Dags in three ways; return their Dag files."""
    ours, theirs = folder / f"ours{count}", folder / f"theirs{count}"
    theirs.mkdir()
    for number in range(count):
        name = f"report_{number:05}"
        report = ours / name
        report.mkdir(parents=True)
        (report / "report.yaml").write_text(SPEC.format(name=name, number=number))
        text = PEER.format(name=name)
        for task, after in zip(STAGES, ("", *STAGES), strict=False):
            text += PEER_TASK.format(task=task, after=after)
        (theirs / f"{name}.yaml").write_text(text)
    files = {
        "OpenReg": OURS.format(specs=str(ours)),
        "dag-factory 1.1": THEIRS.format(specs=str(theirs), installed=str(PEER_INSTALLED)),
        "by hand, in Python": BY_HAND.format(count=count),
    }
    for number, (_way, text) in enumerate(files.items()):
        (folder / f"dags{count}_{number}.py").write_text(text)
    return {way: folder / f"dags{count}_{number}.py" for number, way in enumerate(files)}


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rows=1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")},
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DAG_FACTORY__ENABLE_TELEMETRY": "False",
            "PYTHONPATH": str(PROJECT),
        }
        few, many = write(folder, 1), write(folder, options.rows)
        last = f"report_{options.rows - 1:05}"
        works = {
            f"full parse, {options.rows:,} specs": (many, ""),
            "task start, 1 spec": (few, "report_00000"),
            f"task start, {options.rows:,} specs": (many, last),
        }
        commands = {
            f"{work}|{way}": ("-m", "benchmarks.dag_parse", "parse", str(file), dag_id)
            for work, (files, dag_id) in works.items()
            for way, file in files.items()
        }
        measured = measure(commands, repeats=options.repeats, environment=environment)
    rows = _rows(measured, options.rows)
    show("Parsing Dags: seconds to have them (median)", rows, options.json)


def _rows(measured: dict[str, tuple[float, float]], count: int) -> list[Row]:
    rows = []
    for key, (seconds, peak) in measured.items():
        work, way = key.split("|")
        done = count if work.startswith("full") else 1
        rows.append(Row(work, way, seconds, done / seconds, "Dags/s", peak))
    by_key = {(row.work, row.way): row for row in rows}
    full = f"full parse, {count:,} specs"
    start = f"task start, {count:,} specs"
    _judge(by_key[full, "OpenReg"], by_key[full, "dag-factory 1.1"], 1.0)
    _judge(by_key[start, "OpenReg"], by_key[start, "dag-factory 1.1"], 20.0)
    return rows


def _judge(ours: Row, theirs: Row, times: float) -> None:
    ours.ratio = theirs.seconds / ours.seconds
    ours.target = f"at least {times:g} times as fast as dag-factory"
    ours.meets_target = ours.ratio >= times


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "parse":
        parse(sys.argv[2], sys.argv[3])
    else:
        main()
