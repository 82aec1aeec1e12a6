from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from dag_factory.scaffold import scaffold
from openreg_airflow.cli import app
from openreg_airflow.deliver.channels.mail import MailSession
from openreg_airflow.errors import DoubtfulDeliveryError
from openreg_airflow.store import audit_trail
from tests.delivery_house import RUN, House, make_house
from tests.services import free_port
from tests.services.mail import running_mail_server

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

NAME = "DEMO_DATTRA_DE_20260302.xml"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A recorded artifact; a report with a folder that works and a server that is down."""
    house = make_house(tmp_path, 1000)
    house.store.record_artifact(RUN, house.artifact)
    (tmp_path / "outbox").mkdir()
    specs = tmp_path / "report_specs"
    scaffold(RUN.report_id, specs)
    path = specs / RUN.report_id / "report.yaml"
    spec = yaml.safe_load(path.read_text())
    spec["artifacts"] = {"transactions": spec["artifacts"].pop("report")}
    spec["deliver"] = {
        "routes": {
            "regulator": {"channel": "folder", "connection": "outbox", "folder": "in"},
            "down": {"channel": "ftp", "connection": "down", "when": "records > 0"},
            "large": {"channel": "folder", "connection": "outbox", "when": "records > 1000"},
            "spare": {
                "channel": "folder",
                "connection": "outbox",
                "folder": "spare",
                "instead_of": "down",
            },
        }
    }
    path.write_text(yaml.safe_dump(spec))
    fs = {"conn_type": "fs", "extra": {"path": str(tmp_path / "outbox")}}
    down = {"conn_type": "ftp", "host": "127.0.0.1", "port": free_port(), "login": "a"}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOX", json.dumps(fs))
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", json.dumps(down | {"password": "hunter2-horse"}))
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(house.folder))
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", house.store_url)
    monkeypatch.chdir(tmp_path)
    return house


def openreg(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "250"})


def outbox(house: House) -> Path:
    return house.folder.parent / "outbox"


def test_a_dry_run_says_what_would_go_where_and_sends_nothing(house: House) -> None:
    result = openreg("deliver", RUN.run_id, "--dry-run", "--json")
    assert result.exit_code == 1, "one destination is down"
    found = {each["route"]: each for each in json.loads(result.stdout)}
    assert "nothing is there under this name" in found["regulator"]["said"]
    assert found["regulator"]["destination"].endswith(f"/outbox/in/{NAME}")
    assert found["down"]["refused"]
    assert "cannot be reached" in found["down"]["said"]
    assert found["large"]["said"] == "not taken: records > 1000"
    assert "only when the destination of route down is down" in found["spare"]["said"]
    assert "hunter2-horse" not in result.output
    assert list(outbox(house).iterdir()) == []
    assert house.attempts == ()


def test_a_dry_run_knows_what_was_delivered(house: House) -> None:
    openreg("deliver", RUN.run_id, "--to", "regulator", "--reason", "first")
    result = openreg("deliver", RUN.run_id, "--to", "regulator", "--dry-run")
    assert result.exit_code == 0
    assert f"by {RUN.run_id}" in result.stdout


def test_a_dry_run_knows_what_another_route_delivered_in_its_place(house: House) -> None:
    routes = ("down", "spare")
    dry = ("deliver", RUN.run_id, "--dry-run", "--json")

    def said() -> dict[str, str]:
        found = json.loads(openreg(*dry).stdout)
        return {each["route"]: each["said"] for each in found if each["route"] in routes}

    openreg("deliver", RUN.run_id, "--to", "down", "--reason", "it answers again, they say")
    assert "cannot be reached" in said()["down"]
    assert "the file would be sent" in said()["spare"]
    openreg("deliver", RUN.run_id, "--to", "spare", "--reason", "the other one is down for days")
    told = said()
    assert f"route spare delivered {NAME} in its place" in told["down"]
    assert f"by {RUN.run_id}" in told["spare"]


def test_sending_again_wants_a_reason_which_is_kept(house: House) -> None:
    refused = openreg("deliver", RUN.run_id, "--to", "regulator")
    assert refused.exit_code == 2
    assert "wants a route and a reason" in refused.stderr
    assert list(outbox(house).iterdir()) == []

    for _ in range(2):
        sent = openreg("deliver", RUN.run_id, "--to", "regulator", "--reason", "they lost it")
        assert sent.exit_code == 0, sent.output
        assert sent.stdout.startswith("sent: file://")
        (outbox(house) / "in" / NAME).unlink()

    assert [(a.attempt, a.result) for a in house.attempts] == [(1, "delivered"), (2, "delivered")]
    noted = list(audit_trail.read(house.store_url))
    assert [entry.action for entry in noted] == ["send again", "send again"]
    assert "they lost it" in str(noted[0].after)


def test_a_person_can_say_that_the_receiver_has_it(house: House) -> None:
    result = openreg(
        "deliver", RUN.run_id, "--to", "regulator", "--already-there", "--reason", "by phone"
    )
    assert result.exit_code == 0, result.output
    assert list(outbox(house).iterdir()) == []
    after = openreg("deliver", RUN.run_id, "--to", "regulator", "--dry-run", "--json")
    assert json.loads(after.stdout)[0]["said"].startswith("delivered ")


def test_a_doubtful_delivery_waits_for_a_person_who_is_told_what_to_do(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report_specs" / RUN.report_id / "report.yaml"
    spec = yaml.safe_load(path.read_text())
    by_mail: dict[str, Any] = {"channel": "mail", "folder": "inbox@authority.example"}
    spec["deliver"] = {"routes": {"regulator": by_mail | {"connection": "mail"}}}
    path.write_text(yaml.safe_dump(spec))
    with running_mail_server(tmp_path) as server:
        there = server.connection()
        fields = {"host": there.host, "port": there.port, "login": there.login}
        mail = fields | {"conn_type": "smtp", "password": there.password, "extra": there.extra}
        monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps(mail))
        with monkeypatch.context() as patched:
            send = MailSession._send

            def die(self: MailSession, *arguments: Any) -> None:
                send(self, *arguments)
                raise KeyboardInterrupt

            patched.setattr(MailSession, "_send", die)
            with pytest.raises(KeyboardInterrupt):
                house.deliver(there, **by_mail)
        with pytest.raises(DoubtfulDeliveryError, match="may have sent"):
            house.deliver(there, **by_mail)

        shown = openreg("deliveries").stdout
        [command] = [each for each in shown.splitlines() if "It has the file:" in each]
        words = shlex.split(command.partition("openreg ")[2])
        told = openreg(*words)

        assert told.exit_code == 0, told.output
        assert house.deliver(there, **by_mail).already_there
        assert "Nobody knows" not in openreg("deliveries").stdout
        assert len(server.mails) == 1


def test_attempts_are_listed_and_filtered(house: House) -> None:
    openreg("deliver", RUN.run_id, "--to", "regulator", "--reason", "first")
    failed = openreg("deliver", RUN.run_id, "--to", "down", "--reason", "try")
    assert failed.exit_code == 1

    everything = openreg("deliveries")
    assert everything.exit_code == 1
    assert "delivered" in everything.stdout
    assert "cannot be reached" in everything.stdout
    # No table, whose columns would be too narrow for names; and the run, which `deliver` wants.
    assert f"    run {RUN.run_id}\n" in everything.stdout
    assert f"{RUN.report_id} {RUN.business_date}, route down, try 1\n" in everything.stdout
    sent = next(a for a in json.loads(openreg("deliveries", "--json").stdout) if a["bytes"])
    assert f"SHA-256 {sent['sha256']}, to {sent['destination']}\n" in everything.stdout
    assert " UTC  delivered " in everything.stdout
    only = json.loads(openreg("deliveries", "--failed", "--json").stdout)
    assert [(each["route"], each["error_class"]) for each in only] == [("down", "DeliveryError")]
    assert json.loads(openreg("deliveries", "--report", "other", "--json").stdout) == []
    day = str(RUN.business_date)
    assert len(json.loads(openreg("deliveries", "--date", day, "--json").stdout)) == 2
    assert openreg("deliveries", "--business-date", "2020-01-01").exit_code == 0
    assert "hunter2-horse" not in everything.output + failed.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no-such-run", "--dry-run"), "no finished artifact of run no-such-run"),
        ((RUN.run_id, "--to", "nowhere", "--dry-run"), "has no route 'nowhere'"),
        ((RUN.run_id, "--artifact", "other", "--dry-run"), "no finished artifact"),
    ],
)
def test_what_cannot_be_meant_is_said(house: House, arguments: tuple[str, ...], said: str) -> None:
    result = openreg("deliver", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
