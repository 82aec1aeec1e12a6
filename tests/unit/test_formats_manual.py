"""The examples of docs/formats.md are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from openreg_airflow.artifacts.layouts import json_template
from openreg_airflow.artifacts.spec import ArtifactSpec
from openreg_airflow.artifacts.writer import known_formats
from openreg_airflow.yaml_source import parse

SPEC: TypeAdapter[Any] = TypeAdapter(ArtifactSpec)
TEXT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
TEMPLATES = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_a_section_of_a_spec(example: str) -> None:
    [fields] = parse(example)["artifacts"].values()
    assert SPEC.validate_python(fields).format == fields["format"]


def test_every_format_has_an_example() -> None:
    shown = {re.search(r"format: ([a-z-]+)", example)[1] for example in EXAMPLES}  # type: ignore[index]
    assert shown | {"xml"} == set(known_formats())


def test_templates_have_no_faults() -> None:
    assert TEMPLATES
    for template in TEMPLATES:
        assert json_template.inspect(template)[1] == []
