"""The standard functions against python-stdnum, on thousands of right and damaged values."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING

import pytest
from stdnum import bic, cfi, iban, isin, lei
from stdnum.iso7064 import mod_97_10

from tests.unit.conditions import connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALPHABET = string.digits + string.ascii_uppercase
COUNT = 20_000
#: Prefixes that python-stdnum does not list: the agencies' newer ones and former countries.
UNLISTED = ("EZ", "QY", "XT", "YU", "TP")


def text(chance: random.Random, length: int, letters: str = ALPHABET) -> str:
    return "".join(chance.choices(letters, k=length))


def a_lei(chance: random.Random) -> str:
    body = text(chance, 18)
    return body + mod_97_10.calc_check_digits(body)


def an_isin(chance: random.Random) -> str:
    country = chance.choice(["US", "DE", "FR", "XS", "EU", "GB", "ZZ", text(chance, 2)])
    body = country + text(chance, 9)
    return body + isin.calc_check_digit(body)


def a_cfi(chance: random.Random) -> str:
    if chance.random() < 0.5:
        return chance.choice(["ESVUFR", "DBFTFB", "FFCPSX", "CEOIES", "RWSTCA", "SRCCSP", "EPNRFB"])
    return chance.choice("ECDRFS") + text(chance, 5, "SPCRVNEUTFOBXAMDL")


def a_bic(chance: random.Random) -> str:
    return (
        text(chance, 4, string.ascii_uppercase)
        + chance.choice(["DE", "FR", "XK", "ZZ"])
        + (text(chance, chance.choice([2, 5, 5, 4])))
    )


def an_iban(chance: random.Random) -> str:
    country, rest = chance.choice(
        [("DE", text(chance, 18, string.digits)), ("GB", text(chance, 4, "ABC") + "0" * 14),
         ("FR", "1" * 10 + text(chance, 11) + "11"), ("NO", text(chance, 11, string.digits)),
         ("MT", "MALT" + "0" * 5 + text(chance, 18)), ("ZZ", "1" * 18)]
    )  # fmt: skip
    digits = iban.calc_check_digits(f"{country}00{rest}")
    return f"{country}{digits}{rest}"


def damaged(value: str, chance: random.Random) -> str:
    """The value with one character changed, dropped, doubled or swapped, or none."""
    at = chance.randrange(len(value))
    kind = chance.randrange(8)
    if kind == 0:
        return value[:at] + chance.choice(ALPHABET + "-az ") + value[at + 1 :]
    if kind == 1:
        return value[:at] + value[at + 1 :]
    if kind == 2:
        return value[: at + 1] + value[at:]
    if kind == 3 and at + 1 < len(value):
        return value[:at] + value[at + 1] + value[at] + value[at + 2 :]
    return value


def values(make: Callable[[random.Random], str]) -> Iterator[str]:
    chance = random.Random(7)  # noqa: S311
    for _ in range(COUNT):
        yield damaged(make(chance), chance)


def plain(value: str) -> bool:
    """python-stdnum takes blanks, dashes and small letters, which a report must not have."""
    return set(value) <= set(ALPHABET)


@pytest.mark.parametrize(
    ("macro", "make", "reference"),
    [
        ("lei_valid", a_lei, lambda v: len(v) == 20 and v[18:].isdigit() and lei.is_valid(v)),
        ("isin_valid", an_isin, isin.is_valid),
        ("cfi_valid", a_cfi, cfi.is_valid),
        ("bic_valid", a_bic, bic.is_valid),
        (
            "iban_valid",
            an_iban,
            lambda v: v[2:4].isdigit() and iban.is_valid(v, check_country=False),
        ),
    ],
)
def test_agrees_with_python_stdnum(
    macro: str, make: Callable[[random.Random], str], reference: Callable[[str], bool]
) -> None:
    tried = [value for value in values(make) if value[:2] not in UNLISTED]
    query = f"SELECT v, {macro}(v) FROM (SELECT unnest($1) AS v)"
    answers = connection().execute(query, [tried]).fetchall()
    wrong = [
        (value, answer)
        for value, answer in answers
        if answer is not (plain(value) and reference(value))
    ]
    assert wrong == []
    right = sum(answer for _, answer in answers)
    assert COUNT / 20 < right < COUNT * 19 / 20


@pytest.mark.parametrize("macro", ["lei_valid", "isin_valid", "cfi_valid", "bic_valid",
                                   "iban_valid", "uti_valid"])  # fmt: skip
@pytest.mark.parametrize("value", ["", " ", "\n", "ä", "1" * 100_000, "529900T8BM49AURSDO55\n"])
def test_odd_texts_are_not_valid(macro: str, value: str) -> None:
    assert connection().execute(f"SELECT {macro}($1)", [value]).fetchall() == [(False,)]


@pytest.mark.parametrize(
    ("code", "day", "known"),
    [
        ("BGN", "2025-12-31", True),
        ("BGN", "2026-01-01", False),
        ("HRK", "2022-12-31", True),
        ("HRK", "2023-01-01", False),
        ("XCG", "2025-03-30", False),
        ("XCG", "2025-03-31", True),
        ("EUR", "1999-01-01", True),
        ("eur", "2026-01-01", False),
        ("", "2026-01-01", False),
    ],
)
def test_currencies_are_known_as_of_a_day(code: str, day: str, known: bool) -> None:
    query = "SELECT currency_known($1, CAST($2 AS DATE))"
    assert connection().execute(query, [code, day]).fetchall() == [(known,)]


def test_the_reference_tables_have_each_code_once() -> None:
    for table in ("currencies", "countries", "mics", "cfis", "ibans"):
        query = (
            f"SELECT openreg_code FROM openreg_{table} GROUP BY openreg_code HAVING count(*) > 1"
        )
        assert connection().execute(query).fetchall() == []
    backwards = "SELECT * FROM openreg_{} WHERE openreg_from > openreg_to"
    for table in ("currencies", "countries", "memberships"):
        assert connection().execute(backwards.format(table)).fetchall() == []


def test_business_days_agree_with_the_ecbs_calendar() -> None:
    """TARGET closing days of 2025 to 2027 as the ECB publishes them, weekends left out."""
    published = {
        "2025-01-01", "2025-04-18", "2025-04-21", "2025-05-01", "2025-12-25", "2025-12-26",
        "2026-01-01", "2026-04-03", "2026-04-06", "2026-05-01", "2026-12-25",
        "2027-01-01", "2027-03-26", "2027-03-29",
    }  # fmt: skip
    query = """SELECT CAST(openreg_day AS VARCHAR) FROM openreg_days
        WHERE openreg_calendar = 'TARGET' AND year(openreg_day) BETWEEN 2025 AND 2027
        AND NOT openreg_is_open AND isodow(openreg_day) < 6"""
    assert {day for (day,) in connection().execute(query).fetchall()} == published
