"""The status advice of ISO 20022: ``auth.031.001.01`` FinancialInstrumentReportingStatusAdvice.

Status codes: external code sets ReportingMessageStatus1Code and ReportingRecordStatus1Code of that
message. It may come in a business envelope; only the advice itself is looked at, and a ``MsgPgntn``
(ISO 20022 Pagination1: ``PgNb``, ``LastPgInd``) wherever the authority puts one, since the message
has no place of its own for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.feedback import (
    Answer,
    Feedback,
    FeedbackError,
    FileStatus,
    Page,
    RecordStatus,
    page_said,
)
from openreg_airflow.deliver.acknowledgement.parsers.stream import (
    Piece,
    children,
    pieces,
    text_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.spec import FeedbackForm

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:auth.031.001.01"
_PAGE = "MsgPgntn"
_FILES: dict[str, FileStatus] = {
    "ACPT": "accepted",
    "WARN": "accepted",
    "PART": "partly accepted",
    "RJCT": "rejected",
    "INCF": "rejected",
    "CRPT": "corrupted",
    "RCVD": "received",
    "ACTC": "received",
    "RMDR": "received",
}
_RECORDS: dict[str, RecordStatus] = {
    "ACPT": "accepted",
    "ACPD": "accepted",
    "WARN": "accepted",
    "RJCT": "rejected",
    "RJPD": "rejected",
    "PDNG": "pending",
    "RCVD": "pending",
}


class Auth031Parser:
    """Reads status advices."""

    def read(
        self,
        path: Path,
        form: FeedbackForm | None,  # noqa: ARG002 - of the interface
        take: Callable[[Answer], None],
    ) -> list[Feedback]:
        """Read a file; see :class:`~..feedback.Parser`."""
        found: list[Feedback] = []
        now = Feedback()
        whole, ends = ("MsgRptIdr", "MsgSts", "RcrdSts"), ("StsAdvc", "FinInstrmRptgStsAdvc")
        complete = False
        page: Page | None = None
        for piece in pieces(path, (*whole, _PAGE), ends):
            if piece.name == _PAGE:
                page = _page(piece, page, path)
                continue
            if piece.namespace != NAMESPACE:
                message = f"{path.name} is {piece.namespace or 'XML without a namespace'}"
                raise FeedbackError(message, hint=f"A status advice is {NAMESPACE}.")
            if piece.name == "MsgRptIdr":
                now.original = piece.text.strip() or None
            elif piece.name == "MsgSts":
                _read_file(piece, now, path)
            elif piece.name == "RcrdSts":
                take(_answer(piece, path))
            elif piece.name == "StsAdvc":
                found.append(now)
                now = Feedback()
            else:
                complete = True
        if not complete or not found:
            message = f"{path.name} holds no status advice"
            raise FeedbackError(message, hint=f"A status advice is {NAMESPACE}.")
        for each in found:
            each.page = page
        return found


def _page(piece: Piece, before: Page | None, path: Path) -> Page:
    number, last = text_at(piece, "PgNb") or "", text_at(piece, "LastPgInd")
    page = page_said(path.name, number, last, None)
    if before not in (None, page):
        message = f"{path.name} says that it is two pages"
        raise FeedbackError(message, hint="Ask the authority; it is kept.")
    return page


def _read_file(piece: Piece, into: Feedback, path: Path) -> None:
    code = text_at(piece, "Sts") or ""
    if code not in _FILES:
        message = f"{path.name}: {code!r} is no status of a file"
        raise FeedbackError(message, where="MsgSts/Sts", hint="Ask the authority; it is kept.")
    into.status = _FILES[code]
    into.rules, into.text = _rules(piece)
    if total := text_at(piece, "Sttstcs/TtlNbOfRcrds"):
        into.total = _number(total, path)
        into.counts = {}
        for statistics in children(piece, "Sttstcs"):
            for part in children(statistics, "NbOfRcrdsPerSts"):
                status = _record_status(text_at(part, "DtldSts") or "", path)
                number = _number(text_at(part, "DtldNbOfRcrds") or "", path)
                into.counts[status] = into.counts.get(status, 0) + number


def _answer(piece: Piece, path: Path) -> Answer:
    reference = text_at(piece, "OrgnlRcrdId")
    if reference is None:
        message = f"{path.name}: a record's status without OrgnlRcrdId"
        raise FeedbackError(message, hint="Ask the authority; it is kept.")
    rules, text = _rules(piece)
    status = _record_status(text_at(piece, "Sts") or "", path, reference)
    return Answer(reference=reference, status=status, rules=rules, text=text)


def _rules(piece: Piece) -> tuple[tuple[str, ...], str]:
    rules = children(piece, "VldtnRule")
    ids = tuple(text for rule in rules if (text := text_at(rule, "Id")))
    texts = [text for rule in rules if (text := text_at(rule, "Desc"))]
    return ids, "; ".join(texts)


def _record_status(code: str, path: Path, reference: str = "") -> RecordStatus:
    if code not in _RECORDS:
        message = f"{path.name}: {code!r} is no status of a record {reference}".rstrip()
        raise FeedbackError(message, hint="Ask the authority; it is kept.")
    return _RECORDS[code]


def _number(text: str, path: Path) -> int:
    if not (text.isascii() and text.isdigit()):
        message = f"{path.name}: {text!r} is no number of records"
        raise FeedbackError(message, hint="Ask the authority; it is kept.")
    return int(text)
