"""The table of the artifacts benchmark, and what it looks like as XML, JSON and XSD."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Row ``n`` of the table: identifiers, instants, decimals, dates, flags and NULLs, 40 columns.
_TEXTS = {
    "transaction_id": "'TX' || lpad(n::VARCHAR, 12, '0')",
    "executing_lei": "'529900' || upper(substr(md5(n::VARCHAR), 1, 12)) || '42'",
    "submitting_lei": "'5299000000000000BN42'",
    "buyer_lei": "'529900' || upper(substr(md5((n + 1)::VARCHAR), 1, 12)) || '17'",
    "seller_lei": "'529900' || upper(substr(md5((n + 2)::VARCHAR), 1, 12)) || '91'",
    "buyer_branch": "CASE WHEN n % 3 = 0 THEN 'DE' END",
    "seller_branch": "CASE WHEN n % 4 = 0 THEN 'FR' END",
    "buyer_decision_maker": "CASE WHEN n % 5 = 0 THEN '529900AAAAAAAAAAAA31' END",
    "seller_decision_maker": "CASE WHEN n % 7 = 0 THEN '529900BBBBBBBBBBBB87' END",
    "capacity": "['DEAL', 'MTCH', 'AOTC'][1 + n % 3]",
    "derivative_notional_change": "CASE WHEN n % 11 = 0 THEN 'INCR' END",
    "price_currency": "['EUR', 'USD', 'GBP', 'SEK'][1 + n % 4]",
    "venue": "['XETR', 'XPAR', 'XAMS', 'XOFF'][1 + n % 4]",
    "venue_transaction_id": "CASE WHEN n % 4 < 3 THEN 'V' || upper(md5(n::VARCHAR)[9:23]) END",
    "branch_country": "['DE', 'FR', 'NL', 'IT'][1 + n % 4]",
    "complex_trade_id": "CASE WHEN n % 13 = 0 THEN 'CX' || (n // 13) END",
    "isin": "'DE000' || upper(substr(md5((n % 5000)::VARCHAR), 1, 6)) || '5'",
    "instrument_name": "'Shares & rights, class ' || (n % 50)",
    "classification": "['ESVUFR', 'DBFTFB', 'EDSRFR'][1 + n % 3]",
    "underlying_isin": "CASE WHEN n % 6 = 0 THEN 'US0378331005' END",
    "investment_decision_algorithm": "CASE WHEN n % 2 = 0 THEN 'ALGO' || (n % 100) END",
    "execution_algorithm": "CASE WHEN n % 2 = 1 THEN 'EXEC' || (n % 90) END",
    "execution_country": "['DE', 'FR', 'NL', 'IT'][1 + n % 4]",
    "waiver": "CASE WHEN n % 9 = 0 THEN 'OILQ' END",
    "short_selling": "CASE WHEN n % 8 = 0 THEN 'SESH' END",
    "post_trade_flag": "CASE WHEN n % 10 = 0 THEN 'LRGS' END",
}
_DECIMALS = {
    "quantity": "(n % 100000 + 1)::DECIMAL(18, 5)",
    "price": "((n % 977 + 1) * 0.12345)::DECIMAL(18, 5)",
    "net_amount": "CASE WHEN n % 3 = 0 THEN (n % 977 * 17.5)::DECIMAL(18, 5) END",
    "up_front_payment": "CASE WHEN n % 17 = 0 THEN (n % 50 * 3.25)::DECIMAL(18, 5) END",
    "price_multiplier": "CASE WHEN n % 6 = 0 THEN 100::DECIMAL(18, 5) END",
    "strike": "CASE WHEN n % 6 = 0 THEN (n % 300 + 0.5)::DECIMAL(18, 5) END",
}
_OTHERS = {
    "executed_at": "TIMESTAMP '2026-03-31 07:00:00.123456' + to_microseconds(n * 997)",
    "reported_at": "TIMESTAMP '2026-03-31 18:00:00' + to_microseconds(n)",
    "trade_date": "DATE '2026-03-31' - (n % 2)::INTEGER",
    "maturity_date": "CASE WHEN n % 6 = 0 THEN DATE '2027-12-18' + (n % 900)::INTEGER END",
    "securities_financing": "n % 20 = 0",
    "commodity_derivative": "CASE WHEN n % 6 = 0 THEN n % 12 = 0 END",
    "transmitted": "n % 19 = 0",
    "line": "n",
}
_COLUMNS = _TEXTS | _DECIMALS | _OTHERS
COLUMNS = len(_COLUMNS)
#: The elements of a record: groups of columns as they stand together in a transaction report.
_GROUPS = {
    "TxId": ("transaction_id", "line"),
    "Parties": ("executing_lei", "submitting_lei"),
    "Buyer": ("buyer_lei", "buyer_branch", "buyer_decision_maker"),
    "Seller": ("seller_lei", "seller_branch", "seller_decision_maker"),
    "Transmission": ("transmitted",),
    "Trade": (
        "executed_at", "capacity", "quantity", "derivative_notional_change", "price",
        "price_currency", "net_amount", "venue", "venue_transaction_id", "branch_country",
        "up_front_payment", "complex_trade_id", "trade_date",
    ),
    "Instrument": (
        "isin", "instrument_name", "classification", "underlying_isin", "price_multiplier",
        "strike", "maturity_date",
    ),
    "Decision": (
        "investment_decision_algorithm", "execution_algorithm", "execution_country",
    ),
    "Flags": (
        "waiver", "short_selling", "post_trade_flag", "commodity_derivative",
        "securities_financing", "reported_at",
    ),
}  # fmt: skip


def element(column: str) -> str:
    """The name of a column's element."""
    return "".join(word.capitalize() for word in column.split("_"))


def groups() -> dict[str, dict[str, str]]:
    """The groups of a record; in each, the columns by their elements."""
    return {
        group: {element(column): column for column in columns} for group, columns in _GROUPS.items()
    }


def write_table(file: Path, rows: int) -> None:
    """Write the table."""
    import duckdb

    columns = ", ".join(f"{sql} AS {name}" for name, sql in _COLUMNS.items())
    settings = {"threads": 2, "memory_limit": "512MiB"}
    with duckdb.connect(config=settings) as connection:
        connection.execute(
            f"COPY (SELECT {columns} FROM range({rows}) AS r(n)) TO '{file}' "
            "(FORMAT parquet, COMPRESSION zstd)"
        )


def write_parties(file: Path, rows: int) -> None:
    """Write the parties of the table's rows: two each, a company or a person."""
    import duckdb

    person = "n % 5 = 0"
    columns = (
        "'TX' || lpad((n // 2)::VARCHAR, 12, '0') AS transaction_id, n % 2 = 0 AS buys, "
        f"CASE WHEN NOT {person} THEN '529900' || upper(md5(n::VARCHAR)[:12]) || '42' END AS lei, "
        f"CASE WHEN {person} THEN 'Ann' END AS first_name, "
        f"CASE WHEN {person} THEN 'Example & Sons' END AS last_name, "
        f"CASE WHEN {person} THEN DATE '1980-01-01' END AS born, 'DE' AS branch"
    )
    with duckdb.connect(config={"threads": 2, "memory_limit": "512MiB"}) as connection:
        connection.execute(
            f"COPY (SELECT {columns} FROM range({2 * rows}) AS r(n)) TO '{file}' "
            "(FORMAT parquet, COMPRESSION zstd)"
        )


def nested_layout() -> str:
    """The XML layout of the table with its parties inside each record."""
    party = """<{0} r:each="parties" r:on="transaction_id" r:when="{1}" r:required="true">
<Id r:choice="true"><Lei>{{lei}}</Lei>
<Person><First>{{first_name}}</First><Last>{{last_name}}</Last><Born>{{born}}</Born></Person></Id>
<Branch>{{branch}}</Branch></{0}>
"""
    parties = party.format("BuyerParty", "buys") + party.format("SellerParty", "not buys")
    return layout().replace("</Tx>", parties + "</Tx>")


def layout() -> str:
    """The XML layout of the table."""
    inside = "\n".join(
        f"<{group}>\n"
        + "\n".join(f"<{name}>{{{column}}}</{name}>" for name, column in columns.items())
        + f"\n</{group}>"
        for group, columns in groups().items()
    )
    return (
        '<Document xmlns="urn:example:transactions" xmlns:r="urn:openreg:layout:1">\n'
        f'<Tx r:each="rows" r:key="transaction_id">\n{inside}\n</Tx>\n</Document>\n'
    )


def schema() -> str:
    """The XML schema of the document."""
    flags = ("securities_financing", "commodity_derivative", "transmitted")
    kinds = dict.fromkeys(_DECIMALS, "Amount") | dict.fromkeys(flags, "Flag")
    kinds |= {"executed_at": "xs:dateTime", "reported_at": "xs:dateTime", "line": "xs:integer"}
    kinds |= {"trade_date": "xs:date", "maturity_date": "xs:date"}
    types = ""
    for group, columns in groups().items():
        inside = "".join(
            f'<xs:element name="{name}" type="{kinds.get(column, "Text")}" minOccurs="0"/>'
            for name, column in columns.items()
        )
        types += (
            f'<xs:complexType name="{group}"><xs:sequence>{inside}</xs:sequence></xs:complexType>'
        )
    inside = "".join(
        f'<xs:element name="{group}" type="{group}" minOccurs="0"/>' for group in groups()
    )
    return f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"
 xmlns="urn:example:transactions" targetNamespace="urn:example:transactions"
 elementFormDefault="qualified">
<xs:simpleType name="Text"><xs:restriction base="xs:string"><xs:minLength value="1"/>
<xs:maxLength value="52"/><xs:pattern value="[A-Za-z0-9 ,&amp;]+"/></xs:restriction></xs:simpleType>
<xs:simpleType name="Amount"><xs:restriction base="xs:decimal"><xs:totalDigits value="18"/>
<xs:fractionDigits value="5"/></xs:restriction></xs:simpleType>
<xs:simpleType name="Flag"><xs:restriction base="xs:boolean"><xs:pattern value="true|false"/>
</xs:restriction></xs:simpleType>{types}
<xs:complexType name="Tx"><xs:sequence>{inside}</xs:sequence></xs:complexType>
<xs:element name="Document"><xs:complexType><xs:sequence>
<xs:element name="Tx" type="Tx" maxOccurs="unbounded"/></xs:sequence></xs:complexType></xs:element>
</xs:schema>
"""
