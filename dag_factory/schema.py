"""The JSON Schema of ``report.yaml``, for editors; generated from the models."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from dag_factory.report import VERSION, ReportSpec

FILE_NAME = "report.schema.json"


def json_schema() -> dict[str, Any]:
    """The schema as plain data."""
    schema = ReportSpec.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:openreg:report:{VERSION}",
        **schema,
        "title": "OpenReg report spec",
    }


def rendered() -> str:
    """The schema as it is kept in the repository."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def kept() -> str:
    """The schema that lies beside this module."""
    return files("dag_factory").joinpath(FILE_NAME).read_text(encoding="utf-8")
