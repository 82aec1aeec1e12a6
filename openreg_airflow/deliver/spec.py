"""The ``deliver`` section of a report spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec
from openreg_airflow.deliver.remote_folder import RemoteFolder
from openreg_airflow.section import Name, Section

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What Airflow accepts as a connection id.
ConnectionId = Annotated[str, StringConstraints(pattern=r"^[\w#!()\-.:/\\]+$", max_length=250)]


class RouteRetries(Section):
    """How often a delivery is tried again, where that differs from the report's other tasks."""

    count: int | None = Field(default=None, ge=0, le=100, description="Tries after the first.")
    delay_seconds: int | None = Field(
        default=None, ge=1, le=86_400, description="The first wait; each one doubles."
    )
    max_delay_seconds: int | None = Field(
        default=None, ge=1, le=86_400, description="The longest wait."
    )


class RouteSpec(Section):
    """One destination and what goes there.

    Attributes:
        channel: protocol, as named among the entry points ``openreg.channels``.
        connection: Airflow connection with host, login and secrets.
        folder: folder at the destination; it is made when missing.
        artifacts: which artifacts go there; all when not given.
        when: the route is taken only where this condition is true of the run and its artifact.
        required: whether the run fails when this delivery does.
        after: routes that must have delivered the same artifact first, unless they were not taken
            or are not required.
        instead_of: the route whose place this one takes when its destination is down.
        retries: where they differ from the report's.
        pool: Airflow pool of its tasks.
        acknowledgement: what the destination answers, and where.
        timeout_seconds: longest time that the other side may keep silent.
        mib_per_second: the most that goes over the line on average; not for e-mail, and for S3 in
            steps of 5 MiB.
        verify: after sending, compare the ``size`` at the destination, or read the file back and
            compare its ``content``, which costs the transfer a second time.
        reports: whether the records' references count as used when they are there.
    """

    channel: Name = Field(description="Protocol of the destination, for example sftp.")
    connection: ConnectionId = Field(description="Airflow connection of the destination.")
    folder: RemoteFolder = Field(
        default=".", description="Folder at the destination; made when missing."
    )
    artifacts: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="Names of the artifacts to deliver; default: all."
    )
    when: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = Field(
        default=None,
        description="A condition over the run and its artifact; the route is taken where it holds.",
    )
    required: bool = Field(
        default=True, description="Whether the run fails when this delivery does."
    )
    after: tuple[Name, ...] = Field(
        default=(), description="Routes that deliver the same artifact first."
    )
    instead_of: Name | None = Field(
        default=None,
        description="Deliver only what that route could not, because its destination is down.",
    )
    retries: RouteRetries = RouteRetries()
    pool: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="Airflow pool of the tasks. When left out: one for the connection if [openreg] "
        "destination_pool_slots is set, or the default pool.",
    )
    timeout_seconds: float = Field(
        default=60, gt=0, le=3600, description="Longest silence of the other side, in seconds."
    )
    mib_per_second: float | None = Field(
        default=None,
        ge=0.01,
        description="The most that goes over the line, in MiB a second; default: no limit.",
    )
    acknowledgement: AcknowledgementSpec | None = Field(
        default=None, description="The authority's answer, which is waited for."
    )
    verify: Literal["size", "content"] = Field(
        default="size", description="What is compared at the destination after sending."
    )

    reports: bool = Field(
        default=True,
        description="Whether records count as reported when they are there; not so in an archive.",
    )

    @property
    def awaits_acknowledgement(self) -> bool:
        """Whether a delivery is done only when the other side has answered."""
        return self.acknowledgement is not None


class DeliverSection(Section):
    """Where the artifacts of a report go."""

    routes: dict[Name, RouteSpec] = Field(min_length=1, description="Destinations by name.")

    @model_validator(mode="after")
    def _order_has_a_beginning(self) -> Self:
        """Routes never wait for one another in a circle.

        That those that they wait for are there is seen with the other names of a spec.
        """
        before = {
            name: self.routes.keys() & {*route.after, route.instead_of}
            for name, route in self.routes.items()
        }
        done: set[str] = set()
        while left := set(before) - done:
            ready = {name for name in left if done.issuperset(before[name])}
            if not ready:
                message = f"routes {', '.join(sorted(left))} wait for one another"
                raise ValueError(message)
            done |= ready
        return self


def stand_ins(route: str, routes: Mapping[str, RouteSpec]) -> tuple[str, ...]:
    """The routes that take the place of one, and those that take theirs, in their order."""
    direct = [name for name, other in routes.items() if other.instead_of == route]
    return tuple(each for name in direct for each in (name, *stand_ins(name, routes)))


def one_receiver(route: str, routes: Mapping[str, RouteSpec]) -> tuple[str, ...]:
    """The routes that bring to one receiver what one of them brings: one, and its stand-ins."""
    first = route
    while (primary := routes[first].instead_of) is not None:
        first = primary
    return (first, *stand_ins(first, routes))
