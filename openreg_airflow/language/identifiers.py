"""The standard functions: identifiers, and codes as of a date."""

from __future__ import annotations

from openreg_airflow.language.signature import Function, Parameter
from openreg_airflow.language.types import BOOLEAN

_X = Parameter("x", ("string",))
_ON = Parameter("on", ("date",), "$business_date", "business_date")


def _valid(
    name: str, macro: str, about: str, right: str, wrong: str, *, once: bool = True
) -> Function:
    return Function(
        f"{name}.valid",
        (_X,),
        about,
        ((f'{name}.valid("{right}")', True), (f'{name}.valid("{wrong}")', False)),
        "Identifiers",
        macro,
        BOOLEAN,
        once=once,
    )


def _dated(name: str, macro: str, about: str, *examples: tuple[str, bool]) -> Function:
    return Function(
        name, (_X, _ON), about, examples, "Codes as of a date", macro, BOOLEAN, once=True
    )


def _country_in(name: str, club: str, about: str, *examples: tuple[str, bool]) -> Function:
    return _dated(f"country.{name}", f"country_in({{0}}, '{club}', {{1}})", about, *examples)


IDENTIFIERS = (
    _valid(
        "lei", "lei_valid({0})",
        "A legal entity identifier (ISO 17442): 18 capitals or digits and two check digits that "
        "are right by ISO 7064, mod 97-10. Whether it was ever issued is not known.",
        "529900T8BM49AURSDO55", "529900T8BM49AURSDO56",
    ),
    _valid(
        "isin", "isin_valid({0})",
        "A securities number (ISO 6166): a country that ISO 3166 has or had since 1999, or a "
        "prefix of the numbering agencies such as XS, EU or EZ; nine capitals or digits; a check "
        "digit that is right by Luhn's method.",
        "US0378331005", "US0378331006",
    ),
    _valid(
        "cfi", "cfi_valid({0})",
        "A classification of financial instruments (ISO 10962:2021): category, group, and four "
        "attributes that the group knows.",
        "ESVUFR", "ESVUFQ",
    ),
    _valid(
        "bic", "bic_valid({0})",
        "A business identifier code (ISO 9362): eight or eleven characters in the right places, "
        "with a country that ISO 3166 has or had since 1999, or XK.",
        "DEUTDEFF500", "DEUTZZFF",
    ),
    _valid(
        "iban", "iban_valid({0})",
        "A bank account number (ISO 13616) without blanks: the country's length and structure "
        "(SWIFT's registry, release 101) and right check digits. National check digits inside "
        "it are not looked at.",
        "DE89370400440532013000", "DE89370400440532013001",
    ),
    _valid(
        "mic", "regexp_full_match({0}, '[0-9A-Z]{{4}}')",
        "The shape of a market identifier code (ISO 10383): four capitals or digits. "
        "Whether it exists says ``mic.known``.",
        "XETR", "XET", once=False,
    ),
    _valid(
        "uti", "uti_valid({0})",
        "A unique transaction identifier (ISO 23897): a valid LEI of who made it and up to 32 "
        "capitals or digits.",
        "529900T8BM49AURSDO55TRADE1", "529900T8BM49AURSDO56TRADE1",
    ),
    _valid(
        "transaction_reference", "regexp_full_match({0}, '[0-9A-Z]{{1,52}}')",
        "A transaction reference number as RTS 22 wants it in field 2: 1 to 52 capitals or "
        "digits.",
        "DEMO20260331000001", "demo-1", once=False,
    ),
    _dated(
        "mic.known", "mic_known({0}, {1})",
        "Whether the market identifier code was in ISO 10383's list on the day. "
        "Codes made after the list was taken are not known.",
        ('mic.known("XETR", on=date("2026-03-31"))', True),
        ('mic.known("ZZZZ", on=date("2026-03-31"))', False),
    ),
    _dated(
        "currency.known", "currency_known({0}, {1})",
        "Whether the currency code was in ISO 4217 on the day. Codes that ended before 1999 are "
        "not known.",
        ('currency.known("BGN", on=date("2025-12-31"))', True),
        ('currency.known("BGN", on=date("2026-01-01"))', False),
    ),
    _dated(
        "country.known", "country_known({0}, {1})",
        "Whether the two letters were a country in ISO 3166-1 on the day (since 1999).",
        ('country.known("SS", on=date("2011-08-09"))', True),
        ('country.known("AN", on=date("2011-01-01"))', False),
    ),
    _country_in(
        "in_eu", "EU", "Whether the country was a member of the European Union on the day.",
        ('country.in_eu("GB", on=date("2020-01-31"))', True),
        ('country.in_eu("GB", on=date("2020-02-01"))', False),
    ),
    _country_in(
        "in_eea", "EEA",
        "Whether the law of the European Economic Area held in the country on the day; for the "
        "United Kingdom until 31 December 2020, for Croatia since 12 April 2014.",
        ('country.in_eea("NO", on=date("2026-01-01"))', True),
        ('country.in_eea("CH", on=date("2026-01-01"))', False),
    ),
    _country_in(
        "in_eurozone", "EURO", "Whether the euro was the country's currency on the day.",
        ('country.in_eurozone("BG", on=date("2025-12-31"))', False),
        ('country.in_eurozone("BG", on=date("2026-01-01"))', True),
    ),
)  # fmt: skip
