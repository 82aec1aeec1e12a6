from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openreg_airflow.artifacts.check import check
from tests.artifact_files import spec_of

LAYOUT = '<d xmlns:r="urn:openreg:layout:1">\n <e r:each="rows"><a>{a}</a></e></d>'


def xml(**fields: Any) -> Any:
    return spec_of(
        **{"format": "xml", "layout": "layout.xml", "filename": "{artifact}.xml"} | fields
    )


def test_good_artifacts_have_no_faults(tmp_path: Path) -> None:
    (tmp_path / "layout.xml").write_text(LAYOUT)
    section = {"a": xml(), "b": xml(), "c": spec_of(format="csv", filename="c.csv")}
    assert list(check(section, tmp_path)) == []


def test_faults_of_a_layout_have_file_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "layout.xml").write_text(LAYOUT.replace("{a}", "{a").replace("each", "eech"))
    unknown, brace, nothing = sorted(check({"a": xml()}, tmp_path), key=lambda p: -(p.line or 0))
    assert unknown.file == brace.file == nothing.file == tmp_path / "layout.xml"
    assert (unknown.line, unknown.column) == (2, 13)
    assert unknown.message.startswith("r:eech is unknown")
    assert (brace.line, brace.column) == (2, 22)
    assert "has no partner" in brace.message
    assert nothing.message.startswith("no element has r:each")


def test_unknown_columns_are_found_beside_faults_by_the_schema(tmp_path: Path) -> None:
    (tmp_path / "layout.xml").write_text(LAYOUT)
    (tmp_path / "d.xsd").write_text(
        '<s:schema xmlns:s="http://www.w3.org/2001/XMLSchema"><s:element name="d">'
        '<s:complexType><s:sequence><s:element name="other"/></s:sequence></s:complexType>'
        "</s:element></s:schema>"
    )
    section = {"a": xml(schema={"file": "d.xsd"})}
    found = [p.message for p in check(section, tmp_path, {"rows": {"id": "integer"}})]
    assert "<d> has no element <e> in the schema" in found
    assert "table rows has no column a" in found


def test_missing_layout_points_at_its_key(tmp_path: Path) -> None:
    [problem] = check({"a": xml()}, tmp_path, {"rows": {"id": "integer"}})
    assert problem.keys == ("a", "layout")
    assert problem.message == "layout layout.xml is missing"


def test_layout_that_does_not_repeat_the_table_points_at_the_table(tmp_path: Path) -> None:
    (tmp_path / "layout.xml").write_text(LAYOUT.replace("rows", "others"))
    [problem] = check({"a": xml()}, tmp_path)
    assert problem.keys == ("a", "table")


def test_two_artifacts_of_one_name_are_refused(tmp_path: Path) -> None:
    section = {
        "a": spec_of(format="csv", filename="{report_id}.csv"),
        "b": spec_of(format="csv", filename="{report_id}.csv"),
    }
    [problem] = check(section, tmp_path)
    assert problem.keys == ("b", "filename")
    assert problem.message == "artifacts a and b would have the same file name"


@pytest.mark.parametrize(
    ("format_", "what"),
    [("csv", "the header"), ("excel", "the first row"), ("jsonl", "a line"),
     ("parquet", "the file")],
)  # fmt: skip
def test_title_that_stands_twice_is_refused(tmp_path: Path, format_: str, what: str) -> None:
    section = {"a": spec_of(format=format_, columns={"x": {"title": "y"}, "y": {}})}
    [problem] = check(section, tmp_path)
    assert problem.keys == ("a", "columns", "y")
    assert problem.message == f"{what} would name 'y' twice"


@pytest.mark.parametrize("format_", ["csv", "excel"])
def test_titles_are_free_where_none_is_written(tmp_path: Path, format_: str) -> None:
    columns = {"x": {"title": "y"}, "y": {}}
    section = {"a": spec_of(format=format_, header=False, columns=columns)}
    assert list(check(section, tmp_path)) == []


def test_file_of_a_fault_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "layout.xml").write_text(LAYOUT.replace("{a}", "{a"))
    monkeypatch.chdir(tmp_path)
    [problem] = check({"a": xml()}, Path("report"))
    assert problem.file == tmp_path / "report" / "layout.xml"


def test_number_without_a_sequence_is_found_in_spec_and_layout(tmp_path: Path) -> None:
    (tmp_path / "layout.xml").write_text(LAYOUT.replace(" <e", " <n>{run.sequence}</n><e"))
    lines = {"format": "csv", "filename": "c.csv", "trailer_records": ["{run.replaces}"]}
    sequence = {"name": "esma"}
    problems = list(check({"a": xml(), "b": spec_of(**lines)}, tmp_path))
    assert [(p.keys, p.message) for p in problems] == [
        (("a",), "{run.sequence} is written, but the artifact has no sequence"),
        (("b",), "{run.replaces} is written, but the artifact has no sequence"),
    ]
    good = {"a": xml(sequence=sequence), "b": spec_of(**lines, sequence=sequence)}
    assert list(check(good, tmp_path)) == []


def test_references_name_columns_that_are_there(tmp_path: Path) -> None:
    inner = '<i r:each="parts" r:on="a">{b}</i>'
    layout = LAYOUT.replace('r:each="rows"', 'r:each="rows" r:key="a"')
    (tmp_path / "layout.xml").write_text(layout.replace("<a>", f"{inner}<a>"))
    about = {"column": "idd", "action": "kind", "corrections": "cancel_and_new", "ignore": ["at"]}
    columns = {"rows": {"a": "string", "id": "string", "kind": "string"}}
    unknown, ignored = check({"a": xml(references=about)}, tmp_path, columns)
    assert unknown.message == "table rows has no column idd"
    assert unknown.hint is not None
    assert "Did you mean id?" in unknown.hint
    assert unknown.keys == ("a", "references", "column")
    assert ignored.keys == ("a", "references", "ignore")
    plain = about | {"column": "id", "ignore": []}
    assert list(check({"a": xml(references=plain)}, tmp_path, columns)) == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [("string", None), ("any", None), ("integer", "number is integer, not text"), (None, "number")],
)
def test_record_id_of_derived_corrections_is_text(
    tmp_path: Path, kind: str | None, said: str | None
) -> None:
    (tmp_path / "layout.xml").write_text(LAYOUT)
    about = {"column": "a", "action": "b", "record": "number", "corrections": "cancel_and_new"}
    columns = {"a": "string", "b": "string"} | ({"number": kind} if kind else {})
    found = [p.message for p in check({"a": xml(references=about)}, tmp_path, {"rows": columns})]
    assert [said in message for message in found] == ([True] if said else [])
