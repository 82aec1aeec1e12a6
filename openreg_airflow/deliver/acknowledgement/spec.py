"""The ``acknowledgement`` section of a route: which file answers, and how it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from openreg_airflow.deliver.acknowledgement.pattern import check_answer_pattern, check_pattern
from openreg_airflow.deliver.remote_folder import RemoteFolder
from openreg_airflow.section import Name, Section

if TYPE_CHECKING:
    from openreg_airflow.references.spec import ReferencesSpec

Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Words = tuple[Text, ...]
#: What together names a record, in the order of the columns.
Names = Annotated[tuple[Text, ...], Field(min_length=1, max_length=8)]


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        message = f"{name!r} is no encoding of text"
        raise ValueError(message) from None
    return name


class FeedbackWords(Section):
    """What an authority calls the states of a record; compared without regard to case."""

    accepted: Words = ("ACPT", "ACPD", "WARN", "ACCEPTED", "OK")
    rejected: Words = ("RJCT", "RJPD", "REJECTED", "ERROR")
    pending: Words = ("PDNG", "RCVD", "PENDING", "RECEIVED")

    @model_validator(mode="after")
    def _each_word_once(self) -> Self:
        words = [w.casefold() for w in (*self.accepted, *self.rejected, *self.pending)]
        if len(words) != len(set(words)):
            message = "a word stands for one state of a record only"
            raise ValueError(message)
        return self


class FeedbackForm(Section):
    """Where a CSV or XML feedback file of an authority's own has what.

    In CSV each name is a column, in XML a path of element names below the record, such as
    ``Sts/Cd``, or the end of the path to an element outside of all records for ``file_status``,
    ``original``, ``page``, ``pages`` and ``last_page``.
    """

    record: Text | None = Field(default=None, description="XML: name of a record's element.")
    reference: Text | Names = Field(
        description="What names the record; several where several columns do, in their order."
    )
    status: Text = Field(description="Its state.")
    rule: Text | None = Field(default=None, description="Id of the rule that it broke.")
    text: Text | None = Field(default=None, description="What the rule says.")
    file_status: Text | None = Field(default=None, description="XML: the state of the whole file.")
    original: Text | None = Field(default=None, description="XML: which file is answered.")
    page: Text | None = Field(default=None, description="XML: the number of a page, from 1.")
    pages: Text | None = Field(default=None, description="XML: how many pages there are.")
    last_page: Text | None = Field(default=None, description="XML: whether it is the last page.")
    words: FeedbackWords = FeedbackWords()
    delimiter: Annotated[str, StringConstraints(pattern=r'^[^"\s]$|^[ \t]$')] = ";"
    encoding: Annotated[Text, AfterValidator(_known_encoding)] = "utf-8"

    @model_validator(mode="after")
    def _pages_have_numbers(self) -> Self:
        if (self.pages or self.last_page) and not self.page:
            message = "pages and last_page go with page"
            raise ValueError(message)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Where what names the record is."""
        return (self.reference,) if isinstance(self.reference, str) else self.reference


class AcknowledgementSpec(Section):
    """What is awaited after a delivery.

    Attributes:
        pattern: the feedback's file name, with ``*`` and ``?``, and placeholders of the file that
            was sent: ``{filename}``, ``{stem}`` (without its last ending), ``{stem0}`` (without
            all), ``{business_date:%Y%m%d}``; where the answer comes in pages also their numbers
            ``{page}`` and ``{pages}``, how many there are.
        folder: where it appears at the destination.
        connection: of another place, with its ``channel``.
        parser: kind of feedback, as named among the entry points ``openreg.feedback``.
        form: where the parsers ``csv`` and ``xml`` find what.
        reference: column of the artifact's table by which answers name a record, or columns that
            do so together; what the artifact's ``references`` say when left out.
        original: what the feedback calls the file that it answers, with the placeholders of
            ``pattern``; file name and stem are known anyway.
        split: the authority may spread an answer over several files that have no numbers: what
            none of them names is not accepted by a file's status alone, and each may count only
            the records that it speaks of.
        wait_hours: how long it is waited for; up to the report's deadline when left out, or a day
            where it has none.
        pending_hours: how long records may stay pending; MiFIR knows seven calendar days.
        poll_seconds: how often it is looked for; no worker is held in between.
        most_mib: a larger file is refused.
    """

    pattern: Annotated[Text, AfterValidator(check_answer_pattern)]
    folder: RemoteFolder = "."
    connection: Text | None = None
    channel: Name | None = None
    parser: Name = "auth031"
    form: FeedbackForm | None = None
    reference: Text | Names | None = None
    original: Annotated[Text, AfterValidator(check_pattern)] | None = None
    split: bool = False
    wait_hours: float | None = Field(default=None, gt=0, le=24 * 366)
    pending_hours: float = Field(default=24 * 7, gt=0, le=24 * 366)
    # A task that wakes before the scheduler has seen it fall asleep counts as lost.
    poll_seconds: int = Field(default=300, ge=10, le=86_400)
    most_mib: int = Field(default=2048, ge=1, le=65_536)

    @property
    def in_files(self) -> bool:
        """Whether the authority may spread an answer over several files."""
        return (
            self.split
            or "{page}" in self.pattern
            or (self.form is not None and self.form.page is not None)
        )

    def named_by(self, about: ReferencesSpec | None) -> tuple[str, ...]:
        """The columns of an artifact's table by which answers name its records.

        Args:
            about: the artifact's ``references``.

        Returns:
            None of them when only files are spoken of.
        """
        if self.reference is None:
            return about.names if about is not None else ()
        return (self.reference,) if isinstance(self.reference, str) else self.reference

    @model_validator(mode="after")
    def _form_where_one_is_read(self) -> Self:
        if (self.parser in ("csv", "xml")) != (self.form is not None):
            message = "form goes with the parsers csv and xml, and they need it"
            raise ValueError(message)
        if self.parser == "xml" and self.form is not None and self.form.record is None:
            message = "form.record names the element of a record in XML"
            raise ValueError(message)
        if self.channel is not None and self.connection is None:
            message = "channel goes with connection"
            raise ValueError(message)
        return self
