"""The ways of evaluating the benchmark's rules.

A way is a function without arguments that gives a function from the Parquet file to the number of
failing rows of each rule.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.validate_rules import (
    BUSINESS_DATE,
    CAPACITIES,
    COUNTRIES,
    CURRENCIES,
    ISIN,
    LEI,
    MOST_PRICE,
    RULES,
    SIDES,
    TOLERANCE,
    VENUES,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def ours() -> Callable[[Path], dict[str, int]]:
    """Our rules, as ValidateOperator runs them: the fenced process starts before all else."""
    from openreg_airflow.validate.fence import Fence

    def validate(file: Path) -> dict[str, int]:
        with tempfile.TemporaryDirectory() as name, Fence(scratch := Path(name)) as fence:
            from openreg_airflow.validate.job import Job, Rule, TableFile
            from openreg_airflow.validate.spec import RuleSpec, ValidateLimits

            rules = tuple(_our_rule(Rule, RuleSpec, rule.name, rule.sql) for rule in RULES)
            # The record that a stage hands on with its table says how many rows it has.
            table = TableFile(path=file, rows=int(file.with_suffix(".rows").read_text()))
            results = fence.run(
                Job(
                    rules=rules,
                    tables={"trades": table},
                    business_date=BUSINESS_DATE,
                    limits=ValidateLimits(),
                    failing_rows=1000,
                    failures=scratch / "failing_rows.parquet",
                    scratch=scratch,
                )
            )
        for result in results:
            assert result.error is None, result.error  # noqa: S101
        return {result.rule_id: result.failed for result in results}

    return validate


def _our_rule(rule: Any, spec: Any, name: str, sql: str) -> Any:
    fields = {"title": name, "table": "trades", "sql": sql, "message": "{transaction_id} is wrong"}
    return rule(rule_id=name, spec=spec(**fields), sql=sql)


def _frame(file: Path) -> Any:
    """The table as pandas reads it."""
    import pandas

    return pandas.read_parquet(file)


def _float_frame(file: Path) -> Any:
    """The table with floats for decimals."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    fields = [
        pa.field(field.name, pa.float64() if pa.types.is_decimal(field.type) else field.type)
        for field in table.schema
    ]
    return table.cast(pa.schema(fields)).to_pandas()


def pandas() -> Callable[[Path], dict[str, int]]:
    """Boolean masks, as one writes them by hand."""
    import pandas  # noqa: F401 - imported for its cost
    import pyarrow.parquet  # noqa: F401

    def validate(file: Path) -> dict[str, int]:
        return {name: int(wrong.sum()) for name, wrong in _masks(_frame(file)).items()}

    return validate


def _masks(t: Any) -> dict[str, Any]:
    def unlike(column: str, pattern: str) -> Any:
        return t[column].notna() & ~t[column].str.fullmatch(pattern, na=False)

    def outside(column: str, values: tuple[str, ...]) -> Any:
        return t[column].notna() & ~t[column].isin(values)

    given = ("transaction_id", "isin", "executed_at", "price", "quantity")
    parties = ("executing_lei", "buyer_lei", "seller_lei")
    once = t.transaction_id.duplicated() & t.transaction_id.notna()
    on_venue = ~t.venue.isin(("XOFF", "SINT"))
    return (
        {f"{name}_given": t[name].isna() for name in given}
        | {
            "transaction_id_once": once,
            "price_positive": t.price <= 0,
            "quantity_positive": t.quantity <= 0,
            "price_possible": t.price >= MOST_PRICE,
        }
        | {f"{name}_shape": unlike(name, LEI) for name in parties}
        | {
            "isin_shape": unlike("isin", ISIN),
            "venue_known": outside("venue", VENUES),
            "currency_known": outside("currency", CURRENCIES),
            "capacity_known": outside("capacity", CAPACITIES),
            "side_known": outside("side", SIDES),
            "country_known": outside("country", COUNTRIES),
            "trade_date_reported": t.trade_date != BUSINESS_DATE,
            "settled_after_trade": t.settlement_date < t.trade_date,
            "buyer_not_seller": t.buyer_lei == t.seller_lei,
            "price_near_reference": (t.price - t.reference_price).abs() > t.reference_price / 10,
            "venue_code_on_venue": on_venue & t.venue_transaction_id.isna(),
            "own_account_decision": (t.capacity == "DEAL") & t.decision_maker.isna(),
            "notional_right": (t.notional - t.price * t.quantity).abs() > TOLERANCE,
        }
    )


def pandera_floats() -> Callable[[Path], dict[str, int]]:
    """The same with floats for decimals, which are quicker and not what was reported."""
    return pandera(_float_frame)


def pandera(read: Callable[[Path], Any] = _frame) -> Callable[[Path], dict[str, int]]:
    """A schema with checks of columns and of the frame, validated lazily to see every failure."""
    import pandera.pandas as pa
    import pyarrow.parquet  # noqa: F401
    from pandera.errors import SchemaErrors

    columns = {
        "price": [pa.Check.gt(0), pa.Check.lt(MOST_PRICE)],
        "quantity": [pa.Check.gt(0)],
        "isin": [pa.Check.str_matches(f"^{ISIN}$")],
        "venue": [pa.Check.isin(VENUES)],
        "currency": [pa.Check.isin(CURRENCIES)],
        "capacity": [pa.Check.isin(CAPACITIES)],
        "side": [pa.Check.isin(SIDES)],
        "country": [pa.Check.isin(COUNTRIES)],
        "trade_date": [pa.Check.eq(BUSINESS_DATE)],
    }
    for name in ("executing_lei", "buyer_lei", "seller_lei"):
        columns[name] = [pa.Check.str_matches(f"^{LEI}$")]
    names = ("settled_after_trade", "buyer_not_seller", "price_near_reference")
    names += ("venue_code_on_venue", "own_account_decision", "notional_right")
    frame_checks = [
        pa.Check(lambda t, name=name: ~_frame_mask(t, name), name=name) for name in names
    ]
    given = ("transaction_id", "isin", "executed_at", "price", "quantity")
    schema = pa.DataFrameSchema(
        {
            name: pa.Column(
                checks=columns.get(name, []),
                nullable=name not in given,
                unique=name == "transaction_id",
            )
            for name in dict.fromkeys((*given, *columns))
        },
        checks=frame_checks,
    )

    def validate(file: Path) -> dict[str, int]:
        try:
            schema.validate(read(file), lazy=True)
        except SchemaErrors as errors:
            return _pandera_counts(errors.failure_cases)
        return {}

    return validate


def _frame_mask(t: Any, name: str) -> Any:
    """The failing rows of a rule over several columns."""
    if name == "settled_after_trade":
        return t.settlement_date < t.trade_date
    if name == "buyer_not_seller":
        return t.buyer_lei == t.seller_lei
    if name == "price_near_reference":
        return (t.price - t.reference_price).abs() > t.reference_price / 10
    if name == "venue_code_on_venue":
        return ~t.venue.isin(("XOFF", "SINT")) & t.venue_transaction_id.isna()
    if name == "own_account_decision":
        return (t.capacity == "DEAL") & t.decision_maker.isna()
    return (t.notional - t.price * t.quantity).abs() > TOLERANCE


#: How pandera names its own checks, and what the rules that use them end in.
_PANDERA_NAMES = {
    "not_nullable": "given",
    "field_uniqueness": "once",
    "greater_than": "positive",
    "less_than": "possible",
    "str_matches": "shape",
    "isin": "known",
    "equal_to": "reported",
}


def _pandera_counts(cases: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (column, check), rows in cases.groupby(["column", "check"], dropna=False)["index"]:
        ending = _PANDERA_NAMES.get(check.partition("(")[0])
        # Of a repeated transaction id it tells both rows.
        times = 2 if ending == "once" else 1
        counts[f"{column}_{ending}" if ending else check] = rows.nunique() // times
    return counts


def great_expectations() -> Callable[[Path], dict[str, int]]:
    """A suite over a pandas frame; rules over several columns get a column of their own."""
    import great_expectations as gx
    import great_expectations.expectations as e
    import pyarrow.parquet  # noqa: F401

    expectations: dict[str, Any] = {}
    for name in ("transaction_id", "isin", "executed_at", "price", "quantity"):
        expectations[f"{name}_given"] = e.ExpectColumnValuesToNotBeNull(column=name)
    expectations["transaction_id_once"] = e.ExpectColumnValuesToBeUnique(column="transaction_id")
    for name, column, fields in (
        ("price_positive", "price", {"min_value": 0, "strict_min": True}),
        ("quantity_positive", "quantity", {"min_value": 0, "strict_min": True}),
        ("price_possible", "price", {"max_value": MOST_PRICE, "strict_max": True}),
    ):
        expectations[name] = e.ExpectColumnValuesToBeBetween(column=column, **fields)
    for name in ("executing_lei", "buyer_lei", "seller_lei", "isin"):
        expectations[f"{name}_shape"] = e.ExpectColumnValuesToMatchRegex(
            column=name, regex=f"^{ISIN if name == 'isin' else LEI}$"
        )
    for name, values in (
        ("venue", VENUES),
        ("currency", CURRENCIES),
        ("capacity", CAPACITIES),
        ("side", SIDES),
        ("country", COUNTRIES),
    ):
        expectations[f"{name}_known"] = e.ExpectColumnValuesToBeInSet(
            column=name, value_set=list(values)
        )
    expectations["trade_date_reported"] = e.ExpectColumnValuesToBeInSet(
        column="trade_date", value_set=[BUSINESS_DATE]
    )
    expectations["settled_after_trade"] = e.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A="settlement_date", column_B="trade_date", or_equal=True
    )
    derived = ("buyer_not_seller", "price_near_reference", "venue_code_on_venue")
    derived += ("own_account_decision", "notional_right")
    for name in derived:
        expectations[name] = e.ExpectColumnValuesToBeInSet(column=name, value_set=[False])
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("trades")
    batches = asset.add_batch_definition_whole_dataframe("all")
    suite = gx.ExpectationSuite("rules")
    for name, expectation in expectations.items():
        expectation.meta = {"name": name}
        suite.add_expectation(expectation)

    def validate(file: Path) -> dict[str, int]:
        frame = _frame(file)
        for name in derived:
            frame[name] = _frame_mask(frame, name)
        batch = batches.get_batch({"dataframe": frame})
        result = batch.validate(suite, result_format="BASIC")
        counts = {
            one.expectation_config.meta["name"]: int(one.result["unexpected_count"])
            for one in result.results
        }
        # Of a repeated transaction id it counts both rows.
        return counts | {"transaction_id_once": counts["transaction_id_once"] // 2}

    return validate


def per_row() -> Callable[[Path], dict[str, int]]:
    """A Python function a rule, called with every row as a dict."""
    import pyarrow.parquet as pq

    lei, isin = re.compile(LEI), re.compile(ISIN)

    def shape(name: str, pattern: re.Pattern[str]) -> Callable[[dict[str, Any]], bool]:
        return lambda row: row[name] is not None and pattern.fullmatch(row[name]) is None

    def missing(name: str) -> Callable[[dict[str, Any]], bool]:
        return lambda row: row[name] is None

    def outside(name: str, values: tuple[str, ...]) -> Callable[[dict[str, Any]], bool]:
        known = frozenset(values)
        return lambda row: row[name] not in known

    rules: dict[str, Callable[[dict[str, Any]], bool]] = {
        f"{name}_given": missing(name)
        for name in ("transaction_id", "isin", "executed_at", "price", "quantity")
    }
    rules |= {
        "price_positive": lambda r: r["price"] is not None and r["price"] <= 0,
        "quantity_positive": lambda r: r["quantity"] is not None and r["quantity"] <= 0,
        "price_possible": lambda r: r["price"] is not None and r["price"] >= MOST_PRICE,
    }
    for name in ("executing_lei", "buyer_lei", "seller_lei"):
        rules[f"{name}_shape"] = shape(name, lei)
    rules |= {
        "isin_shape": shape("isin", isin),
        "venue_known": outside("venue", VENUES),
        "currency_known": outside("currency", CURRENCIES),
        "capacity_known": outside("capacity", CAPACITIES),
        "side_known": outside("side", SIDES),
        "country_known": outside("country", COUNTRIES),
        "trade_date_reported": lambda r: r["trade_date"] != BUSINESS_DATE,
        "settled_after_trade": lambda r: r["settlement_date"] < r["trade_date"],
        "buyer_not_seller": lambda r: r["buyer_lei"] == r["seller_lei"],
        "price_near_reference": lambda r: (
            r["price"] is not None
            and r["reference_price"] is not None
            and abs(r["price"] - r["reference_price"]) > r["reference_price"] / 10
        ),
        "venue_code_on_venue": lambda r: (
            r["venue"] not in ("XOFF", "SINT") and r["venue_transaction_id"] is None
        ),
        "own_account_decision": lambda r: r["capacity"] == "DEAL" and r["decision_maker"] is None,
        "notional_right": lambda r: (
            r["notional"] is not None
            and r["price"] is not None
            and r["quantity"] is not None
            and abs(r["notional"] - r["price"] * r["quantity"]) > TOLERANCE
        ),
    }

    def validate(file: Path) -> dict[str, int]:
        failed = dict.fromkeys((*rules, "transaction_id_once"), 0)
        times: dict[str, int] = {}
        for batch in pq.ParquetFile(file).iter_batches():
            for row in batch.to_pylist():
                for name, wrong in rules.items():
                    if wrong(row):
                        failed[name] += 1
                identifier = row["transaction_id"]
                if identifier is not None:
                    times[identifier] = times.get(identifier, 0) + 1
        failed["transaction_id_once"] = sum(count > 1 for count in times.values())
        return failed

    return validate
