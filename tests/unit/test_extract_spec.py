from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from openreg_airflow.extract.parameter import ParameterSpec
from openreg_airflow.extract.spec import ExtractSection, SourceSpec

SOURCE = {"connection": "trades", "sql": "trades.sql"}


def source(**changes: Any) -> SourceSpec:
    return SourceSpec.model_validate(SOURCE | changes)


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({"type": "date", "value": "2026-03-02"}, date(2026, 3, 2)),
        ({"type": "date", "value": date(2026, 3, 2)}, date(2026, 3, 2)),
        ({"type": "decimal", "value": "1000.50"}, Decimal("1000.50")),
        ({"type": "decimal", "value": 3}, Decimal(3)),
        ({"type": "integer", "value": -7}, -7),
        ({"type": "string", "value": "it's"}, "it's"),
        ({"type": "string", "values": ["b", "a"]}, ("b", "a")),
        ({"type": "integer", "values": [1, "2"]}, (1, 2)),
    ],
)
def test_parameter_is_bound_in_its_declared_type(given: dict[str, Any], bound: Any) -> None:
    value = ParameterSpec.model_validate(given).bound()

    assert value == bound
    assert type(value) is type(bound)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "decimal", "value": 0.1}, "binary number and not exact"),
        ({"type": "decimal", "value": "NaN"}, "not an exact number"),
        ({"type": "integer", "value": True}, "not a value"),
        ({"type": "integer", "value": "1.5"}, "not a whole number"),
        ({"type": "integer", "value": 2**63}, "at most 64 bits"),
        ({"type": "date", "value": "02.03.2026"}, "YYYY-MM-DD"),
        ({"type": "string", "value": 5}, "put it in quotes"),
        ({"type": "string", "value": "a\0b"}, "not text"),
        ({"type": "string", "values": []}, "at least 1"),
        ({"type": "string"}, "either value or values"),
        ({"type": "string", "value": "a", "values": ["b"]}, "either value or values"),
        ({"type": "text", "value": "a"}, "'string'"),
    ],
)
def test_parameter_of_another_type_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ParameterSpec.model_validate(given)


def test_business_date_is_given_to_every_query_and_cannot_be_declared() -> None:
    declared = {"limit": {"type": "integer", "value": 5}}

    assert source(parameters=declared).bind(date(2026, 3, 2)) == {
        "business_date": date(2026, 3, 2),
        "limit": 5,
    }
    with pytest.raises(ValidationError, match=":business_date is given to every query"):
        source(parameters={"business_date": {"type": "date", "value": "2026-01-01"}})


@pytest.mark.parametrize(
    "change",
    [
        {"sql": "../other/trades.sql"},
        {"sql": "/etc/passwd"},
        {"connection": "a b"},
        {"columns": {"price": "decimal(18)"}},
        {"timeout_seconds": 0},
        {"max_rows": 0},
        {"query": "SELECT 1"},
    ],
)
def test_source_that_cannot_be_meant_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        source(**change)


def test_section_needs_a_source() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        ExtractSection.model_validate({"sources": {}})
