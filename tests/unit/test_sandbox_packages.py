from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from openreg_airflow.transform.check import check
from openreg_airflow.transform.packages import image_name, not_allowed
from openreg_airflow.transform.spec import TransformSection

if TYPE_CHECKING:
    from pathlib import Path


def test_list_allows_any_version_or_one() -> None:
    allowed = ["openpyxl==3.1.5", "Et_XmlFile"]

    assert list(not_allowed({"openpyxl": "3.1.5", "et-xmlfile": "2.0.0"}, allowed)) == []
    assert list(not_allowed({"OpenPyXL": "3.1.4"}, allowed)) == ["OpenPyXL==3.1.4"]
    assert list(not_allowed({"scipy": "1.0"}, [])) == ["scipy==1.0"]


def test_image_is_addressed_by_its_set() -> None:
    one = image_name("host:5000/openreg-sandbox:v1", {"a": "1", "b.c": "2"})

    assert one.startswith("host:5000/openreg-sandbox:packages-")
    assert one == image_name("host:5000/openreg-sandbox:v1", {"b_C": "2", "A": "1"})
    assert one != image_name("host:5000/openreg-sandbox:v1", {"a": "1", "b.c": "3"})
    assert one != image_name("host:5000/openreg-sandbox:v2", {"a": "1", "b.c": "2"})
    assert image_name("host:5000/sandbox", {"a": "1"}).startswith("host:5000/sandbox:packages-")
    assert image_name("openreg-sandbox:latest", {}) == "openreg-sandbox:latest"


@pytest.mark.parametrize(
    "packages", [{"a": ">=1"}, {"a": "1.*"}, {"a": ""}, {"-r x": "1"}, {"a": "1 --pre"}, {"a": 1}]
)
def test_only_exact_versions_are_taken(packages: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TransformSection.model_validate({"packages": packages})


def test_check_finds_a_package_that_is_not_allowed_and_lets_allowed_ones_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "transform.py").write_text(
        "import et_xmlfile\ndef transform(inputs, context): return inputs['trades']\n"
    )
    spec = TransformSection(packages={"et-xmlfile": "2.0.0"})
    monkeypatch.setenv("AIRFLOW__OPENREG__SANDBOX_PACKAGES", "openpyxl")
    (problem,) = check(spec, tmp_path)
    assert problem.message == "package et-xmlfile==2.0.0 is not allowed in the sandbox"
    assert problem.keys == ("packages", "et-xmlfile")

    monkeypatch.setenv("AIRFLOW__OPENREG__SANDBOX_PACKAGES", "openpyxl, et-xmlfile")
    assert list(check(spec, tmp_path)) == []
