"""A spec's limits against what the installation allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from openreg_airflow.settings import Settings
    from openreg_airflow.transform.spec import Limits


def check_bounds(limits: Limits, settings: Settings) -> None:
    """Refuse limits above the installation's; they are never lowered silently.

    Raises:
        SpecError: names the limit, what it asks for and what is allowed.
    """
    bounds: tuple[tuple[str, float, float], ...] = (
        ("memory_mb", limits.memory_mb, settings.max_memory_mb),
        ("cpus", limits.cpus, settings.max_cpus),
        ("seconds", limits.seconds, settings.max_seconds),
        ("processes", limits.processes, settings.max_processes),
        ("tmp_mb", limits.tmp_mb, settings.max_tmp_mb),
        ("output_mb", limits.output_mb, settings.max_output_mb),
    )
    for name, asked, allowed in bounds:
        if asked > allowed:
            message = (
                f"transform.limits.{name} is {asked:g}; this installation allows at most "
                f"{allowed:g}"
            )
            hint = f"Lower it, or ask an admin to raise [openreg] max_{name}."
            raise SpecError(message, hint=hint, where="report.yaml")
