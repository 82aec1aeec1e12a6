"""Feedback files as an authority would write them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DAY = date(2026, 3, 2)


def auth031(
    status: str,
    *,
    original: str | None = None,
    total: int | None = None,
    counts: Mapping[str, int] | None = None,
    records: Sequence[tuple[str, str, str, str]] = (),
    rule: tuple[str, str] = ("", ""),
) -> str:
    """A status advice.

    Args:
        status: code of the file.
        original: what it calls the file that it answers.
        total: how many records it counts.
        counts: how many by code; all in the file's state when left out.
        records: reference, code, rule and text of each that it names.
        rule: what the whole file does not meet, and its text.
    """
    statistics = ""
    usual = "RJCT" if status in ("RJCT", "CRPT") else "ACPT"
    if total is not None:
        each = "".join(
            f"<NbOfRcrdsPerSts><DtldNbOfRcrds>{number}</DtldNbOfRcrds><DtldSts>{code}</DtldSts>"
            "</NbOfRcrdsPerSts>"
            for code, number in (counts or {usual: total}).items()
        )
        statistics = f"<Sttstcs><TtlNbOfRcrds>{total}</TtlNbOfRcrds>{each}</Sttstcs>"
    named = "".join(
        f"<RcrdSts><OrgnlRcrdId>{reference}</OrgnlRcrdId><Sts>{code}</Sts>{_rule(rule, text)}"
        "</RcrdSts>"
        for reference, code, rule, text in records
    )
    identifier = f"<MsgRptIdr>{original}</MsgRptIdr>" if original else ""
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:auth.031.001.01"><FinInstrmRptgStsAdvc>'
        f"<StsAdvc>{identifier}<MsgSts><Sts>{status}</Sts>{statistics}{_rule(*rule)}</MsgSts>{named}</StsAdvc>"
        "</FinInstrmRptgStsAdvc></Document>"
    )


def _rule(rule: str, text: str) -> str:
    if not rule:
        return ""
    description = f"<Desc>{text}</Desc>" if text else ""
    return f"<VldtnRule><Id>{rule}</Id>{description}</VldtnRule>"
