from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from openreg_airflow.errors import SpecError
from openreg_airflow.settings import BOUNDS, Settings
from openreg_airflow.transform.check import check
from openreg_airflow.transform.job import read_script
from openreg_airflow.transform.limits import check_bounds
from openreg_airflow.transform.runner.imports import refused
from openreg_airflow.transform.spec import Limits, TransformSection

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "def transform(inputs, context):\n    return inputs['trades']\n"


def problems(folder: Path, source: str | bytes) -> list[tuple[str, int | None]]:
    raw = source.encode() if isinstance(source, str) else source
    (folder / "transform.py").write_bytes(raw)
    return [(p.message, p.line) for p in check(TransformSection(), folder)]


@pytest.mark.parametrize(
    "source",
    [
        GOOD,
        "\ufeff" + GOOD,
        "def transform(inputs, context, more=1, *, other=2): return 1",
        "def transform(*arguments): return 1",
        "def transform(inputs, /, context): return 1",
        "from dateutil import transform",
        "from pandas import build as transform",
        "transform = lambda inputs, context: inputs",
        "def _a(x, y): return x\nif True:\n    transform = _a",
        "def transform(inputs, context): yield inputs['trades']",
    ],
)
def test_right_script_has_no_problem(tmp_path: Path, source: str) -> None:
    assert problems(tmp_path, source) == []


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("", "there is no function transform", 1),
        ("def Transform(inputs, context): return 1", "there is no function transform", 1),
        ("import json\ndef transform(inputs: return 1", "invalid syntax", 2),
        ("x = 1\nasync def transform(inputs, context): return 1", "transform is async", 2),
        (
            "x = 1\n\ndef transform(inputs): return 1",
            "transform(inputs) cannot be called with inputs and context",
            3,
        ),
        (
            "def transform(a, b, c): return 1",
            "transform(a, b, c) cannot be called with inputs and context",
            1,
        ),
        (
            "def transform(a, b, *, c): return 1",
            "transform(a, b, *, c) cannot be called with inputs and context",
            1,
        ),
        ("def transform(inputs, context): inputs.clear()", "transform returns nothing", 1),
        (b"x = 1\n# \xff\n", "not UTF-8", 2),
        ("def transform(inputs, context):\nreturn 1", "expected an indented block", 2),
    ],
)
def test_fault_of_a_script_is_found_with_its_line(
    tmp_path: Path, source: str | bytes, message: str, line: int
) -> None:
    ((found, at),) = problems(tmp_path, source)

    assert found.startswith(message)
    assert at == line


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import subprocess", ["subprocess"]),
        ("import json, os.path as path, socket", ["os.path", "socket"]),
        ("from urllib import parse, request", ["urllib.request"]),
        ("from urllib.request import urlopen", ["urllib.request"]),
        ("from multiprocessing.pool import *", ["multiprocessing.pool"]),
        ("import requests", ["requests"]),
        ("from sklearn import linear_model", ["sklearn"]),
        ("__import__('socket')", ["socket"]),
        ("__import__('json'); print(__import__)", []),
        ("import pandas as pd, numpy, pyarrow.compute, lxml.etree, dateutil.tz", []),
        ("from urllib import parse; from xml.etree import ElementTree", []),
        ("from __future__ import annotations; import decimal, re, datetime, zoneinfo", []),
    ],
)
def test_forbidden_import_is_found_with_its_line(
    tmp_path: Path, line: str, found: list[str]
) -> None:
    source = (
        f"{line}\n\ndef transform(inputs, context):\n    {line.rpartition('; ')[2]}\n    return 1\n"
    )
    if "*" in line:
        source = source.replace("*\n    return", "Pool\n    return")

    expected = [(f"{name} may not be imported", at) for at in (1, 4) for name in found]
    assert sorted(problems(tmp_path, source)) == sorted(expected)


def test_script_cannot_import_its_neighbours(tmp_path: Path) -> None:
    assert problems(tmp_path, f"from . import rates\n{GOOD}") == [
        ("a script stands alone and has nothing beside it to import", 1)
    ]


def test_admin_s_list_counts_from_the_environment_and_from_airflow_cfg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"import os\nimport pandas\n{GOOD}"
    config = tmp_path / "airflow.cfg"
    config.write_text("[openreg]\nsandbox_imports = os, polars 100%\n")
    monkeypatch.setenv("AIRFLOW_CONFIG", str(config))
    assert problems(tmp_path, source) == [("pandas may not be imported", 2)]

    monkeypatch.setenv("AIRFLOW__OPENREG__SANDBOX_IMPORTS", "*")
    assert problems(tmp_path, source) == []


def test_module_may_be_allowed_without_its_package() -> None:
    assert list(refused("lxml", ["etree"], ["lxml.etree"])) == []
    assert list(refused("lxml.etree", [], ["lxml.etree"])) == []
    assert list(refused("lxml", [], ["lxml.etree"])) == ["lxml"]
    assert list(refused("lxml", ["etree", "html"], ["lxml.etree"])) == ["lxml"]


def test_null_bytes_are_no_python(tmp_path: Path) -> None:
    ((message, _),) = problems(tmp_path, GOOD + "\0")

    assert "null bytes" in message


def test_missing_script_is_a_fault_of_the_spec(tmp_path: Path) -> None:
    (problem,) = check(TransformSection(script="other.py"), tmp_path)

    assert problem.message == "there is no file other.py"
    assert problem.keys == ("script",)


def test_script_that_cannot_be_read_fails_the_task(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"there is no file transform\.py"):
        read_script(TransformSection(), tmp_path)

    (tmp_path / "transform.py").write_bytes(b"\xff")
    with pytest.raises(SpecError, match=r"cannot read transform\.py"):
        read_script(TransformSection(), tmp_path)


@pytest.mark.parametrize(
    "section",
    [
        {"script": "../transform.py"},
        {"script": "/etc/passwd"},
        {"limits": {"memory_mb": 10}},
        {"limits": {"cpus": 0}},
        {"limits": {"seconds": 0}},
        {"limits": {"processes": 1_000_000}},
        {"limits": {"memory": 1}},
        {"frames": "polars"},
        {"tables": {"Out": {}}},
        {"tables": {"out": {"columns": {"a": "money"}}}},
        {"parameters": {"a": [1]}},
        {"image": "mine"},
        {"network": "host"},
    ],
)
def test_section_with_a_wrong_value_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TransformSection.model_validate(section)


SETTINGS = Settings(
    spec_folders=(),
    workspace="",
    workspace_conn_id=None,
    store_url="",
    schema_folders=(),
    sandbox="docker",
    sandbox_image="",
    docker_conn_id=None,
    sandbox_imports=(),
    sandbox_packages=(),
    max_memory_mb=2048,
    max_cpus=2,
    max_seconds=600,
    max_processes=256,
    max_tmp_mb=100,
    max_output_mb=3000,
)


def test_limits_up_to_the_installation_s_are_taken() -> None:
    check_bounds(Limits(memory_mb=2048, cpus=2, seconds=600), SETTINGS)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(memory_mb=2049), "transform.limits.memory_mb is 2049; .* at most 2048"),
        (Limits(cpus=2.5), r"transform.limits.cpus is 2\.5; .* at most 2"),
        (Limits(seconds=601), "transform.limits.seconds is 601; .* at most 600"),
        (Limits(processes=257), "transform.limits.processes is 257; .* at most 256"),
        (Limits(tmp_mb=101), "transform.limits.tmp_mb is 101; .* at most 100"),
        (Limits(output_mb=3001), "transform.limits.output_mb is 3001; .* at most 3000"),
    ],
)
def test_limit_above_the_installation_s_is_refused(limits: Limits, expected: str) -> None:
    with pytest.raises(SpecError, match=expected) as caught:
        check_bounds(limits, SETTINGS)

    assert "[openreg] max_" in (caught.value.hint or "")


def test_limit_above_the_installation_s_is_found_by_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "transform.py").write_text(GOOD)
    section = TransformSection(limits=Limits(memory_mb=8192, seconds=500))

    (problem,) = check(section, tmp_path)
    assert problem.message.startswith("transform.limits.memory_mb is 8192; ")
    assert problem.keys == ("limits", "memory_mb")

    monkeypatch.setenv("AIRFLOW__OPENREG__MAX_MEMORY_MB", "8192")
    monkeypatch.setenv("AIRFLOW__OPENREG__MAX_SECONDS", "499")
    assert [p.keys for p in check(section, tmp_path)] == [("limits", "seconds")]


def test_bounds_are_those_that_airflow_is_told() -> None:
    from openreg_airflow.provider import get_provider_info

    options = get_provider_info()["config"]["openreg"]["options"]
    assert {name: options[f"max_{name}"]["default"] for name in BOUNDS} == BOUNDS
    assert set(BOUNDS) == set(Limits.model_fields)
