"""Unmapped values of a run as a file to fill in: what an import of the set takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.errors import NoSuchMappingError
from openreg_airflow.mappings.cells import UNFILLED
from openreg_airflow.mappings.model import PERIOD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from openreg_airflow.mapping_records import MappingUse, UnmappedValue
    from openreg_airflow.mappings.model import MappingSet
    from openreg_airflow.records import RunKey
    from openreg_airflow.store.mapping_runs import MappingRuns


def run_of(runs: MappingRuns, report_id: str, business_date: date | None) -> RunKey:
    """The run whose unmapped values are meant: the newest of the report, or of a date.

    Raises:
        NoSuchMappingError: no run of the report has looked anything up.
    """
    run = runs.newest_run(report_id, business_date)
    if run is None:
        when = f" for {business_date}" if business_date else ""
        message = f"no run of report {report_id!r}{when} has looked anything up in a mapping set"
        raise NoSuchMappingError(message, hint="Map steps and context.mapping look values up.")
    return run


def unmapped_of(uses: Sequence[MappingUse], name: str) -> list[UnmappedValue]:
    """What was not found in a set, each value once with the rows of all steps together."""
    found: dict[tuple[str, ...], UnmappedValue] = {}
    for use in uses:
        for value in use.values if use.name == name else ():
            before = found.get(value.key)
            if before is not None:
                rows, first = before.rows + value.rows, min(before.first, value.first)
                value = value.model_copy(update={"rows": rows, "first": first})  # noqa: PLW2901
            found[value.key] = value
    return sorted(found.values(), key=lambda one: (-one.rows, one.key))


def lines(found: MappingSet, values: Sequence[UnmappedValue]) -> Iterator[list[str]]:
    """The header and a line for each value, as an export has them, with the values to fill in.

    They hold a mark that no import takes: an empty cell would import as "has no value", and the
    key would count as mapped from then on. An entry begins on the first day on which it was missed.
    """
    yield [*(column.name for column in (*found.keys, *found.values)), *PERIOD]
    to_fill = [UNFILLED] * len(found.values)
    for one in values:
        yield [*one.key, *to_fill, one.first.isoformat(), ""]
