"""A spec's limits against what the installation allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.errors import SpecError
from openreg_airflow.settings import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openreg_airflow.settings import Settings
    from openreg_airflow.transform.spec import Limits


def check_bounds(limits: Limits, settings: Settings) -> None:
    """Refuse limits above the installation's; they are never lowered silently.

    Raises:
        SpecError: names the limit, what it asks for and what is allowed.
    """
    bounds = {name: float(getattr(settings, f"max_{name}")) for name in BOUNDS}
    for _, message, hint in above(limits, bounds):
        raise SpecError(message, hint=hint, where="report.yaml")


def above(limits: Limits, bounds: Mapping[str, float]) -> Iterator[tuple[str, str, str]]:
    """The limits above their bounds: each with a message and what to do about it.

    Args:
        limits: what a spec asks for.
        bounds: the most that is allowed, by the limit's name.
    """
    for name, allowed in bounds.items():
        asked = getattr(limits, name)
        if asked > allowed:
            message = (
                f"transform.limits.{name} is {asked:g}; this installation allows at most "
                f"{allowed:g}"
            )
            yield name, message, f"Lower it, or ask an admin to raise [openreg] max_{name}."
