"""Which routes are taken, in which order, and what follows when one of them fails."""

from __future__ import annotations

import json
import signal
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowSkipException

from dag_factory.build import build_dag
from dag_factory.load import load
from dag_factory.scaffold import scaffold
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.delivery import Delivery, ledger_entry
from openreg_airflow.deliver.operator import DeliverOperator
from openreg_airflow.errors import (
    BlockingRulesError,
    DeliveryError,
    DeliveryRefusedError,
    SpecError,
)
from openreg_airflow.pools import Slots
from openreg_airflow.workspace import Workspace
from tests.delivery_house import RUN, House, make_house, route, start_victim
from tests.services import free_port

if TYPE_CHECKING:
    from airflow.sdk import DAG


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house with an outbox that works and a regulator whose server is down."""
    house = make_house(tmp_path, 1000)
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    fs = {"conn_type": "fs", "extra": {"path": str(outbox)}}
    down = {"conn_type": "ftp", "host": "127.0.0.1", "port": free_port(), "login": "a"}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(fs))
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", json.dumps(down | {"password": "p"}))
    monkeypatch.setenv("AIRFLOW_CONN_MISSPELT", json.dumps(fs | {"conn_type": "sftp"}))
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(house.folder))
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", house.store_url)
    return house


def sent(house: House) -> list[str]:
    outbox = house.folder.parent / "outbox"
    return sorted(str(path.relative_to(outbox)) for path in outbox.rglob("*") if path.is_file())


def run(
    house: House,
    name: str = "regulator",
    *,
    last_try: bool = True,
    primary: str | None = None,
    artifact: Any = ...,
    run_id: str = RUN.run_id,
    checked: Any = ...,
    **spec: Any,
) -> Any:
    """Execute a delivery's task.

    Args:
        primary: how the task ended that it stands in for.
        checked: what the check of the finished files left; there is no check when left out.
    """
    wanted = {"channel": "folder", "connection": "outbox", "folder": "in"} | spec
    operator = DeliverOperator(
        task_id="deliver",
        report_id=RUN.report_id,
        business_date=RUN.business_date.isoformat(),
        route=name,
        spec=route(**wanted),
        artifact=house.artifact.model_dump(mode="json") if artifact is ... else artifact,
        stands_in_for="first" if primary else None,
        stand_ins=() if primary else ("archive",),
        checked=None if checked is ... else "{{ ti.xcom_pull('check') }}",
    )
    if checked is not ...:
        operator.checked = checked
    states = {run_id: {"first": primary}}
    ti = SimpleNamespace(
        try_number=3 if last_try else 1, max_tries=2, get_task_states=lambda **_: states
    )
    return operator.execute({"dag_run": SimpleNamespace(run_id=run_id), "ti": ti})  # type: ignore[typeddict-item]


def test_a_route_whose_condition_holds_not_is_skipped(house: House) -> None:
    with pytest.raises(AirflowSkipException, match="does not hold: records > 1_000_000"):
        run(house, when="records > 1_000_000")
    assert sent(house) == []
    assert run(house, when="records == 1 and format == 'xml'")
    assert sent(house) == ["in/DEMO_DATTRA_DE_20260302.xml"]


def test_a_route_that_is_not_required_is_skipped_after_its_last_try(house: House) -> None:
    down = {"channel": "ftp", "connection": "down", "required": False}
    with pytest.raises(DeliveryError):
        run(house, last_try=False, **down)
    with pytest.raises(AirflowSkipException, match="cannot be reached"):
        run(house, **down)
    assert [attempt.result for attempt in house.attempts] == ["failed", "failed"]


def test_what_a_route_that_is_not_required_is_refused_skips_at_once(house: House) -> None:
    with pytest.raises(AirflowSkipException, match="cannot use"):
        run(house, connection="misspelt", required=False, last_try=False)


def test_another_route_stands_in_for_one_that_is_down(house: House) -> None:
    with pytest.raises(DeliveryError):
        run(house, channel="ftp", connection="down")
    [receipt] = run(house, "archive", instead_of="regulator", primary="failed")
    assert receipt["route"] == "archive"
    assert sent(house) == ["in/DEMO_DATTRA_DE_20260302.xml"]


@pytest.mark.parametrize("primary", ["success", "skipped"])
def test_nothing_stands_in_for_a_route_that_delivered_or_was_not_taken(
    house: House, primary: str
) -> None:
    with pytest.raises(AirflowSkipException, match=primary):
        run(house, "archive", instead_of="regulator", primary=primary)
    assert sent(house) == []


def test_nothing_stands_in_for_a_refused_route_and_the_run_fails(house: House) -> None:
    with pytest.raises(DeliveryRefusedError):
        run(house, connection="misspelt")
    with pytest.raises(DeliveryRefusedError, match="regulator was refused, not down"):
        run(house, "archive", instead_of="regulator", primary="failed")
    assert sent(house) == []


@pytest.mark.parametrize("point", ["before publish", "after publish"])
def test_nothing_stands_in_for_a_route_that_may_have_delivered(house: House, point: str) -> None:
    outbox = Connection(id="outbox", type="fs", extra={"path": str(house.folder.parent / "outbox")})
    victim = start_victim(house, outbox, kill=point, channel="folder", folder="in")
    assert victim.wait(60) == -signal.SIGKILL
    before = sent(house)
    with pytest.raises(DeliveryRefusedError, match="nobody knows yet whether route regulator"):
        run(house, "archive", folder="spare", instead_of="regulator", primary="failed")
    assert sent(house) == before
    # The route's own task finds out, and then there is nothing to stand in for.
    run(house, last_try=False)
    with pytest.raises(AirflowSkipException, match="route regulator delivered"):
        run(house, "archive", folder="spare", instead_of="regulator", primary="failed")
    assert sent(house) == ["in/DEMO_DATTRA_DE_20260302.xml"]


def test_nothing_stands_in_for_a_route_that_delivered_a_part(house: House) -> None:
    [first] = house.artifact.files
    second = first.model_copy(update={"part": 2, "filename": "DEMO_2.xml"})
    both = house.artifact.model_copy(update={"files": (first, second), "content": "c" * 64})
    with pytest.raises(DeliveryError):
        run(house, artifact=both.model_dump(mode="json"), channel="ftp", connection="down")
    wanted = Delivery(run=RUN, route="regulator", spec=route(), artifact=both)
    house.ledger.put(ledger_entry(wanted, first, "ftp://regulator/in/1.xml", "a"))
    with pytest.raises(DeliveryRefusedError, match="before its destination was down, 1 of 2 files"):
        run(
            house,
            "archive",
            artifact=both.model_dump(mode="json"),
            instead_of="regulator",
            primary="failed",
        )
    assert sent(house) == []


def test_what_another_route_delivered_in_its_place_is_not_sent_once_more(house: House) -> None:
    with pytest.raises(DeliveryError):
        run(house, channel="ftp", connection="down")
    run(house, "archive", folder="spare", instead_of="regulator", primary="failed")
    there = ["spare/DEMO_DATTRA_DE_20260302.xml"]
    # The destination is up again, and somebody clears the failed task with what comes after it.
    with pytest.raises(DeliveryRefusedError, match="in its place"):
        run(house)
    [again] = run(house, "archive", folder="spare", instead_of="regulator", primary="failed")
    assert again["already_there"]
    assert sent(house) == there
    # The same content in another run: the authority has it, and the run is well.
    assert run(house, run_id="manual__2") == []
    assert sent(house) == there
    # Other content of the date goes its usual way.
    [file] = house.artifact.files
    other = house.artifact.model_copy(
        update={"content": "d" * 64, "files": (file.model_copy(update={"filename": "V2.xml"}),)}
    )
    [receipt] = run(house, run_id="manual__3", artifact=other.model_dump(mode="json"))
    assert not receipt["already_there"]
    assert sent(house) == ["in/V2.xml", *there]


def test_a_route_waits_to_know_what_another_one_delivered_in_its_place(house: House) -> None:
    with pytest.raises(DeliveryError):
        run(house, channel="ftp", connection="down")
    [file] = house.artifact.files
    wanted = Delivery(run=RUN, route="archive", spec=route(), artifact=house.artifact)
    entry = ledger_entry(wanted, file, "ftp://spare/in/1.xml", "a")
    house.ledger.put(entry.model_copy(update={"state": "publishing", "temporary": "x.part"}))
    for run_id in (RUN.run_id, "manual__2"):
        with pytest.raises(DeliveryRefusedError, match="nobody knows yet whether route archive"):
            run(house, run_id=run_id)
    house.ledger.put(entry.model_copy(update={"state": "withdrawn"}))
    assert run(house)
    # It has delivered by itself, whatever the other one did.
    house.ledger.put(entry)
    [receipt] = run(house)
    assert receipt["already_there"]


def test_a_route_that_failed_without_a_try_is_not_taken_for_one_that_was_not_needed(
    house: House,
) -> None:
    # The store was gone, its condition could not be decided, somebody marked it failed.
    with pytest.raises(DeliveryRefusedError, match="regulator failed before it tried to deliver"):
        run(house, "archive", instead_of="regulator", primary="failed")
    assert sent(house) == []


def test_what_a_route_delivered_of_another_version_is_no_delivery_of_this_one(
    house: House,
) -> None:
    run(house)
    # Somebody clears the run; it makes another version, and its delivery fails before it begins.
    with Workspace(house.folder).folder(RUN, "artifact").writing("v2.xml") as pending:
        pending.path.write_bytes(b"another version")
    [file] = house.artifact.files
    second = file.model_copy(update=dict(pending.ref) | {"filename": "V2.xml"})
    version = house.artifact.model_copy(update={"version": 2, "files": (second,)})
    with pytest.raises(DeliveryRefusedError, match="failed before it tried to deliver"):
        run(
            house,
            "archive",
            artifact=version.model_dump(mode="json"),
            instead_of="regulator",
            primary="failed",
        )
    assert sent(house) == ["in/DEMO_DATTRA_DE_20260302.xml"]


def test_the_last_way_out_that_is_not_taken_does_not_hide_that_nothing_was_delivered(
    house: House,
) -> None:
    down: dict[str, Any] = {"channel": "ftp", "connection": "down"}
    with pytest.raises(DeliveryError):
        run(house, **down)
    spare: dict[str, Any] = {"instead_of": "regulator", "primary": "failed"}
    with pytest.raises(DeliveryRefusedError, match="regulator failed, and this one is not taken"):
        run(house, "archive", when="records > 1", **spare)
    with pytest.raises(DeliveryError, match="cannot be reached"):
        run(house, "archive", required=False, **spare, **down)
    # Where the route itself has delivered nothing was to be hidden.
    run(house)
    with pytest.raises(AirflowSkipException, match="does not hold"):
        run(house, "archive", when="records > 1", **spare)


def test_a_failure_before_both_routes_is_not_hidden_by_the_second(house: House) -> None:
    with pytest.raises(DeliveryRefusedError, match="something before it failed"):
        run(house, "archive", instead_of="regulator", primary="upstream_failed", artifact=None)


def test_finished_files_whose_check_was_marked_as_succeeded_are_not_delivered(
    house: House,
) -> None:
    with pytest.raises(BlockingRulesError, match="left no verdict"):
        run(house, checked=None)
    assert sent(house) == []
    assert run(house, checked={"results": []})


def test_an_artifact_that_was_not_written_is_not_delivered(house: House) -> None:
    with pytest.raises(AirflowSkipException, match="no artifact"):
        run(house, artifact=None)


def dag_of(
    folder: Path,
    routes: dict[str, Any],
    slots: Slots = Slots(),  # noqa: B008
    **sections: Any,
) -> DAG:
    report = folder / "positions"
    if not report.exists():
        scaffold("positions", folder)
    path = report / "report.yaml"
    text = yaml.safe_load(path.read_text())
    text |= {"deliver": {"routes": routes}, **sections}
    path.write_text(yaml.safe_dump(text))
    return build_dag(load(report), report, pools=slots)


OUT = {"channel": "folder", "connection": "outbox"}
PROJECT = Path(__file__).parents[2]


def test_routes_are_tasks_of_their_own_with_order_retries_and_pool(tmp_path: Path) -> None:
    dag = dag_of(
        tmp_path,
        {
            "regulator": OUT | {"retries": {"count": 9, "delay_seconds": 60}, "pool": "line"},
            "spare": OUT | {"folder": "spare", "instead_of": "regulator"},
            "archive": OUT | {"folder": "archive", "after": ["regulator"]},
        },
        Slots(destination=2),
    )
    regulator = dag.get_task("deliver.report_to_regulator")
    spare = dag.get_task("deliver.report_to_spare")
    archive = dag.get_task("deliver.report_to_archive")
    assert (regulator.retries, regulator.retry_delay) == (9, timedelta(seconds=60))
    assert (spare.retries, archive.retries) == (3, 3)
    assert [task.pool for task in (regulator, spare)] == ["line", "openreg_destination_outbox"]
    assert spare.upstream_task_ids == {"artifact", regulator.task_id}
    assert (spare.trigger_rule.value, spare.stands_in_for) == ("all_done", regulator.task_id)  # type: ignore[attr-defined]
    assert archive.upstream_task_ids == {"artifact", regulator.task_id}
    assert archive.trigger_rule.value == "none_failed"


def test_a_route_knows_all_that_take_its_place(tmp_path: Path) -> None:
    dag = dag_of(
        tmp_path,
        {
            "regulator": OUT,
            "spare": OUT | {"folder": "spare", "instead_of": "regulator"},
            "last": OUT | {"folder": "last", "instead_of": "spare"},
        },
    )
    tasks: dict[str, Any] = {
        name: dag.get_task(f"deliver.report_to_{name}") for name in ("regulator", "spare", "last")
    }
    assert {name: task.stand_ins for name, task in tasks.items()} == {
        "regulator": ("spare", "last"),
        "spare": ("last",),
        "last": (),
    }


def test_a_route_knows_which_marks_it_delivers_and_who_has_them(tmp_path: Path) -> None:
    dag = dag_of(
        tmp_path,
        {
            "regulator": OUT,
            "spare": OUT | {"folder": "spare", "instead_of": "regulator"},
            "archive": OUT | {"folder": "archive"},
        },
    )
    for name, receiver in (
        ("regulator", ("regulator", "spare")),
        ("spare", ("regulator", "spare")),
        ("archive", ("archive",)),
    ):
        task: Any = dag.get_task(f"deliver.report_to_{name}")
        assert task.rows_once.routes == receiver
        assert task.rows_once.types == {}

    path = tmp_path / "positions" / "report.yaml"
    spec = yaml.safe_load(path.read_text())
    for source in spec["extract"]["sources"].values():
        source["incremental"] = {"column": "id", "type": "date", "start": "2026-01-01"}
    path.write_text(yaml.safe_dump(spec))
    query = path.with_name(next(iter(spec["extract"]["sources"].values()))["sql"])
    query.write_text("SELECT * FROM trades WHERE id > :since AND id <= :until")
    one: Any = dag_of(tmp_path, {"regulator": OUT}).get_task("deliver")
    assert set(one.rows_once.types.values()) == {"date"}


def test_a_delivery_knows_of_the_check_before_it(tmp_path: Path) -> None:
    report = PROJECT / "report_specs" / "mifir_transactions"
    checked: Any = build_dag(load(report), report).get_task("deliver")
    assert checked.is_checked
    assert "check" in checked.upstream_task_ids
    unchecked: Any = dag_of(tmp_path, {"regulator": OUT}).get_task("deliver")
    assert not unchecked.is_checked


def test_records_are_settled_whichever_route_delivered(tmp_path: Path) -> None:
    dag = dag_of(
        tmp_path,
        {"regulator": OUT, "spare": OUT | {"folder": "spare", "instead_of": "regulator"}},
        records={"report": {"key": ["id"]}},
    )
    settle: Any = dag.get_task("settle")
    # A spare route that is not needed is skipped, and is the only task right before.
    assert settle.upstream_task_ids == {"deliver.report_to_spare"}
    assert settle.trigger_rule.value == "none_failed"
    assert settle.one_of == ("deliver.report_to_regulator", "deliver.report_to_spare")


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ({"a": OUT | {"after": ["b"]}}, "there is no route 'b'"),
        (
            {"a": OUT | {"after": ["b"]}, "b": OUT | {"folder": "b", "instead_of": "a"}},
            "a, b wait for one another",
        ),
        ({"a": OUT | {"after": ["a"]}}, "wait for one another"),
    ],
)
def test_routes_that_wait_for_nothing_or_one_another_are_found(
    tmp_path: Path, routes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        dag_of(tmp_path, routes)


def test_an_answer_is_awaited_behind_everything_else(tmp_path: Path) -> None:
    answer = {"pattern": "{stem}_FDB_*.xml", "folder": "out"}
    dag = dag_of(
        tmp_path,
        {
            "regulator": OUT | {"acknowledgement": answer},
            "spare": OUT | {"folder": "spare", "instead_of": "regulator"},
        },
    )
    task = dag.get_task("acknowledge")
    assert {"deliver.report_to_regulator", "deliver.report_to_spare"} <= task.upstream_task_ids
    assert task.trigger_rule.value == "all_done"
    assert task.stand_ins == ("deliver.report_to_spare",)  # type: ignore[attr-defined]
    assert not task.downstream_task_ids

    chain = dag_of(
        tmp_path,
        {
            "regulator": OUT | {"acknowledgement": answer},
            "spare": OUT | {"folder": "spare", "instead_of": "regulator"},
            "last": OUT | {"folder": "last", "instead_of": "spare"},
        },
    )
    waiting: Any = chain.get_task("acknowledge")
    others = ("deliver.report_to_spare", "deliver.report_to_last")
    assert waiting.stand_ins == others
    assert {"deliver.report_to_regulator", *others} <= waiting.upstream_task_ids

    alone = dag_of(tmp_path, {"regulator": OUT | {"acknowledgement": answer}})
    assert alone.get_task("acknowledge").trigger_rule.value == "all_success"


def test_an_artifact_is_told_by_what_answers_name_its_rows(tmp_path: Path) -> None:
    answer = {"pattern": "{stem}_FDB_*.xml", "reference": "record_id"}
    routes = {"regulator": OUT | {"acknowledgement": answer}, "archive": OUT | {"folder": "b"}}
    task: Any = dag_of(tmp_path, routes).get_task("artifact")
    names = {route: told["names"] for route, told in task.routes.items()}
    assert names == {"regulator": ["record_id"], "archive": []}
