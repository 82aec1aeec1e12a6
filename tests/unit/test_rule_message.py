from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.validate.message import SHOWN, MessageTemplate, shown

names = st.text("abcXYZ_09 .-é", min_size=1).filter(lambda name: name == name.strip())
values = st.none() | st.text()


def test_values_take_the_place_of_their_columns() -> None:
    template = MessageTemplate("price {price} of {transaction_id} is not positive")
    message = template.format({"transaction_id": "T1", "price": "-1.50000", "venue": "XETR"})
    assert message == "price -1.50000 of T1 is not positive"
    assert template.names == ("price", "transaction_id")


def test_null_is_written_as_null_and_an_empty_text_as_nothing() -> None:
    assert MessageTemplate("<{a}> <{b}>").format({"a": None, "b": ""}) == "<NULL> <>"


def test_column_names_are_found_in_any_case() -> None:
    template = MessageTemplate("{Price}")
    assert template.unknown(["PRICE"]) == ()
    assert template.format({"PRICE": "1"}) == "1"


def test_unknown_columns_are_named() -> None:
    assert MessageTemplate("{a} {b} {c}").unknown(["b"]) == ("a", "c")


def test_doubled_braces_are_braces() -> None:
    assert MessageTemplate("{{{a}}} }}{{").format({"a": "1"}) == "{1} }{"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("price {price", 7),
        ("price price}", 12),
        ("{}", 1),
        ("a { } b", 3),
        ("{price:.2f}", 1),
        ("{price!r}", 1),
        ("{rows[0]}", 1),
        ("{ price }", 1),
        ("{{price}", 8),
        ("{a{b}}", 1),
    ],
)
def test_a_wrong_brace_or_placeholder_is_refused_with_its_place(text: str, place: int) -> None:
    with pytest.raises(ValueError, match=f"^character {place}: "):
        MessageTemplate(text)


def test_a_template_reaches_no_attribute() -> None:
    template = MessageTemplate("{value.__class__}")
    assert template.unknown(["value"]) == ("value.__class__",)


def test_a_message_stays_on_one_line_and_is_bounded() -> None:
    message = MessageTemplate("bad {text}").format(
        {"text": "a\r\nERROR\x1b[31m\u2028" + "x" * 10**6}
    )
    assert message.startswith("bad a\\r\\nERROR\\x1b[31m\\u2028xxx")
    assert message.endswith("… (1,000,014 characters)")
    assert len(message) < SHOWN + 60


@given(st.text())
def test_any_text_survives_when_its_braces_are_doubled(text: str) -> None:
    template = MessageTemplate(text.replace("{", "{{").replace("}", "}}"))
    assert template.format({}) == text
    assert template.names == ()


@given(st.text("{}ab:!"))
def test_a_template_is_refused_or_can_be_formatted(text: str) -> None:
    try:
        template = MessageTemplate(text)
    except ValueError:
        return
    assert isinstance(template.format(dict.fromkeys(template.names, "{x}")), str)


@given(names, values)
def test_a_value_is_never_read_as_a_template(name: str, value: str | None) -> None:
    message = MessageTemplate(f"<{{{name}}}>").format({name: value})
    assert message == f"<{'NULL' if value is None else shown(value)}>"


@given(st.text())
def test_what_is_shown_is_printable_on_one_line(value: str) -> None:
    assert len(shown(value).splitlines()) <= 1
    shown(value).encode()
