"""The section ``references`` of an artifact: what names its records at the authority."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from openreg_airflow.section import Name, Section

Column = Annotated[str, StringConstraints(min_length=1)]
#: What the store keeps of a word, with the number of the report that it stands for.
Word = Annotated[str, StringConstraints(min_length=1, max_length=50)]
Words = Annotated[tuple[Word, ...], Field(min_length=1)]


class ReferencesSpec(Section):
    """Under which references records are reported, and taken back.

    Attributes:
        column: column of the artifact's table that names a record at the authority.
        action: column that says what a row does with the record.
        record: what names a single row in answers, where several rows of one file may be reports
            of one reference: a technical record id, or columns that tell the rows apart.
        new: what it says of a report.
        cancel: what it says of a cancellation.
        about: what it says of further reports about a record that stands.
        correct: what a changed report goes out as, by what the table says of it.
        revive: what it says of a record that was cancelled and stands again.
        scope: whose references they are: reports with the same scope may not use one twice.
        corrections: ``as_written`` sends the table as it is; the others send what differs from
            what the authority has: ``cancel_and_new`` first cancellations, then new reports,
            ``by_action`` cancellations of what is gone, and changed reports as ``correct`` says.
        cancel_columns: what a derived cancellation has beside reference and action; all columns
            when left out.
        ignore: columns in which a difference is no change.
        elsewhere: an unknown reference may have been reported by another system.
    """

    column: Column = Field(description="The column that names a record at the authority.")
    action: Column = Field(description="The column that tells reports from cancellations.")
    record: Column | Annotated[tuple[Column, ...], Field(min_length=1, max_length=8)] | None = (
        Field(
            default=None,
            description="What names a single row of the file towards the authority, such as a "
            "technical record id or [uti, action]; default: the reference, which then names one "
            "record and its cancellation only.",
        )
    )
    new: Words = Field(default=("NEW", "NEWT"), description="What it says of a report.")
    cancel: Words = Field(default=("CANCEL", "CANC"), description="What it says of a cancellation.")
    about: tuple[Word, ...] = Field(
        default=(),
        description="What it says of further reports about a record that stands, such as MODI, "
        "TERM and VALU of EMIR.",
    )
    correct: dict[Word, Word] = Field(
        default_factory=dict,
        description="What a changed report goes out as, such as {NEWT: CORR}, in a format with an "
        "action of its own for corrections. A cancelled reference is not reported anew then.",
    )
    revive: Word | None = Field(
        default=None,
        description="What it says of a cancelled record that stands again, as REVI of EMIR.",
    )
    scope: Name | None = Field(
        default=None,
        description="Reports of one scope, such as those to one authority, share their references; "
        "default: the report alone.",
    )
    corrections: Literal["as_written", "cancel_and_new", "by_action"] = Field(
        default="as_written",
        description="Send only what differs from what the authority has: cancel_and_new a changed "
        "record as its cancellation and a new report, by_action as `correct` says.",
    )
    cancel_columns: tuple[Column, ...] | None = Field(
        default=None,
        description="The columns that a derived cancellation has beside reference and action, with "
        "their old values; the others stay empty. Default: all.",
    )
    ignore: tuple[Column, ...] = Field(
        default=(),
        description="Columns in which a difference is no change, such as the time of reporting.",
    )
    elsewhere: bool = Field(
        default=False,
        description="Records may have been reported by another system: what speaks of an unknown "
        "reference is let through.",
    )

    @property
    def derived(self) -> bool:
        """Whether only what differs is sent."""
        return self.corrections != "as_written"

    @property
    def names(self) -> tuple[str, ...]:
        """The columns by which answers name a row."""
        if self.record is None:
            return (self.column,)
        return (self.record,) if isinstance(self.record, str) else self.record

    @property
    def record_id(self) -> str | None:
        """The column that does nothing but name a row: a difference there is no change."""
        own = self.names
        return own[0] if len(own) == 1 and own[0] not in (self.column, self.action) else None

    @property
    def further(self) -> tuple[str, ...]:
        """Every word for a further report about a record that stands."""
        return tuple(dict.fromkeys((*self.about, *self.correct.values())))

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that the action may be."""
        return (*self.new, *self._revive, *self.cancel, *self.further)

    @property
    def _revive(self) -> tuple[str, ...]:
        return (self.revive,) if self.revive is not None else ()

    @model_validator(mode="after")
    def _each_word_once(self) -> Self:
        if len(self.words) != len(set(self.words)) or len(self.about) != len(set(self.about)):
            message = "a word stands for a report or for a cancellation, not for both"
            raise ValueError(message)
        if self.column == self.action or {self.column, self.action} & set(self.ignore):
            message = "column and action are two columns, and neither is ignored"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _rows_have_names(self) -> Self:
        if self.names == (self.action,) or len(set(self.names)) != len(self.names):
            message = "record names columns that together tell the rows of a file apart, each once"
            raise ValueError(message)
        copied = self.names if self.cancel_columns is None else self.cancel_columns
        kept = {self.column, self.action, self.record_id, *copied}
        if lost := [name for name in self.names if self.derived and name not in kept]:
            message = f"record has {lost[0]}, which derived cancellations do not have: add it to "
            message += "cancel_columns"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _corrections_have_words(self) -> Self:
        known = {*self.new, *self._revive, *self.about}
        if strange := [word for word in self.correct if word not in known]:
            message = f"correct speaks of {strange[0]}, which is none of {', '.join(sorted(known))}"
            raise ValueError(message)
        if self.corrections == "by_action" and (
            missing := [word for word in self.new if word not in self.correct]
        ):
            message = (
                f"corrections: by_action needs to know what a changed {missing[0]} goes out as"
            )
            raise ValueError(message)
        if self.corrections == "cancel_and_new" and self.correct:
            message = "correct has no meaning with corrections: cancel_and_new"
            raise ValueError(message)
        return self
