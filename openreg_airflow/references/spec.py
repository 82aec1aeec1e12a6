"""The section ``references`` of an artifact: what names its records at the authority."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from openreg_airflow.section import Name, Section

Column = Annotated[str, StringConstraints(min_length=1)]
Words = Annotated[tuple[Annotated[str, StringConstraints(min_length=1)], ...], Field(min_length=1)]


class ReferencesSpec(Section):
    """Under which references records are reported, and taken back.

    Attributes:
        column: column of the artifact's table that names a record at the authority.
        action: column that says whether a row reports the record or cancels it.
        new: what it says of a report.
        cancel: what it says of a cancellation.
        scope: whose references they are: reports with the same scope may not use one twice.
        corrections: ``as_written`` sends the table as it is; ``cancel_and_new`` sends what differs
            from what the authority has: cancellations first, then reports.
    """

    column: Column = Field(description="The column that names a record at the authority.")
    action: Column = Field(description="The column that tells reports from cancellations.")
    new: Words = Field(default=("NEW", "NEWT"), description="What it says of a report.")
    cancel: Words = Field(default=("CANCEL", "CANC"), description="What it says of a cancellation.")
    scope: Name | None = Field(
        default=None,
        description="Reports of one scope, such as those to one authority, share their references; "
        "default: the report alone.",
    )
    corrections: Literal["as_written", "cancel_and_new"] = Field(
        default="as_written",
        description="cancel_and_new: send only what differs from what the authority has, a changed "
        "record as its cancellation and a new report.",
    )

    @model_validator(mode="after")
    def _each_word_once(self) -> Self:
        words = (*self.new, *self.cancel)
        if len(words) != len(set(words)):
            message = "a word stands for a report or for a cancellation, not for both"
            raise ValueError(message)
        if self.column == self.action:
            message = "column and action are two columns"
            raise ValueError(message)
        return self
