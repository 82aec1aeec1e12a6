from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from openreg_airflow.deliver.check import check
from openreg_airflow.deliver.registry import channel_names, load_channel
from openreg_airflow.deliver.spec import DeliverSection, RouteSpec
from openreg_airflow.errors import SpecError


def section(**routes: dict[str, Any]) -> DeliverSection:
    return DeliverSection.model_validate(
        {"routes": {name: {"channel": "sftp"} | spec for name, spec in routes.items()}}
    )


def problems(spec: DeliverSection) -> list[tuple[tuple[str | int, ...], str, str | None]]:
    return [(p.keys, p.message, p.hint) for p in check(spec, Path())]


def test_route_delivers_all_artifacts_to_the_login_folder_unless_told_otherwise() -> None:
    [route] = section(regulator={"connection": "regulator_sftp"}).routes.values()

    assert (route.folder, route.artifacts, route.verify) == (".", None, "size")
    assert problems(section(regulator={"connection": "regulator_sftp"})) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"folder": "../elsewhere"},
        {"folder": "in/../../etc"},
        {"folder": "in\\mifir"},
        {"folder": "in\nmifir"},
        {"folder": ""},
        {"connection": "two words"},
        {"artifacts": []},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("inf")},
        {"verify": "never"},
        {"overwrite": True},
    ],
)
def test_wrong_value_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RouteSpec.model_validate({"channel": "sftp", "connection": "regulator_sftp"} | wrong)


def test_section_without_routes_is_refused() -> None:
    with pytest.raises(ValidationError):
        DeliverSection.model_validate({"routes": {}})


def test_unknown_channel_is_found_with_the_nearest_name() -> None:
    spec = section(regulator={"connection": "c", "channel": "sftpp"})

    [(keys, message, hint)] = problems(spec)

    assert keys == ("routes", "regulator", "channel")
    assert "sftpp" in message
    assert hint == "Did you mean sftp?"


def test_artifact_named_twice_is_found_at_its_second_mention() -> None:
    spec = section(regulator={"connection": "c", "artifacts": ["one", "two", "one"]})

    [(keys, message, _)] = problems(spec)

    assert keys == ("routes", "regulator", "artifacts", 2)
    assert "one" in message


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"folder": "in"}, 1),
        ({"folder": "./in/"}, 1),
        ({"folder": "/in"}, 0),
        ({"folder": "in", "connection": "d"}, 0),
        ({"folder": "in", "artifacts": ["b"]}, 0),
        ({"folder": "in", "artifacts": ["b", "a"]}, 1),
    ],
)
def test_two_routes_to_one_place_are_found(other: dict[str, Any], found: int) -> None:
    spec = section(
        first={"connection": "c", "folder": "in", "artifacts": ["a"]},
        second={"connection": "c"} | other,
    )

    assert len(problems(spec)) == found


@pytest.mark.parametrize(
    ("condition", "place", "said"),
    [
        ("records > 0 and recrods < 9", "recrods", "recrods"),
        ("bytes > 0 and status == 3", "3", "string"),
        ("records", "records", ""),
        ("records > ", "", ""),
        ("__import__('os')", "__import__", ""),
    ],
)
def test_wrong_condition_is_pointed_at(condition: str, place: str, said: str) -> None:
    spec = section(regulator={"connection": "c", "when": condition})

    [(keys, message, hint)] = problems(spec)

    assert keys == ("routes", "regulator", "when")
    first, quoted, pointer = message.splitlines()
    assert said in first
    assert condition.strip() in quoted
    if place:
        assert pointer.index("^") - quoted.index(condition) == condition.index(place)
    assert hint


def test_unknown_fact_is_found_with_the_nearest_name() -> None:
    [(_, _, hint)] = problems(section(regulator={"connection": "c", "when": "byts > 0"}))
    assert "bytes" in (hint or "")


@pytest.mark.parametrize(
    ("second", "found"),
    [
        ({"artifacts": ["b"]}, "have no artifact in common"),
        ({"artifacts": ["a", "b"]}, None),
        ({}, None),
    ],
)
def test_stand_in_has_an_artifact_to_stand_in_for(
    second: dict[str, Any], found: str | None
) -> None:
    spec = section(
        first={"connection": "c", "artifacts": ["a"]},
        second={"connection": "d", "instead_of": "first"} | second,
    )

    said = problems(spec)

    assert [keys for keys, _, _ in said] == [("routes", "second", "instead_of")] * bool(found)
    assert all(str(found) in message for _, message, _ in said)


def test_nothing_stands_in_for_a_route_that_may_fail() -> None:
    spec = section(
        first={"connection": "c", "required": False},
        second={"connection": "d", "instead_of": "first"},
    )

    [(keys, message, hint)] = problems(spec)

    assert keys == ("routes", "second", "instead_of")
    assert "first is not required" in message
    assert "required" in (hint or "")


def test_two_routes_that_stand_in_for_one_would_both_deliver() -> None:
    spec = section(
        first={"connection": "c"},
        second={"connection": "d", "instead_of": "first"},
        third={"connection": "e", "instead_of": "first"},
    )

    [(keys, message, hint)] = problems(spec)

    assert keys == ("routes", "third", "instead_of")
    assert "second and third both stand in for first" in message
    assert "instead_of: second" in (hint or "")


def test_routes_stand_in_for_one_another_in_turn_and_for_other_artifacts() -> None:
    turn = section(
        first={"connection": "c"},
        second={"connection": "d", "instead_of": "first"},
        third={"connection": "e", "instead_of": "second"},
    )
    apart = section(
        first={"connection": "c", "artifacts": ["a", "b"]},
        second={"connection": "d", "instead_of": "first", "artifacts": ["a"]},
        third={"connection": "e", "instead_of": "first", "artifacts": ["b"]},
    )

    assert problems(turn) == problems(apart) == []


def test_unknown_parser_of_feedback_names_those_installed() -> None:
    answer = {"pattern": "FB_*", "parser": "smoke_signal"}
    [(keys, message, hint)] = problems(
        section(regulator={"connection": "c", "acknowledgement": answer})
    )

    assert keys == ("routes", "regulator", "acknowledgement", "parser")
    assert "smoke_signal" in message
    assert "auth031" in (hint or "")


@pytest.mark.parametrize("channel", ["mail", "https"])
def test_an_answer_needs_a_channel_that_hears(channel: str) -> None:
    def route(**answer: Any) -> dict[str, Any]:
        return {"connection": "c", "channel": channel, "acknowledgement": {"pattern": "*"} | answer}

    [(keys, message, hint)] = problems(section(regulator=route()))
    assert keys == ("routes", "regulator", "acknowledgement")
    assert f"channel {channel} cannot fetch files" in message
    assert "channel" in (hint or "")
    assert problems(section(regulator=route(connection="d", channel="sftp"))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"pattern": "in/FB_*"},
        {"pattern": "FB_{name}"},
        {"pattern": "FB_{stem"},
        {"pattern": "FB_{stem:%Y}"},
        {"pattern": ""},
        {"parser": "csv"},
        {"parser": "xml", "form": {"reference": "a", "status": "b"}},
        {"form": {"reference": "a", "status": "b"}},
        {"channel": "sftp"},
        {"poll_seconds": 0},
        {"original": "{who}"},
        {"folder": "out/../../etc"},
    ],
)
def test_wrong_acknowledgement_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        section(regulator={"connection": "c", "acknowledgement": {"pattern": "FB_*"} | wrong})


@pytest.mark.parametrize("speed", [0, 0.001, -1, float("nan")])
def test_speed_that_would_take_for_ever_is_refused(speed: float) -> None:
    with pytest.raises(ValidationError):
        section(regulator={"connection": "c", "mib_per_second": speed})


def test_channels_are_found_by_entry_point() -> None:
    assert "sftp" in channel_names()
    assert load_channel("sftp").connection_types == ("sftp", "ssh")


def test_unknown_channel_names_those_installed() -> None:
    with pytest.raises(SpecError, match="pigeon") as caught:
        load_channel("pigeon")
    assert "sftp" in (caught.value.hint or "")


def test_spec_and_check_import_nothing_heavy() -> None:
    code = (
        "import sys, openreg_airflow.deliver.spec, openreg_airflow.deliver.check\n"
        "print([n for n in ('asyncssh', 'sqlalchemy', 'airflow', 'pyarrow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
