from __future__ import annotations

from datetime import date
from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.records import RuleResult, Verdict
from openreg_airflow.validate import page as module
from openreg_airflow.validate.page import page
from tests.unit.test_verdict_summary import FAILED, result

#: What a browser would run or load.
ACTIVE = {"script", "img", "iframe", "object", "embed", "link", "form", "svg", "base"}


class Reader(HTMLParser):
    """Gathers the tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def shown(*results: RuleResult, **fields: Any) -> str:
    known = {"report_id": "demo", "title": "Demo", "source": "run x"} | fields
    return page(Verdict(results=results), business_date=date(2026, 3, 31), **known)


def test_counts_bars_and_samples_are_shown() -> None:
    text = shown(FAILED, result("venue", severity="warning", failed=1), result("id"))
    read = " ".join(Reader(text).text)
    assert "Blocked: nothing may be delivered" in read
    for part in ("1,234 of 10,000 rows failed", "12.34%", "price -1 of T2", "XETR", "NULL"):
        assert part in read
    assert "RTS 22, field 33" in read
    assert "and 1,232 rows more" in read
    assert 'style="width:12.3%"' in text


def test_a_rule_that_could_not_be_evaluated_says_why() -> None:
    text = shown(result(error="Binder Error: no column", message="x"))
    assert "it could not be evaluated: Binder Error: no column" in text
    assert ">error<" in text


def test_warnings_alone_do_not_look_like_a_block() -> None:
    assert "May be delivered, with warnings" in shown(result(severity="warning", failed=1))
    assert "Every rule passed" in shown(result())
    assert "There are no rules" in shown()


@given(st.text(), st.text(), st.text())
def test_nothing_of_the_data_becomes_markup(value: str, column: str, title: str) -> None:
    hostile = f"<script>{value}</script><img src=x onerror=1>\"'&"
    failed = result(
        title=f"{hostile}{title}",
        failed=9,
        message=hostile,
        messages=(hostile,),
        samples=({f"{column}<b>": hostile, "other": None},),
        reference=hostile,
        error=hostile,
    )
    text = shown(failed, title=hostile, source=hostile)
    read = Reader(text)
    assert not ACTIVE & set(read.tags)
    assert read.tags.count("b") == 6  # one in each tile, as ever
    assert not any(name.startswith("on") or name == "src" for name in read.attributes)
    text.encode("utf-8")


def test_the_page_loads_nothing() -> None:
    text = shown(FAILED)
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text


def test_ten_thousand_rules_make_a_page_that_opens() -> None:
    results = [result(f"r{number}", failed=number % 2) for number in range(10_000)]
    text = shown(*results)
    assert text.count("<tr id=") == module.LISTED
    assert "and 9,000 rules more" in text
    assert len(text) < 2_000_000


def test_the_page_says_what_is_set_aside_and_how_the_date_reconciles() -> None:
    aside = result(severity="correctable", failed=3, message="no price")
    text = page(
        Verdict(results=(aside,), set_aside={"trades": 3}),
        report_id="demo",
        title="Demo",
        business_date=date(2026, 3, 31),
        source="run x",
        counts=["trades: in 10 = reported 7 + rejected 0 + pending 3"],
    )
    shown_text = " ".join(Reader(text).text)
    assert "May be delivered, without 3 records" in shown_text
    assert "in 10 = reported 7 + rejected 0 + pending 3" in shown_text
    assert "set aside" in shown_text
