"""Random transactions that RTS 22 and its schema allow, as the rows of a report's tables."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

Row = dict[str, Any]

_CHARACTERS = st.one_of(
    st.sampled_from("&<>'\"{} ]é€"),
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"
    ),
)
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_INDEX = ("EURI", "LIBO", "SWAP", "EONA")


def text(most: int) -> st.SearchStrategy[str]:
    """Any text of 1 to so many characters."""
    return st.text(_CHARACTERS, min_size=1, max_size=most)


def number(digits: int, decimals: int, *, signed: bool = False) -> st.SearchStrategy[Decimal]:
    """A decimal with at most so many digits, of which so many behind the point."""
    whole = st.integers(-(10**digits) + 1 if signed else 0, 10**digits - 1)
    return st.builds(lambda n, scale: Decimal(n).scaleb(-scale), whole, st.integers(0, decimals))


def codes(*values: str) -> st.SearchStrategy[str]:
    """One of some codes."""
    return st.sampled_from(values)


lei = st.from_regex(r"\A[A-Z0-9]{18}[0-9]{2}\Z")
isin = st.from_regex(r"\A[A-Z]{2}[A-Z0-9]{9}[0-9]\Z")
country = st.text(_CAPITALS, min_size=2, max_size=2)
currency = st.text(_CAPITALS, min_size=3, max_size=3)
mic = st.from_regex(r"\A[A-Z0-9]{4}\Z")
day = st.dates(date(1900, 1, 1), date(2999, 12, 31))
scheme = codes("NIDN", "CCPT", "CONCAT")
person = st.fixed_dictionaries(
    {
        "first_name": text(140), "surname": text(140), "birth_date": day, "person_id": text(35),
        "id_scheme": scheme,
    }
)  # fmt: skip


def maybe(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Row]:
    """Any of the values, or none."""
    return st.fixed_dictionaries({}, optional=values)


def together(*parts: st.SearchStrategy[Row]) -> st.SearchStrategy[Row]:
    """All the values of several rows."""
    return st.tuples(*parts).map(lambda rows: {k: v for row in rows for k, v in row.items()})


def sized(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Row]:
    """Exactly these values."""
    return st.fixed_dictionaries(values)


def parties(side: str) -> st.SearchStrategy[list[Row]]:
    """The owners of one side and who decides for them."""
    owner = together(
        st.one_of(sized(lei=lei), sized(mic=mic), person, st.just({"aggregated": True})),
        maybe(branch_country=country),
    )
    owners = st.lists(owner, min_size=1, max_size=3)
    deciders = st.lists(st.one_of(sized(lei=lei), person), max_size=2)
    return st.tuples(owners, deciders).map(
        lambda both: [
            {"side": side, "role": role, **row}
            for role, rows in zip(("OWNER", "DECIDER"), both, strict=True)
            for row in rows
        ]
    )


def price(name: str) -> st.SearchStrategy[Row]:
    """A price of any kind, or one that is pending or does not apply."""
    kind, money = f"{name}_kind", f"{name}_currency"
    percent = number(11, 10, signed=True)
    return st.one_of(
        together(
            sized(**{kind: st.just("MONETARY"), name: number(18, 13), money: currency}),
            maybe(**{f"{name}_positive": st.booleans()}),
        ),
        sized(**{kind: codes("PERCENTAGE", "YIELD"), name: percent}),
        sized(**{kind: st.just("BASIS_POINTS"), name: number(18, 17, signed=True)}),
        together(sized(**{kind: codes("PNDG", "NOAP")}), maybe(**{money: currency})),
    )


def index(prefix: str) -> st.SearchStrategy[Row]:
    """An index: its ISIN if it has one, its code or name, and its term."""
    return together(
        maybe(**{f"{prefix}index_isin": isin}),
        st.one_of(
            sized(**{f"{prefix}index_code": codes(*_INDEX)}),
            sized(**{f"{prefix}index_name": text(25)}),
        ),
        st.one_of(
            st.just({}),
            sized(
                **{
                    f"{prefix}term_unit": codes("DAYS", "WEEK", "MNTH", "YEAR"),
                    f"{prefix}term_value": st.integers(0, 999),
                }
            ),
        ),
    )


def single(prefix: str) -> st.SearchStrategy[Row]:
    """One underlying."""
    return st.one_of(sized(**{f"{prefix}isin": isin}), index(prefix))


def basket(place: str) -> st.SearchStrategy[list[Row]]:
    """Several underlyings: those with an ISIN of their own first, as the schema has them."""
    member = st.one_of(sized(isin=isin), index(""))
    return st.lists(member, min_size=1, max_size=4).map(
        lambda rows: [
            {"place": place, **row} for row in sorted(rows, key=lambda r: "isin" not in r)
        ]
    )


@st.composite
def underlying(draw: st.DrawFn) -> tuple[Row, list[Row]]:
    """What a derivative is about: one thing, a basket, or the legs of a swap."""
    kind = draw(codes("single", "basket", "swap"))
    if kind == "single":
        return draw(single("underlying_")), []
    if kind == "basket":
        return {}, draw(basket("UNDERLYING"))
    row: Row = {}
    members: list[Row] = []
    for leg in draw(st.sampled_from((("in",), ("out",), ("in", "out")))):
        if draw(st.booleans()):
            row |= draw(single(f"swap_{leg}_"))
        else:
            members += draw(basket(f"SWAP_{leg.upper()}"))
    return row, members


_DESCRIPTION = together(
    sized(
        instrument_name=text(350), cfi=st.text(_CAPITALS, min_size=6, max_size=6),
        price_multiplier=number(18, 17), delivery_type=codes("PHYS", "OPTL", "CASH"),
    ),
    maybe(
        isin=isin, notional_currency=currency, maturity_date=day, expiry_date=day,
        option_type=codes("CALL", "PUTO", "OTHR"), rate_other_currency=currency,
        exercise_style=codes("AMER", "ASIA", "BERM", "EURO", "OTHR"), fx_other_currency=currency,
    ),
    st.one_of(st.just({}), price("strike")),
)  # fmt: skip
_USUAL = sized(
    executing_lei=lei, submitting_lei=lei, investment_firm=st.booleans(),
    order_transmitted=st.booleans(), capacity=codes("DEAL", "MTCH", "AOTC"), venue=mic,
    executed_at=st.datetimes(datetime(1900, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    securities_financing=st.booleans(),
)  # fmt: skip
_SOMETIMES = maybe(
    transmitting_buyer_lei=lei, transmitting_seller_lei=lei, notional_change=codes("INCR", "DECR"),
    net_amount=number(18, 5), membership_branch_country=country, venue_transaction_id=text(52),
    complex_trade_id=text(35), risk_reducing=st.booleans(),
    short_selling=codes("SESH", "SELL", "SSEX", "UNDI"),
)  # fmt: skip
_QUANTITY = st.one_of(
    sized(quantity_kind=st.just("UNIT"), quantity=number(18, 17, signed=True)),
    sized(
        quantity_kind=codes("NOMINAL", "MONETARY"), quantity=number(18, 5),
        quantity_currency=currency,
    ),
)  # fmt: skip
_UPFRONT: st.SearchStrategy[Row] = st.one_of(
    st.just({}),
    together(
        sized(upfront_payment=number(18, 5), upfront_currency=currency),
        maybe(upfront_positive=st.booleans()),
    ),
)


def _maker(name: str, *others: st.SearchStrategy[Row]) -> st.SearchStrategy[Row]:
    someone = {"branch_country": country, "person_id": text(35), "id_scheme": scheme}
    return st.one_of(
        sized(**{f"{name}_algorithm": text(50)}),
        sized(**{f"{name}_{key}": value for key, value in someone.items()}),
        *others,
    )


_DECISION: st.SearchStrategy[Row] = st.one_of(st.just({}), _maker("decision"))
_EXECUTION = _maker("execution", st.just({"execution_by_client": True}))
_FLAGS = st.tuples(
    st.lists(codes("OILQ", "NLIQ", "PRIC", "ILQD", "RFPT", "SIZE"), max_size=3),
    st.lists(codes("BENC", "ACTX", "ILQD", "LRGS", "TPAC"), max_size=3),
).map(
    lambda both: [
        {"kind": kind, "code": code}
        for kind, found in zip(("WAIVER", "POST_TRADE"), both, strict=True)
        for code in found
    ]
)


@st.composite
def transaction(draw: st.DrawFn) -> dict[str, Any]:
    """One transaction: its row, and the rows of the tables inside it."""
    if draw(st.integers(0, 9)) == 0:
        return {
            "row": {"action": "CANCEL", "executing_lei": draw(lei), "submitting_lei": draw(lei)}
        }
    parts = (_USUAL, _SOMETIMES, _QUANTITY, price("price"), _UPFRONT, _DECISION, _EXECUTION)
    row: Row = {"action": "NEW", **draw(together(*parts))}
    members: list[Row] = []
    if draw(st.booleans()):
        row["isin"] = draw(isin)
    else:
        about, members = draw(underlying())
        row |= draw(_DESCRIPTION) | about
    return {
        "row": row,
        "parties": draw(parties("BUYER")) + draw(parties("SELLER")),
        "flags": draw(_FLAGS),
        "basket_members": members,
    }


@st.composite
def report(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some transactions, each with an id of its own."""
    found = draw(st.lists(transaction(), min_size=1, max_size=4))
    ids = draw(st.lists(text(52), min_size=len(found), max_size=len(found), unique=True))
    for name, made in zip(ids, found, strict=True):
        made["row"]["transaction_id"] = name
    return found
