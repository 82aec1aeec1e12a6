from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from openreg_airflow.records import (
    Artifact,
    Column,
    Dataset,
    FileRef,
    Receipt,
    Record,
    RuleResult,
    RunKey,
    Verdict,
)
from openreg_airflow.store_records import DeliveryAttempt

KINDS = [
    FileRef,
    Column,
    Dataset,
    RuleResult,
    Verdict,
    Artifact,
    Receipt,
    DeliveryAttempt,
    RunKey,
]
#: JSON has no NaN and no infinity, and no record holds one.
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
INSTANTS = st.datetimes(timezones=st.just(UTC))


#: What a JSON object may hold.
DATA = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


def records(kind: type[Record]) -> st.SearchStrategy[Record]:
    """Any record of a kind: every field is given, also those with a default."""
    special: dict[Any, st.SearchStrategy[Any]] = {float: NUMBERS, datetime: INSTANTS}
    if kind is Verdict:
        results = st.lists(records(RuleResult), max_size=4).map(tuple)
        return st.builds(Verdict, results=results, failures=st.none() | records(FileRef))
    return st.builds(
        kind,
        **{
            name: DATA
            if field.annotation == dict[str, Any]
            else special.get(field.annotation, st.from_type(field.annotation))
            for name, field in kind.model_fields.items()
            if field.annotation is not None
        },
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(data=st.data())
def test_a_record_survives_xcom(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(records(kind))
    text = json.dumps(record.model_dump(mode="json"), allow_nan=False)
    assert kind.model_validate(json.loads(text)) == record


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(data=st.data())
def test_a_record_is_immutable_and_knows_its_fields(
    kind: type[Record], data: st.DataObject
) -> None:
    record = data.draw(records(kind))
    first = next(iter(kind.model_fields))
    with pytest.raises(ValidationError):
        setattr(record, first, getattr(record, first))
    with pytest.raises(ValidationError):
        kind.model_validate(record.model_dump() | {"rows_themselves": []})


@given(records(Verdict))
def test_every_rule_passes_warns_or_blocks(verdict: Verdict) -> None:
    passed = [result for result in verdict.results if result.passed]
    assert len(passed) + len(verdict.blocking) + len(verdict.warnings) == len(verdict.results)
    assert all(result.severity != "warning" for result in verdict.blocking)
    assert all(r.severity != "blocking" or r.tolerated for r in verdict.warnings)
    assert not any(r.sets_aside for r in verdict.blocking)


@pytest.mark.parametrize(
    ("failed", "error", "passed"),
    [(0, None, True), (1, None, False), (0, "no such column", False), (1, "overflow", False)],
)
def test_a_rule_passes_only_without_failing_rows_and_without_an_error(
    failed: int, error: str | None, passed: bool
) -> None:
    result = RuleResult(
        rule_id="rule",
        title="A rule",
        severity="blocking",
        table="trades",
        failed=failed,
        checked=1,
        seconds=0.1,
        message="",
        error=error,
    )
    assert result.passed is passed
    assert Verdict(results=(result,)).blocking == (() if passed else (result,))


@given(st.dates())
def test_a_run_key_keeps_its_business_date_a_date(day: date) -> None:
    key = RunKey(report_id="positions", business_date=day, run_id="manual__1")
    assert key.model_dump(mode="json")["business_date"] == day.isoformat()
    assert RunKey.model_validate(key.model_dump(mode="json")).business_date == day
