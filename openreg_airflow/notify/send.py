"""Sends messages through Airflow's notifiers; whatever goes wrong is only logged."""

from __future__ import annotations

import importlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from openreg_airflow.notify.message import event_of, message

if TYPE_CHECKING:
    from openreg_airflow.notify.message import Message
    from openreg_airflow.notify.spec import AnyTarget, NotifySection
    from openreg_airflow.records import RunKey, Verdict

log = logging.getLogger(__name__)


def tell(
    section: NotifySection,
    run: RunKey,
    verdict: Verdict,
    context: Any,
    standing: str | None = None,
) -> None:
    """Tell the receivers that want to know how the validation ended.

    Nothing is raised: a receiver that cannot be reached, or keeps silent for longer than
    ``section.seconds``, is named in the log and the run goes its way.

    Args:
        section: the receivers.
        run: whose verdict it is.
        verdict: how it ended.
        context: the task's context, for the link to its log.
        standing: how the run stands against the report's deadline.
    """
    event = event_of(verdict)
    if event is None or not any(event in target.on for target in section.targets.values()):
        return
    try:
        told = message(run, verdict, event, getattr(context.get("ti"), "log_url", None), standing)
    except Exception as error:
        log.warning("Nobody was told of the verdict: %s", type(error).__name__, exc_info=error)
        return
    tell_all(section, told)


def tell_all(section: NotifySection, told: Message) -> None:
    """Send a message to those who want its event; as in :func:`tell` nothing is raised."""
    for name, target in section.targets.items():
        if told.event in target.on:
            _tell(name, target, told, section.seconds)


def _tell(name: str, target: AnyTarget, told: Message, seconds: int) -> None:
    failures: list[BaseException] = []

    def send() -> None:
        try:
            # Not by calling it: that would render what stands in the data as templates.
            notifier(target, told).notify({})
        except BaseException as error:  # noqa: BLE001 - the run's result does not depend on it
            failures.append(error)

    # A thread of its own, because a server that keeps silent must not hold the run up.
    sender = threading.Thread(target=send, name=f"notify-{name}", daemon=True)
    sender.start()
    sender.join(seconds)
    if sender.is_alive():
        log.warning("Receiver %s (%s) was given up after %d s.", name, target.kind, seconds)
    elif failures:
        log.warning("Receiver %s (%s) was not told: %s", name, target.kind, _why(failures[0]))
    else:
        log.info("Told receiver %s (%s): %s", name, target.kind, told.subject)


def notifier(target: AnyTarget, told: Message) -> Any:
    """Airflow's notifier for a receiver.

    Raises:
        ImportError: the provider that it needs is not installed.
    """
    if target.kind == "email":
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        return SmtpNotifier(
            smtp_conn_id=target.connection,
            to=list(target.to),
            from_email=target.sender,
            subject=told.subject,
            html_content=told.html,
        )
    if target.kind == "slack":
        # By its name, because it is not among the packages that we bring along.
        slack = importlib.import_module("airflow.providers.slack.notifications.slack")
        link = f"\n{told.link}" if told.link else ""
        text = f"*{_plain(told.subject)}*\n```{_plain(told.text)}```{link}"
        return slack.SlackNotifier(
            slack_conn_id=target.connection, channel=target.channel, text=text
        )
    from airflow.providers.http.notifications.http import HttpNotifier

    return HttpNotifier(
        http_conn_id=target.connection, endpoint=target.endpoint, method="POST", json=told.data
    )


def _plain(text: str) -> str:
    """Text in which Slack finds neither links nor mentions, nor the end of the block."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("```", "'''")


def _why(error: BaseException) -> str:
    """What may be told of an error: its text can hold an address that is a secret."""
    if isinstance(error, ImportError):
        return f"{error}; install the provider"
    known = (ConnectionError, TimeoutError, OSError)
    if isinstance(error, known) and error.errno is not None:
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__
