from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from openreg_airflow.mappings.spec import MapStep, steps_of

STEP: dict[str, Any] = {
    "table": "trades",
    "set": "venues",
    "key": ["book"],
    "fill": {"venue_mic": "mic"},
}


def test_step_fails_on_unmapped_values_unless_it_says_otherwise() -> None:
    step = MapStep.model_validate(STEP)

    assert (step.unmapped, step.phase, step.as_of) == ("fail", "transformed", None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unmapped": "default"}, "default gives a value for each column of fill"),
        (
            {"unmapped": "default", "default": {"other": "X"}},
            "default gives a value for each column of fill",
        ),
        ({"default": {"venue_mic": "X"}}, "default goes with unmapped: default"),
        ({"unmapped": "default", "default": {"venue_mic": 0.1}}, "a number with a point in quotes"),
        ({"unmapped": "original", "key": ["a", "b"]}, "original goes with one key"),
        ({"unmapped": "guess"}, "'set_aside'"),
        ({"key": []}, "at least 1 item"),
        ({"fill": {}}, "at least 1 item"),
        ({"set": "Venues"}, "match pattern"),
        ({"phase": "before"}, "'source' or 'transformed'"),
        ({"asof": "day"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_step_is_refused_with_its_reason(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MapStep.model_validate(STEP | changes)
    assert words in str(caught.value)


def test_steps_of_a_phase_keep_their_order() -> None:
    steps = {
        name: MapStep.model_validate(STEP | {"phase": phase})
        for name, phase in (("b", "source"), ("a", "transformed"), ("c", "source"))
    }

    assert [name for name, _ in steps_of(steps, "source")] == ["b", "c"]
