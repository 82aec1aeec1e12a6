from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from openreg_airflow.artifacts import filename
from openreg_airflow.artifacts.spec import ArtifactSpec, OtherArtifact
from openreg_airflow.artifacts.writer import known_formats, writer
from openreg_airflow.artifacts.writers.csv import CsvWriter
from openreg_airflow.errors import SpecError
from openreg_airflow.records import RunKey

SPEC: TypeAdapter[Any] = TypeAdapter(ArtifactSpec)
CSV = {"format": "csv", "table": "t", "filename": "a.csv"}
XML = {"format": "xml", "table": "t", "filename": "a.xml", "layout": "layout.xml"}
RUN = RunKey(report_id="daily", business_date=date(2026, 9, 3), run_id="r")


def test_schema_is_required_unless_the_spec_says_otherwise() -> None:
    spec = SPEC.validate_python(XML | {"schema": {"file": "a.xsd"}})
    assert spec.xsd.required
    assert SPEC.validate_python(XML).xsd is None


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        (CSV | {"delimeter": ";"}, "delimeter", "Extra inputs"),
        (CSV | {"delimiter": ";;"}, "delimiter", "expected one character"),
        (CSV | {"delimiter": '"'}, "csv", "delimiter and quote are both"),
        (CSV | {"null": ","}, "csv", "null ',' holds the delimiter"),
        (CSV | {"decimal_mark": ",", "quoting": "none"}, "csv", "and quoting is none"),
        (CSV | {"decimal_mark": ",", "trailer_records": ["T,{run.records},{sum.a:.2f}"]}, "csv",
         "no quotes stand around the sums in 'T,{run.records},{sum.a:.2f}': write another"),
        (CSV | {"encoding": "utf-9"}, "encoding", "not a text encoding"),
        (CSV | {"encoding": "base64"}, "encoding", "not a text encoding"),
        (CSV | {"columns": {"a": {"format": "%q"}}}, "format", "'%q' in format '%q' is unknown"),
        (CSV | {"columns": {}}, "columns", "at least 1 item"),
        (CSV | {"trailer_records": ["{count}"]}, 0, "write {run.records}, {sum.count}"),
        (CSV | {"trailer_records": ["{run.rows}"]}, 0, "known are run.business_date"),
        (CSV | {"trailer_records": ["a\nb"]}, 0, "a record is one line"),
        (CSV | {"header_records": ["{sum.a:2f}"]}, 0, "is not a format"),
        (CSV | {"format": "paper"}, "format", "no writer for format 'paper' is installed"),
        ({"table": "t", "filename": "a.csv"}, "format", "Field required"),
        (XML | {"layout": "../layout.xml"}, "layout", "leads out of the report's folder"),
        (XML | {"when_empty": "never"}, "when_empty", "Input should be"),
    ],
)  # fmt: skip
def test_wrong_section_is_refused(fields: dict[str, Any], place: str | int, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SPEC.validate_python(fields)
    [error] = caught.value.errors()
    assert error["loc"][-1] == place
    assert message in error["msg"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("DEMO_{business_date:%Y%m%d}.xml", "DEMO_20260903.xml"),
        ("{report_id}-{artifact}-{business_date}.csv", "daily-out-2026-09-03.csv"),
        ("{{{business_date:%d.%m.%Y 100%%}}}", "{03.09.2026 100%}"),
    ],
)
def test_filename_is_filled_in(template: str, expected: str) -> None:
    assert filename.render(template, RUN, "out") == expected


@pytest.mark.parametrize(
    "template",
    [
        "", ".", "..", "../a.csv", "a/b.csv", "a\\b.csv", "C:a.csv", ".hidden", "a\nb", "a\0b",
        "-rf", "a.csv.", " a", "x" * 201, "{unknown}", "{business_date.year}", "{business_date[0]}",
        "{artifact!r}", "{artifact:>9}", "{business_date:%H}", "{business_date:/}", "{", "}", "{}",
        "{0}", "{run.records}", "{business_date:%Y/%m}",
    ],
)  # fmt: skip
def test_unsafe_filename_is_refused(template: str) -> None:
    with pytest.raises(ValidationError):
        SPEC.validate_python(CSV | {"filename": template})


@given(st.text(st.sampled_from("{}:%/.abYmd") | st.characters(), max_size=30))
def test_no_template_gives_a_name_that_leads_elsewhere(template: str) -> None:
    try:
        name = filename.render(template, RUN, "out")
    except ValueError:
        return
    assert name not in ("", ".", "..")
    assert not set("/\\\0\n") & set(name)


def test_formats_are_found_through_entry_points() -> None:
    assert {"csv", "xml"} <= set(known_formats())
    assert isinstance(writer("csv"), CsvWriter)
    with pytest.raises(SpecError, match="no writer for format 'paper' is installed"):
        writer("paper")


@pytest.mark.parametrize(
    "fields", [CSV, XML, CSV | {"format": "other-one"}, CSV | {"format": "jsonl"}]
)
def test_json_schema_takes_each_format_once(fields: dict[str, Any]) -> None:
    jsonschema.validate(fields, SPEC.json_schema())


def test_format_of_another_package_takes_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "openreg_airflow.artifacts.writer.known_formats", lambda: ("csv", "tar", "xml")
    )
    fields = {"format": "tar", "table": "t", "filename": "a.txt", "options": {"width": 80}}
    spec = SPEC.validate_python(fields)
    assert isinstance(spec, OtherArtifact)
    assert spec.options == {"width": 80}


def test_reading_a_spec_imports_nothing_heavy() -> None:
    heavy = "pyarrow", "duckdb", "pandas", "numpy", "lxml"
    code = (
        "import sys, openreg_airflow.artifacts.spec, openreg_airflow.artifacts.check\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
