"""The ``mappings`` and ``map`` sections of a report spec."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    model_validator,
)

from openreg_airflow.section import Name, Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: A column's name, as it is in the table or in the set.
Column = Annotated[str, StringConstraints(min_length=1, max_length=255)]
#: A value written in a spec. A number with a point is written in quotes, so that it stays exact.
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | date

Fallback = Literal["fail", "default", "original", "none", "set_aside"]
Phase = Literal["source", "transformed"]


class MappingsSection(Section):
    """The mapping sets that a report uses beside those of its map steps and rules."""

    sets: tuple[Name, ...] = Field(
        default=(),
        description="Sets that files of the report use: transform.py, by context.mapping, and "
        "rules in SQL files or packs. Those of map steps and of rules in report.yaml itself need "
        "not be listed.",
    )
    tenant: Annotated[str, StringConstraints(max_length=250)] = Field(
        default="",
        description="Whose sets the report uses, where several tenants share the store: those of "
        "this tenant, and sets without a tenant where it has none of the name.",
    )


class MapStep(Section):
    """Columns of a table filled from a mapping set, row by row; no Python is needed."""

    table: Name = Field(description="The table whose columns are filled.")
    phase: Phase = Field(
        default="transformed",
        description="source: the table is an extracted one, filled before the transform. "
        "transformed: it is a table of the report, filled after the transform and before the "
        "rules. Without a transform there is no difference.",
    )
    set_: Name = Field(alias="set", description="The mapping set.")
    key: Annotated[tuple[Column, ...], Field(min_length=1, max_length=16)] = Field(
        description="Columns of the table with the set's keys, in the order of the set."
    )
    as_of: Column | None = Field(
        default=None,
        description="A column with the date on which each row is looked up; the business date "
        "when left out.",
    )
    fill: dict[Column, Column] = Field(
        min_length=1,
        description="Columns to fill, each with the value of the set that goes into it. A column "
        "that is there keeps its place; a new one comes last.",
    )
    unmapped: Fallback = Field(
        default="fail",
        description="What a row gets whose key has no entry. fail: the task fails with the list "
        "of these values. default: what default says. original: the key itself. none: NULL. "
        "set_aside: the row goes to the exception queue. A NULL key always gives NULL.",
    )
    default: dict[Column, Scalar] = Field(
        default_factory=dict, description="For unmapped: default, the value of each filled column."
    )

    @model_validator(mode="after")
    def _default_goes_with_its_word(self) -> Self:
        if self.unmapped == "default" and set(self.default) != set(self.fill):
            message = "default gives a value for each column of fill, and for no other"
            raise ValueError(message)
        if self.unmapped != "default" and self.default:
            message = "default goes with unmapped: default"
            raise ValueError(message)
        if self.unmapped == "original" and len(self.key) > 1:
            message = "unmapped: original goes with one key"
            raise ValueError(message)
        if any(isinstance(value, float) for value in self.default.values()):
            message = "write a number with a point in quotes, so that it stays exact"
            raise ValueError(message)
        return self


def steps_of(steps: Mapping[str, MapStep], phase: Phase) -> Iterator[tuple[str, MapStep]]:
    """The steps of one phase, in the order of the spec."""
    for name, step in steps.items():
        if step.phase == phase:
            yield name, step
