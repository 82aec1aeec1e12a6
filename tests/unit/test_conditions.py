from __future__ import annotations

from contextlib import suppress
from decimal import ROUND_HALF_UP, Context, Decimal

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openreg_airflow.language.compiler import compile_condition
from openreg_airflow.language.fault import ExpressionError
from openreg_airflow.language.functions import FUNCTIONS
from openreg_airflow.language.scope import Scope
from tests.unit.conditions import ask, scope


@pytest.mark.parametrize(
    "condition",
    [
        'price > 0 and (currency == "EUR" or fx is not None)',
        "0 < price <= 1.5 < ref",
        'currency in ("EUR", "USD") and currency not in ["GBP"]',
        '"U" in currency and "X" not in currency',
        'venue in table("venues").mic',
        'currency[0] == "E" and currency[-2:] == "UR" and currency[1:-1] == "U"',
        'currency[:2] == "EU" and currency[5:] == ""',
        'day + 1 == date("2026-04-01") and day - date("2026-03-01") == 30',
        'currency.lower().upper() == "EUR" and currency.startswith("E")',
        "n / 2 == 3.5 and n // 2 == 3 and -n // 2 == -4 and -n % 2 == 1 and n % -2 == -1",
        "price * ref == 3.375 and price + ref == 3.75 and price - n == -5.5",
        "0.1 + 0.2 == 0.3",
        "100000000000000000.1 + 0.01 == 100000000000000000.11",
        "1_000.5 > 1e2 and 0x10 == 16",
        "ratio * 2 == 1 and float(price) > ratio and 0.25 < ratio < 0.75 and ratio in (0.5, 1)",
        'col("price") == price',
        "price \n > 0  # a comment\n and flag",
        "lei.valid(lei) and lei.valid(lei) == True",
        'currency + "/" + venue == "EUR/XETR"',
        "coalesce(fx, 1) == 1 and count_present(fx, price) == 1",
        "mic.known(venue) and mic.known(venue, on=date(at))",
        "flag",
        "date(at) == business_date",
        "(price if flag else 0) > 1",
        "True",
    ],
)
def test_conditions_that_hold(condition: str) -> None:
    assert ask(condition) is True


@pytest.mark.parametrize(
    ("condition", "answer"),
    [
        ("fx > 0", None),
        ("not (fx > 0)", None),
        ("fx > 0 or price > 0", True),
        ("fx > 0 and price > 0", None),
        ("fx > 0 and price < 0", False),
        ("fx is None", True),
        ("fx is not None", False),
        ("fx is None or fx > 0", True),
        ("maybe", None),
        ("(price if maybe else price) > 0", None),
        ("lei.valid(missing)", None),
        ("not lei.valid(missing)", None),
        ('missing in ("A", "B")', None),
        ('missing not in ("A", "B")', None),
        ('missing in table("venues").mic', None),
        ('currency in table("venues").mic', False),
        ("min(fx, price) > 0", None),
        ("mic.known(missing)", None),
        ("fx + 1 > 0", None),
        ("len(missing) > 0", None),
    ],
)
def test_an_unknown_value_makes_unknown_what_depends_on_it(
    condition: str, answer: bool | None
) -> None:
    assert ask(condition) is answer


@pytest.mark.parametrize(
    ("condition", "place", "words"),
    [
        ("price > 0 and prise > 0", (1, 15), "no column 'prise'"),
        ("price\n  > 0\n and bad == 1", (3, 6), "no column 'bad'"),
        ('currency == "ü" and bad', (1, 21), "no column 'bad'"),
        ("lei.vaild(lei)", (1, 1), "no function lei.vaild"),
        ("currency.encode()", (1, 1), "no function currency.encode"),
        ('venue.encode() == "a"', (1, 1), "no method encode"),
        ('eval("1")', (1, 1), "no function eval"),
        ('price > "a"', (1, 9), "cannot be compared with string"),
        ('day == "2026-03-31"', (1, 8), "cannot be compared with string"),
        ("at > day", (1, 6), "cannot be compared with date"),
        ("price and flag", (1, 1), "and needs a condition"),
        ("not price", (1, 5), "not needs a condition"),
        ("price", (1, 1), "a condition is true or false"),
        ("price == None", (1, 10), "nothing is equal to None"),
        ('currency is "EUR"', (1, 13), "is compares with None only"),
        ('currency in ("EUR", None)', (1, 21), "None is in no list"),
        ("currency in ()", (1, 13), "empty list"),
        ("price in (1, 'a')", (1, 14), "cannot be compared"),
        ('currency in mapping("venues")', (1, 13), "no mapping set 'venues'"),
        ('currency in table("nothing").x', (1, 13), "no table 'nothing'"),
        ('currency in table("venues").code', (1, 13), "no column 'code'"),
        ("price + currency > 0", (1, 1), "is not defined"),
        ("price + ratio > 0", (1, 1), "would not be exact"),
        ("price > ratio", (1, 9), "would not be exact"),
        ("price // 2 == 1", (1, 1), "is not defined"),
        ("-currency == 1", (1, 1), "sign is not defined"),
        ("price[0] == 1", (1, 1), "a part of decimal"),
        ("currency[n] == 'E'", (1, 10), "written down"),
        ("currency[::2] == 'E'", (1, 12), "no step"),
        ("(1 if flag else 'a') == 1", (1, 2), "the two results"),
        (r'matches(currency, r"(?=a)")', (1, 19), "RE2 refuses the pattern"),
        (r'matches(currency, r"(a)\1")', (1, 19), "RE2 refuses the pattern"),
        (r'matches(currency, r"((a{100}){100}){100}")', (1, 19), "RE2 refuses the pattern"),
        ("matches(currency, currency)", (1, 19), "must be written down"),
        ('business_day.valid(day, "MARS")', (1, 25), "none of"),
        ("round(price, n) > 0", (1, 14), "must be written down"),
        ("len(price) > 0", (1, 5), "x must be string"),
        ("len() > 0", (1, 1), "x is missing"),
        ("len(currency, 1) > 0", (1, 15), "too many arguments"),
        ("len(currency, y=1) > 0", (1, 17), "cannot be given"),
        ("len(*currency) > 0", (1, 5), "not part of the language"),
        ('date("2026-02-30") == day', (1, 6), "not a day"),
        ("price > 1e400", (1, 9), "at most 38 digits"),
        (f"price > {'9' * 39}", (1, 9), "at most 38 digits"),
        (f"price > 0.{'1' * 39}", (1, 9), "at most 38 digits"),
        (f"price > {'9' * 5000}", (1, 1), "not an expression"),
        ("ref * ref * ref * ref > 1", (1, 1), "digits after the point"),
        ("price > 1j", (1, 9), "complex is not part"),
        ("currency == b'a'", (1, 13), "bytes is not part"),
        ("price >", (1, 8), "not an expression"),
        ("price = 1", (1, 1), "not an expression"),
        ("price > 0) or (flag", (1, 10), "not an expression"),
        ("flag] + [flag", (1, 1), "one expression"),
        ("flag, flag", (1, 1), "one expression"),
        (" \n", (1, 1), "there is no condition"),
        ("lambda: flag", (1, 1), "Lambda is not part"),
        ("[x for x in currency]", (1, 1), "ListComp is not part"),
        ("(flag := True)", (1, 2), "NamedExpr is not part"),
        ("currency.__class__", (1, 1), "Attribute is not part"),
        ('f"{currency}" == "a"', (1, 1), "JoinedStr is not part"),
        ("n ** 2 > 1", (1, 1), "Pow is not part"),
        ("await flag", (1, 1), "Await is not part"),
        ("*flag", (1, 1), "Starred is not part"),
        ('__import__("os").system("true")', (1, 1), "no method system"),
        ("'\\0' == currency", (1, 1), "NUL"),
    ],
)
def test_faults_point_at_the_character(condition: str, place: tuple[int, int], words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_condition(condition, scope())
    assert words in caught.value.message
    assert (caught.value.line, caught.value.column) == place
    caret = caught.value.pointed().splitlines()[-1]
    assert caret.strip() == "^"


@pytest.mark.parametrize(
    "condition",
    [
        "not " * 500 + "flag",
        "flag and (" * 80 + "flag" + ")" * 80,
        "min(" * 50 + "n, n" + ", n)" * 50 + " > 0",
        "-" * 3000 + "n > 0",
        "n" + " + n" * 3000 + " > 0",
        "flag or " * 2000 + "flag",
        f"n in ({', '.join(map(str, range(2001)))})",
    ],
)
def test_conditions_that_are_too_deep_or_long_are_refused(condition: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_condition(condition, scope())
    assert len(caught.value.message) < 200


@given(st.text(max_size=60))
@example("\ud800")
@example("a\x00b")
def test_any_text_compiles_or_is_refused(text: str) -> None:
    with suppress(ExpressionError):
        compile_condition(text, scope())


@given(st.text(max_size=20).filter(lambda t: "\x00" not in t and t.isprintable()))
def test_a_text_is_taken_as_it_is_written(text: str) -> None:
    assert ask(f"{text!r} == {text!r} and len({text!r}) == {len(text)}") is True


_AMOUNTS = st.decimals(-(10**9), 10**9, allow_nan=False, places=5)
_EXACT = Context(prec=100)


@given(_AMOUNTS, _AMOUNTS)
def test_arithmetic_is_exact(a: Decimal, b: Decimal) -> None:
    for sign, result in (
        ("+", _EXACT.add(a, b)),
        ("-", _EXACT.subtract(a, b)),
        ("*", _EXACT.multiply(a, b)),
    ):
        assert ask(f"({a:f}) {sign} ({b:f}) == {result:f}") is True
    if b:
        quotient = _EXACT.divide(a, b).quantize(Decimal("1e-12"), ROUND_HALF_UP)
        assert ask(f"({a:f}) / ({b:f}) == {quotient:f}") is True


@given(st.integers(-(10**12), 10**12), st.integers(-1000, 1000).filter(bool))
def test_integers_divide_as_in_python(a: int, b: int) -> None:
    assert ask(f"({a}) // ({b}) == {a // b} and ({a}) % ({b}) == {a % b}") is True


@pytest.mark.parametrize(
    "condition",
    [
        "price / (n - 7) > 1",
        "n % 0 == 1",
        "decimal(currency, 2) > 1",
        f"n * {10**37} * 100 > 0",
        f"price * {10**34} > 0",
    ],
)
def test_a_division_by_zero_or_an_overflow_is_an_error_never_a_wrong_answer(
    condition: str,
) -> None:
    with pytest.raises(duckdb.Error, match=r"zero|[Oo]ver|convert|range"):
        ask(condition)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.name)
def test_the_examples_of_every_function_are_true(function: object) -> None:
    for expression, value in function.examples:  # type: ignore[attr-defined]
        if isinstance(value, bool):
            assert ask(expression) is value, expression
        else:
            assert ask(f"{expression} == {value!r}") is True, expression


def test_columns_whose_types_are_not_known_are_taken_on_trust() -> None:
    unknown = Scope("trades", {"trades": None}, complete=False)
    condition = compile_condition('a > 0 and b.upper() == "X" and c in table("t").d', unknown)
    assert condition.columns == ("a", "b", "c")
    with pytest.raises(ExpressionError, match="no function foo"):
        compile_condition("foo(a)", unknown)
