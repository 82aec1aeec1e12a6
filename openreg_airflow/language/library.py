"""The standard functions as DuckDB macros over reference tables; made before a session is locked.

The macros can be called by rules in SQL as well, under the names in ``MACROS``. All give NULL for
NULL. Checksums walk over the characters of a value, about a microsecond each; a condition asks
only once for each distinct value of a column.
"""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from openreg_airflow.calendars.business_days import BEGINS, ENDS, target_holidays
from openreg_airflow.sql_quoting import quoted

if TYPE_CHECKING:
    import duckdb

_ALPHABET = "'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'"
#: Prefixes of ISINs that are no countries: ANNA's own, its substitute agencies, the EU, Kosovo,
#: and EZ for derivatives of the Derivatives Service Bureau.
_ISIN_PREFIXES = ("EU", "EZ", "QS", "QT", "QY", "XA", "XB", "XC", "XD", "XF", "XK", "XS", "XT")
CALENDARS = ("WEEKDAYS", "TARGET")

#: A macro's argument is put in as it is written, so that a column of a report would be taken for a
#: column of these tables if it had the same name.
_TABLES = {
    "currencies": "openreg_code VARCHAR, openreg_from DATE, openreg_to DATE",
    "countries": "openreg_code VARCHAR, openreg_from DATE, openreg_to DATE",
    "mics": "openreg_code VARCHAR, openreg_from DATE, openreg_to DATE",
    "memberships": "openreg_code VARCHAR, openreg_club VARCHAR, openreg_from DATE, openreg_to DATE",
    "cfis": "openreg_code VARCHAR, openreg_pattern VARCHAR",
    "ibans": "openreg_code VARCHAR, openreg_pattern VARCHAR",
}

_DAYS = (
    "openreg_calendar VARCHAR, openreg_day DATE, openreg_is_open BOOLEAN, openreg_number HUGEINT"
)

_KNOWN = """CASE WHEN x IS NULL OR day IS NULL THEN NULL ELSE EXISTS (
    SELECT 1 FROM openreg_{table} AS known WHERE known.openreg_code = x{more}
    AND day >= coalesce(known.openreg_from, day) AND day <= coalesce(known.openreg_to, day)) END"""

#: A macro's name and parameters, and its SQL. Names that do not begin with ``openreg_`` are meant
#: for rules in SQL too.
MACROS = {
    # ISO 7064, mod 97-10: letters are the numbers 10 to 35.
    "openreg_mod97(x)": f"""list_reduce(
        list_transform(string_split(x, ''), lambda c: strpos({_ALPHABET}, c) - 1),
        lambda total, digit: (total * CASE WHEN digit < 10 THEN 10 ELSE 100 END + digit) % 97,
        0)""",
    "openreg_digits(x)": f"""list_aggregate(list_transform(
        string_split(x, ''), lambda c: CAST(strpos({_ALPHABET}, c) - 1 AS VARCHAR)),
        'string_agg', '')""",
    "openreg_luhn(digits)": """list_sum(list_transform(
        string_split(reverse(digits), ''),
        lambda d, i: CASE WHEN i % 2 = 1 THEN CAST(d AS INTEGER)
            WHEN d >= '5' THEN 2 * CAST(d AS INTEGER) - 9 ELSE 2 * CAST(d AS INTEGER) END)) % 10""",
    # Half is rounded away from zero, as round() does.
    "openreg_quotient(n, d)": """(n // d) + CASE WHEN 2 * abs(n % d) < abs(d) THEN 0
        WHEN (n < 0) = (d < 0) THEN 1 ELSE -1 END""",
    "openreg_floor_quotient(n, d)": """(n // d)
        - CASE WHEN n % d <> 0 AND (n < 0) <> (d < 0) THEN 1 ELSE 0 END""",
    "openreg_floor_remainder(n, d)": """(n % d)
        + CASE WHEN n % d <> 0 AND (n < 0) <> (d < 0) THEN d ELSE 0 END""",
    "lei_valid(x)": """CASE WHEN regexp_full_match(x, '[0-9A-Z]{18}[0-9]{2}')
        THEN openreg_mod97(x) = 1 ELSE x IS NULL AND NULL END""",
    "isin_valid(x)": f"""CASE WHEN regexp_full_match(x, '[A-Z]{{2}}[0-9A-Z]{{9}}[0-9]')
        THEN openreg_luhn(openreg_digits(x)) = 0
            AND (left(x, 2) IN {_ISIN_PREFIXES}
                OR EXISTS (SELECT 1 FROM openreg_countries AS c WHERE c.openreg_code = left(x, 2)))
        ELSE x IS NULL AND NULL END""",  # noqa: S608
    "cfi_valid(x)": """CASE WHEN x IS NULL THEN NULL ELSE EXISTS (
        SELECT 1 FROM openreg_cfis AS c
        WHERE c.openreg_code = left(x, 2) AND regexp_full_match(x, c.openreg_pattern)) END""",
    "bic_valid(x)": """CASE WHEN regexp_full_match(x, '[A-Z]{6}[0-9A-Z]{2}([0-9A-Z]{3})?')
        THEN substr(x, 5, 2) = 'XK' OR EXISTS (
            SELECT 1 FROM openreg_countries AS c WHERE c.openreg_code = substr(x, 5, 2))
        ELSE x IS NULL AND NULL END""",
    "iban_valid(x)": """CASE WHEN x IS NULL THEN NULL
        WHEN regexp_full_match(x, '[A-Z]{2}[0-9]{2}[0-9A-Z]{8,30}')
        THEN EXISTS (SELECT 1 FROM openreg_ibans AS i
                WHERE i.openreg_code = left(x, 2) AND regexp_full_match(x, i.openreg_pattern))
            AND openreg_mod97(substr(x, 5) || left(x, 4)) = 1
        ELSE false END""",
    "mic_known(x, day)": _KNOWN.format(table="mics", more=""),
    "currency_known(x, day)": _KNOWN.format(table="currencies", more=""),
    "country_known(x, day)": _KNOWN.format(table="countries", more=""),
    "country_in(x, member_of, day)": _KNOWN.format(
        table="memberships", more=" AND known.openreg_club = member_of"
    ),
    "uti_valid(x)": """CASE WHEN regexp_full_match(x, '[0-9A-Z]{18}[0-9]{2}[0-9A-Z]{1,32}')
        THEN openreg_mod97(left(x, 20)) = 1 ELSE x IS NULL AND NULL END""",
    "is_business_day(x, cal)": """(SELECT known.openreg_is_open
        FROM openreg_days AS known WHERE known.openreg_calendar = cal AND known.openreg_day = x)""",
    "add_business_days(x, n, cal)": """CASE WHEN n = 0 THEN x ELSE (
        SELECT target.openreg_day FROM openreg_days AS origin, openreg_days AS target
        WHERE origin.openreg_calendar = cal AND origin.openreg_day = x
            AND target.openreg_calendar = cal AND target.openreg_is_open
            AND target.openreg_number = origin.openreg_number + n
            + CASE WHEN n < 0 AND NOT origin.openreg_is_open THEN 1 ELSE 0 END) END""",
    "business_days_between(x, y, cal)": """
        (SELECT last.openreg_number FROM openreg_days AS last
            WHERE last.openreg_calendar = cal AND last.openreg_day = y)
        - (SELECT first.openreg_number FROM openreg_days AS first
            WHERE first.openreg_calendar = cal AND first.openreg_day = x)""",
}


def install(connection: duckdb.DuckDBPyConnection, sql: str | None = None) -> None:
    """Make the reference tables and the macros in a connection that is not locked yet.

    Args:
        connection: where.
        sql: all that will be asked there; tables of which it needs none stay empty, because
            reading them takes longer than many a rule. All are filled when left out.
    """
    needed = _needed(sql)
    folder = files("openreg_airflow.language").joinpath("reference")
    for name, columns in _TABLES.items():
        connection.execute(f"CREATE TABLE openreg_{name} ({columns})")
        if f"openreg_{name}" in needed:
            with as_file(folder.joinpath(f"{name}.csv")) as path:
                file = quoted(str(path))
                connection.execute(f"COPY openreg_{name} FROM {file} (HEADER, NULLSTR '')")
    connection.execute(f"CREATE TABLE openreg_days ({_DAYS})")
    if "openreg_days" in needed:
        _fill_days(connection)
    for head, body in MACROS.items():
        connection.execute(f"CREATE MACRO {head} AS {body}")


def _needed(sql: str | None) -> str:
    """Some SQL with the macros that it names, and those that they name."""
    if sql is None:
        return "\n".join(MACROS.values())
    text = sql.lower()
    left = {head.partition("(")[0]: body for head, body in MACROS.items()}
    while named := [name for name in left if name in text]:
        text = "\n".join((text, *(left.pop(name) for name in named)))
    return text


def _fill_days(connection: duckdb.DuckDBPyConnection) -> None:
    holidays = ", ".join(f"DATE '{day}'" for day in target_holidays())
    connection.execute(f"""
        INSERT INTO openreg_days
        SELECT openreg_calendar, openreg_day, openreg_is_open,
            sum(CAST(openreg_is_open AS INTEGER))
                OVER (PARTITION BY openreg_calendar ORDER BY openreg_day) AS openreg_number
        FROM (
            SELECT openreg_calendar, CAST(day AS DATE) AS openreg_day,
                isodow(day) < 6 AND (openreg_calendar = 'WEEKDAYS' OR day NOT IN ({holidays}))
                    AS openreg_is_open
            FROM (SELECT unnest({list(CALENDARS)}) AS openreg_calendar),
                range(DATE '{BEGINS}', DATE '{ENDS + timedelta(1)}',
                    INTERVAL 1 DAY) AS days(day))
    """)  # noqa: S608 - dates of ours
