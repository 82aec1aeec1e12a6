"""The ``notify`` section of a report spec: who is told of a verdict."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from openreg_airflow.section import Name, Section

#: What Airflow accepts as a connection id.
ConnectionId = Annotated[str, StringConstraints(pattern=r"^[\w#!()\-.:/\\]+$", max_length=250)]
#: One address, with nothing that could begin another header.
Address = Annotated[str, StringConstraints(pattern=r"^[^\s@,;<>]+@[^\s@,;<>]+$", max_length=320)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1000)]
#: ``blocked``: a blocking rule failed. ``warned``: rules failed, but none that blocks. ``late``: a
#: run has not ended well by its deadline.
Event = Literal["blocked", "warned", "late"]


class Target(Section):
    """Someone who is told."""

    connection: ConnectionId = Field(description="Airflow connection with server and secrets.")
    on: tuple[Event, ...] = Field(
        default=("blocked",),
        min_length=1,
        description="What to tell of. blocked: a blocking rule failed and nothing is delivered. "
        "warned: rules failed and the run goes on. late: the run has not ended well by the "
        "report's deadline.",
    )


class EmailTarget(Target):
    """A message by SMTP."""

    kind: Literal["email"]
    to: tuple[Address, ...] = Field(min_length=1, description="Addresses of the receivers.")
    sender: Address | None = Field(
        default=None, description="Address of the sender; that of the connection when left out."
    )


class SlackTarget(Target):
    """A message in a Slack channel; needs apache-airflow-providers-slack."""

    kind: Literal["slack"]
    channel: Line = Field(description="The channel, for example #reporting.")


class WebhookTarget(Target):
    """A POST with the verdict as JSON."""

    kind: Literal["webhook"]
    endpoint: Line | None = Field(
        default=None, description="Path below the connection's host; no secrets."
    )


AnyTarget = Annotated[EmailTarget | SlackTarget | WebhookTarget, Field(discriminator="kind")]


class NotifySection(Section):
    """Who is told how the validation of a run ended. That it fails never changes a run."""

    targets: dict[Name, AnyTarget] = Field(
        default_factory=dict, description="The receivers, by a name of one's choice."
    )
    seconds: int = Field(
        default=30, ge=1, le=600, description="How long one receiver may keep the run waiting."
    )
