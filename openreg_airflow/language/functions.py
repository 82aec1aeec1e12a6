"""The functions of the language; the manual is made from this table."""

from __future__ import annotations

from datetime import date as calendar_date
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from openreg_airflow.language.arithmetic import as_decimal
from openreg_airflow.language.identifiers import IDENTIFIERS
from openreg_airflow.language.library import CALENDARS
from openreg_airflow.language.signature import (
    ArgumentError,
    Function,
    Parameter,
    Result,
    common_type,
)
from openreg_airflow.language.types import (
    BOOLEAN,
    DATE,
    FLOAT,
    INTEGER,
    MAX_DIGITS,
    STRING,
    TIMESTAMP_UTC,
    Type,
    decimal,
)
from openreg_airflow.sql_quoting import quoted

if TYPE_CHECKING:
    import duckdb

    from openreg_airflow.language.value import Value

MAX_PATTERN = 1000
_NUMBERS = ("integer", "decimal", "float")


def _pattern_of(values: tuple[Value, ...]) -> str:
    pattern = str(values[1].literal)
    if len(pattern) > MAX_PATTERN:
        message = f"the pattern has {len(pattern)} characters; at most {MAX_PATTERN} are allowed"
        raise ArgumentError(message, 1)
    if said := _refusal(pattern):
        message = f"RE2 refuses the pattern: {said}"
        hint = "RE2 takes time in proportion to the text; it knows no look-around and no \\1."
        raise ArgumentError(message, 1, hint)
    return quoted(pattern)


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect(":memory:", config={"threads": 1})


@lru_cache(1000)
def _refusal(pattern: str) -> str | None:
    """Why the engine that will run a pattern refuses it."""
    import duckdb

    try:
        _engine().cursor().execute("SELECT regexp_full_match('', ?)", [pattern]).fetchall()
    except duckdb.Error as error:
        return str(error).partition(": ")[2]
    return None


def _matches(values: tuple[Value, ...]) -> Result:
    return f"regexp_full_match({values[0].sql}, {_pattern_of(values)})", BOOLEAN


def _search(values: tuple[Value, ...]) -> Result:
    return f"regexp_matches({values[0].sql}, {_pattern_of(values)})", BOOLEAN


def _round(values: tuple[Value, ...]) -> Result:
    value = values[0]
    digits = int(values[1].literal or 0) if len(values) > 1 else 0
    if not 0 <= digits <= MAX_DIGITS:
        message = "round to 0 to 38 digits after the point"
        raise ArgumentError(message, 1)
    if value.type.kind != "decimal":
        return f"round({value.sql}, {digits})", value.type
    scale = min(digits, value.type.scale)
    result = decimal(value.type.digits - value.type.scale + 1, scale)
    return f"CAST(round({value.sql}, {scale}) AS {result.sql})", result


def _whole(name: str, values: tuple[Value, ...]) -> Result:
    value = values[0]
    digits = value.type.digits - value.type.scale + 1 if value.type.exact else MAX_DIGITS
    return f"CAST({name}({value.sql}) AS HUGEINT)", Type("integer", digits)


def _decimal(values: tuple[Value, ...]) -> Result:
    scale = int(values[1].literal or 0)
    if not 0 <= scale <= MAX_DIGITS:
        message = "a decimal has 0 to 38 digits after the point"
        raise ArgumentError(message, 1)
    result = Type("decimal", MAX_DIGITS, scale)
    return f"CAST({values[0].sql} AS {result.sql})", result


def _date(values: tuple[Value, ...]) -> Result:
    value = values[0]
    if value.type == STRING and value.is_literal:
        try:
            day = calendar_date.fromisoformat(str(value.literal))
        except ValueError as error:
            message = f"{value.literal!r} is not a day such as '2026-01-31'"
            raise ArgumentError(message, 0) from error
        return f"DATE '{day}'", DATE
    return f"CAST({value.sql} AS DATE)", DATE


def _instant(values: tuple[Value, ...]) -> Result:
    text = str(values[0].literal)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is not an instant such as '2026-01-31T12:00:00Z'"
        raise ArgumentError(message, 0) from error
    if instant.tzinfo is None:
        message = f"{text!r} has no zone"
        raise ArgumentError(message, 0, "Write Z for UTC.")
    return f"TIMESTAMPTZ '{instant.isoformat(sep=' ')}'", TIMESTAMP_UTC


def _of_all(name: str, values: tuple[Value, ...]) -> Result:
    return f"{name}({', '.join(value.sql for value in values)})", common_type(values)


def _least(name: str, values: tuple[Value, ...]) -> Result:
    """DuckDB passes NULLs over; here one unknown value makes the result unknown."""
    kind = common_type(values)
    listed = ", ".join(value.sql for value in values)
    nulls = " OR ".join(f"{value.sql} IS NULL" for value in values)
    return f"(CASE WHEN {nulls} THEN NULL ELSE {name}({listed}) END)", kind


def _present(values: tuple[Value, ...]) -> Result:
    counted = " + ".join(f"CAST({value.sql} IS NOT NULL AS INTEGER)" for value in values)
    return f"({counted})", INTEGER


def _places(values: tuple[Value, ...]) -> Result:
    text = f"CAST({as_decimal((values[0].sql, values[0].type))} AS VARCHAR)"
    part = f"rtrim(split_part({text}, '.', 2), '0')"
    return f"CAST(length({part}) AS BIGINT)", INTEGER


_X = Parameter("x", ("string",))
_DAY = Parameter("day", ("date",))
_CALENDAR = Parameter(
    "calendar", ("string",), "'TARGET'", '"TARGET"', literal=True, choices=CALENDARS
)
_PATTERN = Parameter("pattern", ("string",), literal=True)

_GENERAL = (
    Function("len", (_X,), "The number of characters.", (('len("abc")', 3),), "Text",
             "CAST(length({0}) AS BIGINT)", INTEGER),
    Function("lower", (_X,), "The text in lower case.", (('lower("AbC")', "abc"),), "Text",
             "lower({0})", STRING, method=True),
    Function("upper", (_X,), "The text in upper case.", (('upper("AbC")', "ABC"),), "Text",
             "upper({0})", STRING, method=True),
    Function("strip", (_X,), "The text without spaces at its ends.", (('strip(" a ")', "a"),),
             "Text", "trim({0})", STRING, method=True),
    Function("startswith", (_X, Parameter("prefix", ("string",))),
             "Whether the text begins with the prefix.", (('startswith("abc", "ab")', True),),
             "Text", "starts_with({0}, {1})", BOOLEAN, method=True),
    Function("endswith", (_X, Parameter("suffix", ("string",))),
             "Whether the text ends with the suffix.", (('endswith("abc", "bc")', True),),
             "Text", "suffix({0}, {1})", BOOLEAN, method=True),
    Function("replace", (_X, Parameter("old", ("string",)), Parameter("new", ("string",))),
             "The text with every ``old`` replaced.", (('replace("a-b", "-", "")', "ab"),),
             "Text", "replace({0}, {1}, {2})", STRING, method=True),
    Function("str", (Parameter("x"),), "The value as text.", (("str(12)", "12"),), "Text",
             "CAST({0} AS VARCHAR)", STRING),
    Function("matches", (_X, _PATTERN),
             "Whether the whole text matches the regular expression (RE2's syntax).",
             (('matches("AB12", r"[A-Z]{2}[0-9]+")', True), ('matches("xAB", r"AB")', False)),
             "Text", build=_matches),
    Function("search", (_X, _PATTERN),
             "Whether any part of the text matches the regular expression (RE2's syntax).",
             (('search("xABy", r"AB")', True),), "Text", build=_search),
    Function("abs", (Parameter("x", _NUMBERS),), "The number without its sign.",
             (("abs(-2)", 2),), "Numbers", "abs({0})"),
    Function("round", (Parameter("x", _NUMBERS),
                       Parameter("digits", ("integer",), "0", "0", literal=True)),
             "The number with so many digits after the point; a half is rounded away from zero.",
             (("round(2.345, 2) == 2.35", True),), "Numbers", build=_round),
    Function("floor", (Parameter("x", _NUMBERS),), "The largest integer that is not above.",
             (("floor(-1.5)", -2),), "Numbers", build=lambda v: _whole("floor", v)),
    Function("ceil", (Parameter("x", _NUMBERS),), "The smallest integer that is not below.",
             (("ceil(1.2)", 2),), "Numbers", build=lambda v: _whole("ceil", v)),
    Function("decimal", (Parameter("x", (*_NUMBERS, "string")),
                         Parameter("scale", ("integer",), literal=True)),
             "The number, or the number that a text spells, as an exact decimal. A text that is "
             "no number is an error of the rule.",
             (('decimal("1.50", 2) == 1.5', True),), "Numbers", build=_decimal),
    Function("float", (Parameter("x", _NUMBERS),), "The number in binary floating point.",
             (("float(1) == 1", True),), "Numbers", "CAST({0} AS DOUBLE)", FLOAT),
    Function("places", (Parameter("x", ("integer", "decimal")),),
             "Digits after the point without zeros at the end.",
             (("places(1.250)", 2), ("places(3)", 0)), "Numbers", build=_places),
    Function("min", (Parameter("x", many=True),),
             "The smallest of the values; unknown when one is.", (("min(3, 1, 2)", 1),),
             "Any type", build=lambda v: _least("least", v)),
    Function("max", (Parameter("x", many=True),),
             "The largest of the values; unknown when one is.", (("max(3, 1, 2)", 3),),
             "Any type", build=lambda v: _least("greatest", v)),
    Function("coalesce", (Parameter("x", many=True),), "The first value that is not None.",
             (('coalesce(None, "a")', "a"),), "Any type",
             build=lambda v: _of_all("coalesce", v)),
    Function("count_present", (Parameter("x", many=True),),
             "How many of the values are not None.", (('count_present("a", None, 1)', 2),),
             "Any type", build=_present),
    Function("date", (Parameter("x", ("string", "date", "timestamp", "timestamp_utc")),),
             "A day, written or read from text, or the day of an instant in UTC.",
             (('date("2026-01-31") + 1 == date("2026-02-01")', True),), "Dates", build=_date),
    Function("timestamp_utc", (Parameter("x", ("string",), literal=True),), "An instant.",
             (('date(timestamp_utc("2026-01-31T23:30:00-01:00")) == date("2026-02-01")', True),),
             "Dates", build=_instant),
    *(Function(part, (Parameter("x", ("date", "timestamp", "timestamp_utc")),),
               f"The {part} of a day or instant.", ((f'{part}(date("2026-07-31"))', number),),
               "Dates", f"CAST({part}({{0}}) AS BIGINT)", INTEGER)
      for part, number in (("year", 2026), ("month", 7), ("day", 31))),
    Function("weekday", (Parameter("x", ("date", "timestamp", "timestamp_utc")),),
             "The day of the week: Monday is 0, Sunday is 6.",
             (('weekday(date("2026-11-22"))', 6),), "Dates",
             "CAST(isodow({0}) - 1 AS BIGINT)", INTEGER),
    Function("seconds_between", (Parameter("earlier", ("timestamp", "timestamp_utc")),
                                 Parameter("later", ("timestamp", "timestamp_utc"))),
             "Whole seconds from one instant to the other, negative when they are the wrong way "
             "round.",
             (('seconds_between(timestamp_utc("2026-01-01T00:00:00Z"), '
               'timestamp_utc("2026-01-01T00:01:00Z"))', 60),), "Dates",
             "date_sub('second', {0}, {1})", INTEGER),
    Function("business_day.valid", (_DAY, _CALENDAR),
             "Whether the day is a business day. Calendars cover 1999 to 2099; outside it is "
             "unknown.", (('business_day.valid(date("2026-04-03"))', False),), "Business days",
             "is_business_day({0}, {1})", BOOLEAN, asks=True),
    Function("business_day.add", (_DAY, Parameter("n", ("integer",)), _CALENDAR),
             "The n-th business day after the day, or before it when n is negative; n = 0 gives "
             "the day itself.",
             (('business_day.add(date("2026-04-02"), 1) == date("2026-04-07")', True),),
             "Business days", "add_business_days({0}, CAST({1} AS INTEGER), {2})", DATE, asks=True),
    Function("business_day.between", (Parameter("first", ("date",)), Parameter("last", ("date",)),
                                      _CALENDAR),
             "Business days after the first day up to and with the last.",
             (('business_day.between(date("2026-04-02"), date("2026-04-07"))', 1),),
             "Business days", "CAST(business_days_between({0}, {1}, {2}) AS BIGINT)", INTEGER,
             asks=True),
)  # fmt: skip

#: Every function by its name.
FUNCTIONS = {function.name: function for function in (*_GENERAL, *IDENTIFIERS)}
NAMESPACES = frozenset(name.partition(".")[0] for name in FUNCTIONS if "." in name)
METHODS = frozenset(name for name, function in FUNCTIONS.items() if function.method)
