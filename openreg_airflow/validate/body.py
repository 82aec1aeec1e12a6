"""The ways to write a rule: SQL, a condition, or a demand on the whole table."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    model_validator,
)

from openreg_airflow.section import Name, RelativeFile, Section

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
#: A column's name, as it is in the table.
Column = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Columns = Annotated[tuple[Column, ...], Field(min_length=1, max_length=64)]


def _not_binary(value: object) -> object:
    if isinstance(value, float):
        message = "write a number with a point in quotes, so that it stays exact"
        raise ValueError(message)
    return value


Exact = Annotated[Decimal, BeforeValidator(_not_binary)]


class RowCount(Section):
    """How many rows the table must have."""

    min: int | None = Field(default=None, ge=0, description="At least so many rows.")
    max: int | None = Field(default=None, ge=0, description="At most so many rows.")
    same_as: Name | None = Field(
        default=None, description="A table that must have as many rows, such as yesterday's."
    )
    within_percent: Exact = Field(
        default=Decimal(0), ge=0, description="How far the count may be from that of same_as."
    )

    previous_within_percent: Exact | None = Field(
        default=None,
        ge=0,
        description="How far the count may be from that of the last business date before whose "
        "rules did not block. Without one, any count will do.",
    )

    @model_validator(mode="after")
    def _demands_something(self) -> Self:
        given = (self.min, self.max, self.same_as, self.previous_within_percent)
        if all(demand is None for demand in given):
            message = "a row count has min, max, same_as or previous_within_percent"
            raise ValueError(message)
        return self


class ControlTotal(Section):
    """What a column must add up to."""

    column: Column = Field(description="The column whose sum is held against the control total.")
    equals: Exact | None = Field(
        default=None, description="The control total as a number; with a point, in quotes."
    )
    table: Name | None = Field(default=None, description="The table with the control total.")
    total: Column | None = Field(
        default=None, description="The column of that table; it is added up as well."
    )
    tolerance: Exact = Field(default=Decimal(0), ge=0, description="How far they may differ.")

    @model_validator(mode="after")
    def _one_total(self) -> Self:
        if (self.equals is None) == (self.table is None) or (self.table is None) != (
            self.total is None
        ):
            message = "a control total has either equals, or table and total"
            raise ValueError(message)
        return self


class References(Section):
    """Where the values of some columns must be found."""

    columns: Columns = Field(description="The columns; a row in which one is NULL is passed over.")
    table: Name | None = Field(default=None, description="The table in which their values must be.")
    to: Columns | None = Field(
        default=None, description="The columns of that table; of the same names when left out."
    )
    mapping: Name | None = Field(
        default=None,
        description="The mapping set of whose entries they must be the key, in the order of its "
        "keys, instead of a table.",
    )
    as_of: Column | None = Field(
        default=None,
        description="With mapping: a column with the date on which the entry must hold; the "
        "business date when left out. A row in which it is NULL is passed over.",
    )

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if (self.table is None) == (self.mapping is None):
            message = "references has either table or mapping"
            raise ValueError(message)
        if self.mapping is not None and self.to is not None:
            message = "to goes with table"
            raise ValueError(message)
        if self.mapping is None and self.as_of is not None:
            message = "as_of goes with mapping"
            raise ValueError(message)
        if self.to is not None and len(self.to) != len(self.columns):
            message = f"{len(self.columns)} columns cannot refer to {len(self.to)}"
            raise ValueError(message)
        return self


class CompleteDays(Section):
    """Days of which each must have a row."""

    column: Column = Field(description="A column of dates or timestamps.")
    since: date | Literal["month", "year"] = Field(
        default="month",
        description="The first day that must be there: a date, or the beginning of the business "
        "date's month or year. The last one is the business date.",
    )
    calendar: Literal["TARGET", "WEEKDAYS"] = Field(
        default="TARGET", description="Which days are business days."
    )


#: A row of an example: the columns that matter; all others are NULL. A number of more than 15
#: digits is written in quotes.
Row = dict[Column, StrictBool | StrictInt | StrictFloat | StrictStr | date | None]
Example = Row | tuple[Row, ...]


class Examples(Section):
    """Rows on which the rule is tried by ``openreg check``; a list of rows is a whole table."""

    business_date: date = Field(
        default=date(2026, 3, 31), description="The business date of the examples."
    )
    pass_: tuple[Example, ...] = Field(
        default=(), alias="pass", description="Rows that keep the rule."
    )
    fail: tuple[Example, ...] = Field(default=(), description="Rows that break the rule.")
    tables: dict[Name, tuple[Row, ...]] = Field(
        default_factory=dict, description="Rows of other tables that the rule reads."
    )


class RuleBody(Section):
    """How a rule is written; exactly one way."""

    sql: Text | None = Field(
        default=None,
        description="One SELECT in DuckDB's SQL that returns the failing rows. It reads the "
        "report's tables by name; $business_date is the business date.",
    )
    sql_file: RelativeFile | None = Field(
        default=None, description="A file in the report's folder with the SELECT, instead of sql."
    )
    condition: Text | None = Field(
        default=None,
        description="What must be true of each row, in the language of docs/expressions.md.",
    )
    when: Text | None = Field(
        default=None,
        description="The rows of which the condition is demanded, as a condition; all when left "
        "out.",
    )
    unknown: Literal["fail", "pass"] = Field(
        default="fail",
        description="What happens to a row whose condition is neither true nor false because a "
        "value is NULL.",
    )
    unique: Columns | None = Field(
        default=None, description="Columns whose values together may occur only once."
    )
    row_count: RowCount | None = Field(default=None, description="How many rows there must be.")
    control_total: ControlTotal | None = Field(
        default=None, description="What a column must add up to."
    )
    references: References | None = Field(
        default=None, description="Where the values of columns must be found."
    )
    complete_days: CompleteDays | None = Field(
        default=None, description="Days of which each must have a row."
    )
    examples: Examples = Field(
        default_factory=Examples, description="Rows that must keep and rows that must break it."
    )

    @property
    def way(self) -> str:
        """The key by which the rule is written."""
        return next(way for way in WAYS if getattr(self, way) is not None)

    @property
    def in_sql(self) -> bool:
        """Whether its author wrote SQL."""
        return self.sql is not None or self.sql_file is not None

    @property
    def of_whole_table(self) -> bool:
        """Whether it is about the table as a whole and not about rows."""
        return self.way in ("row_count", "control_total", "complete_days")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            message = f"a rule has either {' or '.join(WAYS)}, and only one of them"
            raise ValueError(message)
        if self.condition is None and (self.when is not None or self.unknown != "fail"):
            message = "when and unknown go with a condition"
            raise ValueError(message)
        return self


#: The keys by which a rule can be written.
WAYS = (
    "sql", "sql_file", "condition", "unique", "row_count", "control_total", "references",
    "complete_days",
)  # fmt: skip
