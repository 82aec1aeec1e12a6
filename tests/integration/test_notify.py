from __future__ import annotations

import email
import json
import logging
import socket
import time
from datetime import date
from email import policy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from openreg_airflow.errors import BlockingRulesError
from openreg_airflow.notify.message import message
from openreg_airflow.notify.send import notifier, tell
from openreg_airflow.notify.spec import NotifySection
from openreg_airflow.records import RunKey, Verdict
from tests.integration.test_validate_operator import (  # noqa: F401 - fixtures
    RUN,
    execute,
    folder,
    operator,
    positions,
    store,
    workspace,
)
from tests.services.receivers import mail_server, webhook_server
from tests.unit.test_verdict_summary import FAILED, result

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.store import Store
    from openreg_airflow.workspace import Workspace

CONTEXT = {"ti": SimpleNamespace(log_url="http://airflow.example/log?a=1&b=2")}
BLOCKED = Verdict(results=(FAILED, result("id")))
WARNED = Verdict(results=(result("venue", severity="warning", failed=1),))
PASSED = Verdict(results=(result(),))


def connect(monkeypatch: pytest.MonkeyPatch, name: str, **fields: Any) -> None:
    known = {"host": "127.0.0.1"} | fields
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(known))


def mail_connection(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "openreg@example.org",
             "timeout": 5, "retry_limit": 1}  # fmt: skip
    connect(monkeypatch, "mail", conn_type="smtp", port=port, extra=extra)


def section(seconds: int = 10, **targets: dict[str, Any]) -> NotifySection:
    return NotifySection.model_validate({"targets": targets, "seconds": seconds})


MAIL = {"kind": "email", "connection": "mail", "to": ["desk@example.org", "b@example.org"]}
HOOK = {"kind": "webhook", "connection": "hook", "endpoint": "alerts"}


def test_a_blocking_failure_is_told_by_mail_with_the_summary_and_a_link(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server() as (port, inbox), caplog.at_level(logging.INFO):
        mail_connection(monkeypatch, port)
        tell(section(desk=MAIL), RUN, BLOCKED, CONTEXT)
    [raw] = inbox
    mail = email.message_from_bytes(raw, policy=policy.default)
    assert mail["Subject"] == "positions 2026-03-31: 1 rule blocked"
    assert mail["To"] == "desk@example.org, b@example.org"
    body = mail.get_body(("html",))
    assert body is not None
    text = body.get_content()
    assert "1,234 of 10,000 rows failed" in text
    assert 'href="http://airflow.example/log?a=1&amp;b=2"' in text
    assert "Told receiver desk (email)" in caplog.text


def test_a_webhook_gets_the_verdict_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook_server() as (port, inbox):
        connect(monkeypatch, "hook", conn_type="http", schema="http", port=port)
        tell(section(ops=HOOK), RUN, BLOCKED, CONTEXT)
    [(path, body)] = inbox
    assert path == "/alerts"
    assert (body["event"], body["report"], body["business_date"]) == (
        "blocked",
        "positions",
        "2026-03-31",
    )
    assert body["link"] == CONTEXT["ti"].log_url
    [rule] = body["rules"]
    assert (rule["id"], rule["failed"], rule["blocks"]) == ("price", 1234, True)


def test_warnings_are_told_only_to_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook_server() as (port, inbox):
        connect(monkeypatch, "hook", conn_type="http", schema="http", port=port)
        asked = HOOK | {"on": ["warned"], "endpoint": "asked"}
        receivers = section(ops=HOOK, asked=asked)
        tell(receivers, RUN, WARNED, CONTEXT)
        tell(receivers, RUN, PASSED, CONTEXT)
    assert [path for path, _ in inbox] == ["/asked"]


def test_data_are_never_rendered_as_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "{{ conn.mail.password }}<b>{% raise %}"
    failed = result(failed=1, message=hostile, messages=(hostile,), samples=({"a": hostile},))
    with mail_server() as (port, inbox):
        mail_connection(monkeypatch, port)
        tell(section(desk=MAIL), RUN, Verdict(results=(failed,)), CONTEXT)
    mail = email.message_from_bytes(inbox[0], policy=policy.default)
    body = mail.get_body(("html",))
    assert body is not None
    assert "{{ conn.mail.password }}&lt;b&gt;{% raise %}" in body.get_content()


@pytest.mark.parametrize("status", [403, 500])
def test_a_receiver_that_refuses_does_not_keep_the_others_from_being_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    with webhook_server(status) as (bad, _), webhook_server() as (good, inbox):
        connect(monkeypatch, "bad", conn_type="http", schema="http", port=bad)
        connect(monkeypatch, "hook", conn_type="http", schema="http", port=good)
        receivers = section(
            first=HOOK | {"connection": "bad", "endpoint": "s3cret"},
            missing=HOOK | {"connection": "not_there"},
            slack={"kind": "slack", "connection": "slack", "channel": "#reports"},
            last=HOOK,
        )
        tell(receivers, RUN, BLOCKED, CONTEXT)
    assert len(inbox) == 1
    for name in ("first", "missing", "slack"):
        assert f"Receiver {name} " in caplog.text
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("openreg_airflow")]
    assert not any("s3cret" in line for line in ours)


def test_a_receiver_that_keeps_silent_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mail_connection(monkeypatch, silent.getsockname()[1])
        begun = time.monotonic()
        tell(section(1, desk=MAIL), RUN, BLOCKED, CONTEXT)
        assert time.monotonic() - begun < 4
    assert "Receiver desk (email) was given up after 1 s" in caplog.text


def test_the_operator_tells_and_still_raises(
    workspace: Workspace,  # noqa: F811
    store: Store,  # noqa: F811
    folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with webhook_server() as (port, inbox):
        connect(monkeypatch, "hook", conn_type="http", schema="http", port=port)
        task = operator(folder, positions(workspace, 1, 0))
        task.notify = section(ops=HOOK)
        with pytest.raises(BlockingRulesError):
            execute(task)
    assert [body["event"] for _, body in inbox] == ["blocked"]


def test_a_dead_receiver_changes_nothing_for_the_run(
    workspace: Workspace,  # noqa: F811
    store: Store,  # noqa: F811
    folder: Path,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = operator(folder, positions(workspace, 1, 2, day=date(2026, 3, 30)))
    task.spec = task.spec.model_copy(
        update={
            "rules": {
                name: rule.model_copy(update={"severity": "warning"})
                for name, rule in task.spec.rules.items()
            }
        }
    )
    task.notify = section(ops=HOOK | {"on": ["warned"], "connection": "not_there"})
    verdict = execute(task)
    assert len(verdict.warnings) == 1
    assert store.verdict(RUN) == verdict
    assert "Receiver ops (webhook) was not told" in caplog.text


def test_a_message_stays_small_whatever_failed() -> None:
    long = "x" * 5000
    results = [
        result(f"r{n}", failed=9, message=long, messages=(long,) * 5, samples=({"a": long},) * 5)
        for n in range(2000)
    ]
    run = RunKey(report_id="r", business_date=date(2026, 3, 31), run_id="x" * 200)
    told = message(run, Verdict(results=tuple(results)), "blocked", None)
    assert told.subject == "r 2026-03-31: 2000 rules blocked"
    assert len(told.html) < 40_000
    assert len(json.dumps(told.data)) < 100_000


def test_slack_text_cannot_mention_or_link() -> None:
    pytest.importorskip("airflow.providers.slack", reason="the Slack provider is not installed")
    receivers = section(chat={"kind": "slack", "connection": "c", "channel": "#r"})
    failed = result(failed=1, message="<!channel>", messages=("<!channel>```",), samples=({},))
    told = message(RUN, Verdict(results=(failed,)), "blocked", None)
    assert "<!channel>" not in notifier(receivers.targets["chat"], told).text
