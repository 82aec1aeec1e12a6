"""What can be wrong in a ``deliver`` section before anything is sent."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import combinations
from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.feedback import parser_names
from openreg_airflow.deliver.registry import channel_names
from openreg_airflow.deliver.routing import check_condition
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.deliver.spec import DeliverSection, RouteSpec

#: Channels of ours over which nothing comes back.
_DEAF = ("https", "mail")


def check(spec: DeliverSection, folder: Path) -> Iterator[Problem]:  # noqa: ARG001
    """Find unknown channels, artifacts named twice, and routes to one and the same place."""
    known = channel_names()
    for name, route in spec.routes.items():
        if route.channel not in known:
            near = get_close_matches(route.channel, known, n=1)
            yield Problem(
                message=f"there is no delivery channel {route.channel!r}",
                hint=f"Did you mean {near[0]}?" if near else f"Installed are: {', '.join(known)}.",
                keys=("routes", name, "channel"),
            )
        yield from _routing(name, route, spec)
        yield from _acknowledgement(name, route)
        named = route.artifacts or ()
        for index, artifact in enumerate(named):
            if artifact in named[:index]:
                yield Problem(
                    message=f"artifact {artifact} is named twice",
                    hint="Name it once.",
                    keys=("routes", name, "artifacts", index),
                )
    for (first, one), (second, other) in combinations(spec.routes.items(), 2):
        if _place(one) == _place(other) and _share(one, other):
            yield Problem(
                message=f"routes {first} and {second} bring the same artifact to the same folder",
                hint="Join the two routes, or give one of them another folder.",
                keys=("routes", second),
            )


def _routing(name: str, route: RouteSpec, spec: DeliverSection) -> Iterator[Problem]:
    """What is wrong with when and in which order a route is taken."""
    if route.when is not None and (fault := check_condition(route.when)) is not None:
        yield Problem(
            message=f"{fault.message}\n{fault.pointed()}",
            hint=fault.hint or "The reference is in docs/expressions.md.",
            keys=("routes", name, "when"),
        )
    if route.instead_of is not None:
        other = spec.routes[route.instead_of]
        if not _share(route, other):
            yield Problem(
                message=f"routes {name} and {route.instead_of} have no artifact in common",
                hint="A route takes the place of another one for the same artifacts.",
                keys=("routes", name, "instead_of"),
            )
        for twin, rival in spec.routes.items():
            if twin == name:
                break
            if rival.instead_of == route.instead_of and _share(route, rival):
                yield Problem(
                    message=f"routes {twin} and {name} both stand in for {route.instead_of}: the "
                    "same artifact would be delivered twice",
                    hint=f"Let {name} stand in for {twin}: instead_of: {twin}.",
                    keys=("routes", name, "instead_of"),
                )
        if not other.required:
            yield Problem(
                message=f"route {route.instead_of} is not required, so nothing stands in for it",
                hint="Make it required: it may fail as long as the other one delivers.",
                keys=("routes", name, "instead_of"),
            )


def _acknowledgement(name: str, route: RouteSpec) -> Iterator[Problem]:
    """What is wrong with what is awaited."""
    answer = route.acknowledgement
    if answer is None:
        return
    keys = ("routes", name, "acknowledgement")
    if answer.parser not in parser_names():
        yield Problem(
            message=f"there is no parser of feedback named {answer.parser!r}",
            hint=f"Installed are: {', '.join(parser_names())}.",
            keys=(*keys, "parser"),
        )
    channel = answer.channel or route.channel
    if channel in _DEAF:
        yield Problem(
            message=f"channel {channel} cannot fetch files",
            hint="Name the channel and the connection where the feedback appears.",
            keys=keys,
        )


def _place(route: RouteSpec) -> tuple[str, str, str]:
    folder = "/".join(part for part in route.folder.split("/") if part not in ("", "."))
    rooted = "/" if route.folder.startswith("/") else ""
    return route.channel, route.connection, rooted + folder


def _share(one: RouteSpec, other: RouteSpec) -> bool:
    if one.artifacts is None or other.artifacts is None:
        return True
    return bool(set(one.artifacts) & set(other.artifacts))
