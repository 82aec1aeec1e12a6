"""What people are told of a verdict: as text, as HTML and as JSON."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

from openreg_airflow.records import Record
from openreg_airflow.validate import summary

if TYPE_CHECKING:
    from openreg_airflow.notify.spec import Event
    from openreg_airflow.records import RunKey, Verdict

#: Lines of the summary, and characters of each, in a message.
_LINES = 60
_WIDTH = 400
_RULES = 100


class Message(Record):
    """A verdict in words.

    Attributes:
        event: why it is sent.
        subject: one line.
        text: the summary as plain text.
        link: where the task's log is.
        data: the same for programs.
    """

    event: str
    subject: str
    text: str
    link: str | None
    data: dict[str, Any]

    @property
    def html(self) -> str:
        """The text as HTML; nothing in it is markup."""
        link = f'<p><a href="{escape(self.link)}">Log of the task</a></p>' if self.link else ""
        body = escape(self.text)
        return f"<p>{escape(self.subject)}</p><pre>{body}</pre>{link}"


def event_of(verdict: Verdict) -> Event | None:
    """What there is to tell; None when every rule passed."""
    if verdict.blocking:
        return "blocked"
    return "warned" if verdict.warnings else None


def message(
    run: RunKey, verdict: Verdict, event: Event, link: str | None, standing: str | None = None
) -> Message:
    """Put a verdict into words.

    Args:
        run: whose verdict it is.
        verdict: what to tell.
        event: why.
        link: where the task's log is.
        standing: how the run stands against the report's deadline.
    """
    rules = verdict.blocking if event == "blocked" else verdict.warnings
    noun = "rule" if len(rules) == 1 else "rules"
    subject = f"{run.report_id} {run.business_date}: {len(rules)} {noun} {event}"
    broken = verdict.model_copy(
        update={"results": tuple(result for result in verdict.results if not result.passed)}
    )
    lines = [line[:_WIDTH] for line in islice(summary.lines(broken), _LINES + 1)]
    if len(lines) > _LINES:
        lines[_LINES] = "..."
    where = f"Run {run.run_id}" + (f", {standing}" if standing else "")
    return Message(
        event=event,
        subject=subject,
        text="\n".join((summary.count(verdict), where, "", *lines)),
        link=link,
        data={
            "event": event,
            "report": run.report_id,
            "business_date": run.business_date.isoformat(),
            "run": run.run_id,
            "link": link,
            "standing": standing,
            "summary": summary.count(verdict),
            "set_aside": verdict.set_aside,
            "rules": [
                {
                    "id": result.rule_id,
                    "title": result.title,
                    "severity": result.severity,
                    "blocks": result.blocks,
                    "failed": result.failed,
                    "checked": result.checked,
                    "message": result.message[:_WIDTH],
                }
                for result in broken.results[:_RULES]
            ],
        },
    )
