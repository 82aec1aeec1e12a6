"""What a feedback file says, whatever its form."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal, Protocol

from openreg_airflow.errors import PermanentError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.spec import FeedbackForm

GROUP = "openreg.feedback"

#: What the authority says of a whole file. ``received``: it has it, and has not looked yet.
FileStatus = Literal["accepted", "partly accepted", "rejected", "corrupted", "received"]
RecordStatus = Literal["accepted", "rejected", "pending"]
#: Files of one answer.
MOST_PAGES = 100_000
_PAGES = "Pages are numbered from 1. The file is kept; ask the authority."
_FLAGS = {"true": True, "1": True, "yes": True, "y": True} | {
    "false": False, "0": False, "no": False, "n": False
}  # fmt: skip


class FeedbackError(PermanentError):
    """A file is no feedback, or not to what was sent; it is kept and never taken for a yes."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said of one record.

    Attributes:
        reference: what names it; where several columns do, their values in the columns' order.
        rules: ids of the rules that it broke.
        text: what they say.
    """

    reference: str | tuple[str, ...]
    status: RecordStatus
    rules: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which of several files of one answer this is.

    Attributes:
        number: from 1.
        last: number of the last one; None when this file does not say it.
    """

    number: int
    last: int | None = None


@dataclass(kw_only=True)
class Feedback:
    """What is said of a file.

    Attributes:
        status: None when only its records are spoken of.
        original: what the authority calls the file that it answers; None when it does not say.
        total: how many records it counted; None when it does not say.
        counts: how many in which state; None when it does not say.
        text: why, where the whole file was refused.
        page: where the authority splits its answer over several files and numbers them.
        open_ended: nobody can see whether the file is whole: lines may follow, as in CSV.
    """

    status: FileStatus | None = None
    original: str | None = None
    total: int | None = None
    counts: dict[RecordStatus, int] | None = None
    text: str = ""
    rules: tuple[str, ...] = field(default=())
    page: Page | None = None
    open_ended: bool = False


class Parser(Protocol):
    """Reads one kind of feedback, in bounded memory."""

    def read(
        self, path: Path, form: FeedbackForm | None, take: Callable[[Answer], None]
    ) -> list[Feedback]:
        """Read a file.

        Args:
            path: the file.
            form: where it has what, for kinds that need to be told.
            take: is given each record that is spoken of.

        Returns:
            What is said of each file that it answers, usually one.

        Raises:
            FeedbackError: it is malformed.
        """


def page_said(name: str, number: str, last: str | None, pages: str | None) -> Page:
    """The page that a file says it is.

    Args:
        name: the file's name, for messages.
        number: its number.
        last: whether it is the last one: ``true``, ``1``, ``yes`` or ``y`` and their opposites.
        pages: how many there are.

    Raises:
        FeedbackError: that is no page.
    """
    flag = _FLAGS.get((last or "false").casefold())
    given = [text for text in (number, pages) if text is not None]
    if flag is None or not all(t.isascii() and t.isdigit() and len(t) <= 9 for t in given):
        message = f"{name} says of its page {number!r}, last {last!r}, of {pages!r}"
        raise FeedbackError(message, hint=_PAGES)
    page = int(number)
    ends = {end for end in (page if flag else None, int(pages) if pages else None) if end}
    if len(ends) > 1:
        message = f"{name} is page {page}, says it is the last one, and that there are {pages}"
        raise FeedbackError(message, hint=_PAGES)
    return checked_page(name, Page(number=page, last=ends.pop() if ends else None))


def checked_page(name: str, page: Page) -> Page:
    """A page that there can be.

    Raises:
        FeedbackError: it lies beyond the last one, or before the first.
    """
    if not 1 <= page.number <= min(page.last or MOST_PAGES, MOST_PAGES):
        message = f"{name} is page {page.number} of {page.last or MOST_PAGES}"
        raise FeedbackError(message, hint=_PAGES)
    return page


def parser_names() -> tuple[str, ...]:
    """The names of the installed parsers, sorted."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load_parser(name: str) -> Parser:
    """Import a parser and make one.

    Raises:
        SpecError: no such parser is installed.
    """
    points = tuple(entry_points(group=GROUP, name=name))
    if not points:
        message = f"there is no parser of feedback named {name!r}"
        raise SpecError(message, hint=f"Installed are: {', '.join(parser_names())}.")
    parser: Parser = points[0].load()()
    return parser
