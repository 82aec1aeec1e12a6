from __future__ import annotations

import json
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.validity import json_schema
from openreg_airflow.errors import ArtifactError
from tests.writer_bench import spec_of, write

if TYPE_CHECKING:
    from pathlib import Path

RECORD = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "maxLength": 3},
        "amount": {"type": "number", "maximum": 10**18},
        "day": {"type": "string", "format": "date"},
    },
    "required": ["id", "amount"],
    "additionalProperties": False,
}
DOCUMENT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "all": {"type": "array", "items": {"$ref": "#/$defs/record"}, "minItems": 1},
    },
    "$defs": {"record": RECORD},
    "required": ["count", "all"],
}
TEMPLATE = {
    "count": "{run.records}",
    "all": [{"$each": "rows", "id": "{id}", "amount": "{amount}"}],
}


def rows(count: int, **wrong: Any) -> pa.Table:
    ids = [f"{n % 1000}" for n in range(count)]
    amounts = [Decimal(n) for n in range(count)]
    if wrong:
        ids[wrong["at"]] = wrong.get("id", "x")
        amounts[wrong["at"]] = wrong.get("amount", Decimal(1))
    return pa.table({"id": ids, "amount": pa.array(amounts, pa.decimal128(38, 2))})


def lines(folder: Path, table: pa.Table, schema: Any = RECORD) -> str:
    (folder / "s.json").write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return write(folder, {"rows": table}, format="jsonl", schema={"file": "s.json"})[0]


def document(folder: Path, table: pa.Table, schema: Any = DOCUMENT) -> str:
    (folder / "s.json").write_text(json.dumps(schema))
    (folder / "t.json").write_text(json.dumps(TEMPLATE))
    return write(
        folder, {"rows": table}, format="json", template="t.json", schema={"file": "s.json"}
    )[0]


def test_valid_lines_and_documents_pass(tmp_path: Path) -> None:
    assert lines(tmp_path, rows(3)) == "valid"
    assert document(tmp_path, rows(5000)) == "valid"


def test_invalid_line_names_record_place_and_reason(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match='"long" is longer than 3 characters') as caught:
        lines(tmp_path, rows(5, at=3, id="long"))
    assert caught.value.where == "record 4 (id long), id, schema s.json"


def test_invalid_record_of_a_long_document_is_found_with_its_number(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match='"long" is longer than 3 characters') as caught:
        document(tmp_path, rows(5000, at=4711, id="long"))
    assert caught.value.where == "record 4712 (id long), id, schema s.json"


def test_numbers_are_compared_exactly(tmp_path: Path) -> None:
    schema = json.dumps(RECORD).replace(str(10**18), "99999999999999999.99")
    assert lines(tmp_path, rows(1, at=0, amount=Decimal("99999999999999999.99")), schema)
    with pytest.raises(ArtifactError, match="greater than the maximum"):
        lines(tmp_path, rows(1, at=0, amount=Decimal("100000000000000000.00")), schema)


def test_demand_on_all_records_together_is_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_schema, "_LARGE", 1000)
    once = json.loads(json.dumps(DOCUMENT))
    once["properties"]["all"]["maxItems"] = 4000
    with caplog.at_level(logging.WARNING), pytest.raises(ArtifactError) as caught:
        document(tmp_path, rows(5000), once)
    assert caught.value.where == "all, schema s.json"
    assert "is read as a whole" in caplog.text


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (DOCUMENT, True),
        ({"properties": {"all": {"type": "array"}}}, True),
        ({"properties": {"all": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"items": {}}}}, True),
        ({"properties": {"all": {"uniqueItems": True}}}, False),
        ({"properties": {"all": {"minItems": 2}}}, False),
        ({"properties": {"all": {"contains": {}}}}, False),
        ({"properties": {"all": {"items": [{}]}}}, False),
        ({"properties": {"all": {}}, "allOf": [{"properties": {"all": {"maxItems": 1}}}]}, False),
        ({"properties": {"all": {"$ref": "other.json"}}}, False),
        ({"properties": {"some": {}}}, False),
        (True, False),
    ],
)
def test_records_are_held_apart_only_where_nothing_speaks_of_them_together(
    schema: Any, expected: bool
) -> None:
    assert json_schema.separable(schema, ("all",)) is expected


def test_schema_beside_the_schema_is_used_and_nothing_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "parts.json").write_text(json.dumps(RECORD))
    whole = {"$id": "https://authority.example/v1/whole.json", "$ref": "parts.json"}
    assert lines(tmp_path, rows(2), whole) == "valid"
    with pytest.raises(ArtifactError, match=r"absent\.json is not in") as caught:
        lines(tmp_path, rows(2), {"$ref": "https://authority.example/absent.json"})
    assert "beside it" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("schema", "message"),
    [("{", "is not JSON"), ('{"type": "strin"}', "cannot be used: .*strin")],
)
def test_schema_that_is_none_is_refused(tmp_path: Path, schema: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        lines(tmp_path, rows(1), schema)
    assert caught.value.where == str(tmp_path / "s.json")
    section = {"a": spec_of(format="jsonl", schema={"file": "s.json"})}
    [problem] = check(section, tmp_path)
    assert problem.keys == ("a", "schema")


def test_missing_schema_says_where_to_get_and_put_it_and_the_spec_decides(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"schema s\.json was not found in") as caught:
        write(
            tmp_path,
            {"rows": rows(1)},
            format="jsonl",
            schema={"file": "s.json"},
            schema_folders=(tmp_path / "shared",),
        )
    hint = str(caught.value.hint)
    assert f"from the authority that defines the format and put it into {tmp_path} or" in hint
    outcome, path = write(
        tmp_path, {"rows": rows(1)}, format="jsonl", schema={"file": "s.json", "required": False}
    )
    assert outcome == f"not checked: s.json was not found in {tmp_path}"
    assert path.exists()


def test_schema_of_the_shared_folder_is_found(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "s.json").write_text(json.dumps(RECORD))
    outcome, _ = write(
        tmp_path,
        {"rows": rows(1)},
        format="jsonl",
        schema={"file": "s.json"},
        schema_folders=(shared,),
    )
    assert outcome == "valid"
