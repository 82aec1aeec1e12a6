"""The examples of docs/delivery.md are right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec
from openreg_airflow.deliver.check import check
from openreg_airflow.deliver.registry import channel_names, load_channel
from openreg_airflow.deliver.routing import FACTS
from openreg_airflow.deliver.spec import DeliverSection, RouteRetries, RouteSpec
from openreg_airflow.yaml_source import parse

TEXT = (Path(__file__).parents[2] / "docs" / "delivery.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
CONNECTIONS = [json.loads(found) for found in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]


def sections() -> list[DeliverSection]:
    return [DeliverSection.model_validate(parse(example)["deliver"]) for example in EXAMPLES]


@pytest.mark.parametrize("section", sections())
def test_example_is_a_section_without_faults(section: DeliverSection) -> None:
    assert list(check(section, Path())) == []


def test_every_channel_has_an_example_and_a_connection() -> None:
    routes = [route for section in sections() for route in section.routes.values()]
    # FTP without TLS is told of, and not shown.
    assert {route.channel for route in routes} == set(channel_names()) - {"ftp"}
    for name in channel_names():
        known = load_channel(name).connection_types
        assert any(connection["conn_type"] in known for connection in CONNECTIONS), name


def test_every_field_and_fact_is_told_of() -> None:
    told = set(re.findall(r"`([a-z0-9_]+)`", TEXT))
    for spec in (RouteSpec, RouteRetries, AcknowledgementSpec):
        assert set(spec.model_fields) <= told
    assert set(FACTS) <= told
