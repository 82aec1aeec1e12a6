from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.layouts import json_template
from openreg_airflow.artifacts.produce import produce
from openreg_airflow.errors import ArtifactError, SpecError
from openreg_airflow.workspace import Workspace
from tests.artifact_files import dataset
from tests.writer_bench import RUN, spec_of, write

TEMPLATE = {
    "header": {
        "date": "{run.business_date}",
        "count": "{run.records}",
        "total": "{sum.price:.2f}",
        "version": 3,
        "file": "{run.filename}: {run.report_id}",
    },
    "records": [
        {
            "$each": "rows",
            "$key": "id",
            "$required": ["id"],
            "id": "{id}",
            "price": {"amount": "{price}", "currency": "{currency}"},
            "flags": ["{open}", "{currency}"],
            "closed": {"$when": "not open", "note": "closed"},
            "legs": [{"$each": "legs", "$on": "id", "n": "{n}", "of": "{{leg}}"}],
        }
    ],
}
ROWS = pa.table(
    {
        "id": ["a", "b", 'c"\\\n\x01é'],
        "price": pa.array([Decimal("1.50"), None, Decimal("-0.01")], pa.decimal128(18, 2)),
        "currency": ["EUR", None, None],
        "open": [True, False, None],
    }
)
LEGS = pa.table({"id": ["a", "a", "b"], "n": [1, 2, 3]})


def document(folder: Path, template: Any = TEMPLATE, **fields: Any) -> Any:
    tables = {"rows": fields.pop("rows", ROWS), "legs": fields.pop("legs", LEGS)}
    (folder / "template.json").write_text(json.dumps(template, indent=2), encoding="utf-8")
    outcome, path = write(
        folder, tables, **{"format": "json", "template": "template.json"} | fields
    )
    data = path.read_text(encoding="utf-8")
    return outcome, json.loads(data, parse_float=Decimal), data


def test_document_looks_as_its_template(tmp_path: Path) -> None:
    outcome, found, text = document(tmp_path, filename="x.json")
    assert outcome == "not checked: the spec names no schema"
    assert found == {
        "header": {
            "date": "2026-09-30",
            "count": 3,
            "total": Decimal("1.49"),
            "version": 3,
            "file": "x.json: daily",
        },
        "records": [
            {
                "id": "a",
                "price": {"amount": Decimal("1.5"), "currency": "EUR"},
                "flags": [True, "EUR"],
                "legs": [{"n": 1, "of": "{leg}"}, {"n": 2, "of": "{leg}"}],
            },
            {
                "id": "b",
                "flags": [False],
                "closed": {"note": "closed"},
                "legs": [{"n": 3, "of": "{leg}"}],
            },
            {
                "id": 'c"\\\n\x01é',
                "price": {"amount": Decimal("-0.01")},
                "flags": [],
                "legs": [],
            },
        ],
    }
    assert text.count("\n") == 5


def test_partly_known_text_is_refused(tmp_path: Path) -> None:
    template = [{"$each": "rows", "$key": "id", "label": "{id} at {price:.3f}"}]
    _, found, _ = document(tmp_path, template, rows=ROWS.slice(0, 1))
    assert found == [{"label": "a at 1.500"}]
    with pytest.raises(ArtifactError, match="of which only some have a value") as caught:
        document(tmp_path, template)
    assert caught.value.where == "record 2 (id b)"


def test_nulls_and_decimals_are_spelled_as_the_spec_says(tmp_path: Path) -> None:
    template = [
        {
            "$each": "rows",
            "p": "{price}",
            "both": {"c": "{currency}", "o": "{open}"},
            "t": {"$text": "{open}"},
        }
    ]
    _, found, _ = document(tmp_path, template, nulls="null", decimals="text")
    assert found == [
        {"p": "1.5", "both": {"c": "EUR", "o": True}, "t": "true"},
        {"p": None, "both": {"c": None, "o": False}, "t": "false"},
        {"p": "-0.01", "both": {"c": None, "o": None}, "t": None},
    ]


def test_document_without_records_has_an_empty_array(tmp_path: Path) -> None:
    _, found, _ = document(tmp_path, rows=ROWS.slice(0, 0), legs=LEGS.slice(0, 0))
    assert found["records"] == []
    assert found["header"]["count"] == 0


def test_null_of_a_required_member_names_record_and_member(tmp_path: Path) -> None:
    template = {
        "all": [{"$each": "rows", "$key": "id", "$required": ["c"], "c": "{currency}", "n": "{id}"}]
    }
    for nulls in ("omit", "null"):
        with pytest.raises(ArtifactError, match="all/0/c is mandatory and has no value") as caught:
            document(tmp_path, template, nulls=nulls)
        assert caught.value.where == "record 2 (id b)"


def test_record_without_its_child_rows_is_refused_where_they_are_required(tmp_path: Path) -> None:
    template = {
        "all": [
            {
                "$each": "rows",
                "$required": ["legs"],
                "id": "{id}",
                "legs": [{"$each": "legs", "$on": "id", "n": "{n}"}],
            }
        ]
    }
    with pytest.raises(ArtifactError, match="all/0/legs is mandatory and no row belongs to it"):
        document(tmp_path, template)


def test_child_row_of_no_record_is_refused(tmp_path: Path) -> None:
    orphan = pa.table({"id": ["z"], "n": [1]})
    with pytest.raises(ArtifactError, match="1 row belongs to no row of rows"):
        document(tmp_path, legs=orphan)


def test_unknown_column_names_the_line_of_the_template(tmp_path: Path) -> None:
    template = {"all": [{"$each": "rows", "id": "{idd}"}]}
    with pytest.raises(ArtifactError, match="table rows has no column idd") as caught:
        document(tmp_path, template)
    assert caught.value.where == "template.json, line 5"
    assert "Did you mean id?" in str(caught.value.hint)


def test_null_in_a_required_column_of_a_line_is_refused(tmp_path: Path) -> None:
    columns = {"id": {}, "currency": {"title": "ccy", "required": True}}
    with pytest.raises(ArtifactError, match="ccy is mandatory and has no value") as caught:
        write(tmp_path, {"rows": ROWS}, format="jsonl", columns=columns)
    assert caught.value.where == "record 2"


def test_split_documents_are_complete_each_and_keep_inner_rows_with_their_record(
    tmp_path: Path,
) -> None:
    (tmp_path / "template.json").write_text(json.dumps(TEMPLATE))
    spec = spec_of(
        format="json", template="template.json", filename="out_{part}.json", split={"records": 2}
    )
    tables = {"rows": ROWS, "legs": LEGS}
    artifact = produce(
        name="out",
        spec=spec,
        folder=tmp_path,
        run=RUN,
        tables={n: dataset(t, tmp_path / "in" / f"{n}.parquet") for n, t in tables.items()},
        workspace=Workspace(tmp_path / "workspace"),
    )
    first, second = (json.loads(Path(file.uri).read_bytes()) for file in artifact.files)
    assert (first["header"]["count"], second["header"]["count"]) == (2, 1)
    records = first["records"] + second["records"]
    assert [[leg["n"] for leg in record["legs"]] for record in records] == [[1, 2], [3], []]


texts = st.text(
    st.sampled_from('"\\/\n\t\x00\x7f{},:é😀 ') | st.characters(codec="utf-8"), max_size=6
)
rows = st.fixed_dictionaries(
    {
        "text": texts | st.none(),
        "number": st.decimals(-(10**20), 10**20, places=9) | st.none(),
        "whole": st.integers(-(2**63), 2**63 - 1) | st.none(),
        "flag": st.booleans() | st.none(),
        "day": st.dates(date(1, 1, 1)) | st.none(),
        "at": st.datetimes(datetime(1, 1, 1)) | st.none(),  # noqa: DTZ001
    }
)
TYPES = pa.schema(
    {
        "text": pa.string(),
        "number": pa.decimal128(38, 9),
        "whole": pa.int64(),
        "flag": pa.bool_(),
        "day": pa.date32(),
        "at": pa.timestamp("us"),
    }
)


@settings(deadline=None, max_examples=80)
@given(st.lists(rows, min_size=1, max_size=8), st.booleans())
def test_lines_read_back_as_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]], write_nulls: bool
) -> None:
    values = [{"row": n, **value} for n, value in enumerate(values)]
    schema = pa.schema({"row": pa.int64()} | {field.name: field.type for field in TYPES})
    table = pa.Table.from_pylist(values, schema)
    nulls = "null" if write_nulls else "omit"
    _, path = write(tmp_path_factory.mktemp("jsonl"), {"rows": table}, format="jsonl", nulls=nulls)
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    for line, expected in zip(lines, values, strict=True):
        found = json.loads(line, parse_float=Decimal)
        spelled = {
            name: value.isoformat(timespec="microseconds")
            if isinstance(value, datetime)
            else value.isoformat()
            if isinstance(value, date)
            else value
            for name, value in expected.items()
            if write_nulls or value is not None
        }
        assert found == spelled
        assert list(found) == [name for name in schema.names if name in spelled]


small = st.text(st.sampled_from('"\\{}é,'), max_size=3) | st.none()
nested = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.integers(-9, 9) | st.none(),
            "x": small,
            "y": small,
            "flag": st.booleans() | st.none(),
            "legs": st.lists(
                st.fixed_dictionaries({"keep": st.booleans(), "n": st.integers(0, 9), "t": small}),
                max_size=3,
            ),
        }
    ),
    min_size=1,
    max_size=6,
)
NESTED = {
    "id": "{id}",
    "o": {"x": "{x}", "y": "{y}"},
    "w": {"$when": "flag", "v": "{id}"},
    "l": ["{x}", "{a}"],
    "legs": [{"$each": "legs", "$on": "id", "$when": "keep", "n": "{n}", "t": "{t}"}],
    "a": "{a}",
}


def looks(value: Any, write_nulls: bool) -> Any:
    """What a template gives: without what is NULL, and without objects of which nothing is left."""
    if isinstance(value, dict):
        kept = {name: looks(inner, write_nulls) for name, inner in value.items()}
        kept = {n: v for n, v in kept.items() if v is not None or (write_nulls and n != "w")}
        return kept if kept or write_nulls else None
    if isinstance(value, list):
        found = [looks(item, write_nulls) for item in value]
        return [item for item in found if item is not None or write_nulls]
    return value


@settings(deadline=None, max_examples=40)
@given(values=nested, write_nulls=st.booleans(), lines=st.booleans())
def test_nested_records_look_as_their_template(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[dict[str, Any]],
    write_nulls: bool,
    lines: bool,
) -> None:
    folder = tmp_path_factory.mktemp("nested")
    outer = pa.schema(
        {"id": pa.int64(), "a": pa.int64(), "x": pa.string(), "y": pa.string(), "flag": pa.bool_()}
    )
    inner = pa.schema({"id": pa.int64(), "keep": pa.bool_(), "n": pa.int64(), "t": pa.string()})
    tables = {
        "rows": pa.Table.from_pylist([{"id": i, **value} for i, value in enumerate(values)], outer),
        "legs": pa.Table.from_pylist(
            [{"id": i, **leg} for i, value in enumerate(values) for leg in value["legs"]], inner
        ),
    }
    template = NESTED if lines else {"all": [{"$each": "rows", **NESTED}]}
    (folder / "t.json").write_text(json.dumps(template))
    form = {"format": "jsonl" if lines else "json", "nulls": "null" if write_nulls else "omit"}
    _, path = write(folder, tables, template="t.json", **form)
    text = path.read_text()
    found = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)["all"]
    assert found == [
        looks(
            {
                "id": i,
                "o": {"x": value["x"], "y": value["y"]},
                "w": {"v": i} if value["flag"] else None,
                "l": [value["x"], value["a"]],
                "legs": [{"n": leg["n"], "t": leg["t"]} for leg in value["legs"] if leg["keep"]],
                "a": value["a"],
            },
            write_nulls,
        )
        for i, value in enumerate(values)
    ]


def test_lines_have_titles_formats_and_nested_rows(tmp_path: Path) -> None:
    columns = {"price": {"title": "Price", "format": ".3f"}, "id": {"required": True}}
    _, path = write(tmp_path, {"rows": ROWS.slice(0, 2)}, format="jsonl", columns=columns)
    assert path.read_text() == '{"Price":1.500,"id":"a"}\n{"id":"b"}\n'
    template = {"id": "{id}", "legs": [{"$each": "legs", "$on": "id", "n": "{n}"}]}
    (tmp_path / "line.json").write_text(json.dumps(template))
    _, path = write(
        tmp_path, {"rows": ROWS.slice(0, 2), "legs": LEGS}, format="jsonl", template="line.json"
    )
    assert path.read_text() == (
        '{"id":"a","legs":[{"n":1},{"n":2}]}\n{"id":"b","legs":[{"n":3}]}\n'
    )


def test_number_that_json_cannot_carry_names_record_and_column(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "rate": [0.1, float("nan")]})
    with pytest.raises(ArtifactError, match="nan is not a number") as caught:
        write(tmp_path, {"rows": table}, format="jsonl")
    assert str(caught.value.where).startswith("record 2, rate")
    assert str(caught.value.where).endswith("column rate")


def test_exact_numbers_never_become_binary_fractions(tmp_path: Path) -> None:
    long = Decimal("12345678901234567890.123456789012345678")
    table = pa.table({"a": pa.array([long], pa.decimal128(38, 18)), "b": [2**63 - 1]})
    _, path = write(tmp_path, {"rows": table}, format="jsonl")
    assert path.read_text() == f'{{"a":{long},"b":9223372036854775807}}\n'


@pytest.mark.parametrize("threads", [1, 4])
def test_same_rows_give_the_same_bytes_whatever_the_threads(tmp_path: Path, threads: int) -> None:
    rows = pa.table({"id": list(range(20_000)), "t": [f"t{n}" for n in range(20_000)]})
    before = pa.cpu_count()
    pa.set_cpu_count(threads)
    try:
        _, path = write(tmp_path, {"rows": rows}, format="jsonl")
    finally:
        pa.set_cpu_count(before)
    expected = "".join(f'{{"id":{n},"t":"t{n}"}}\n' for n in range(20_000))
    assert path.read_text() == expected


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('{"a": }', (1, 7), "not JSON"),
        ('{"a": 1,\n "a": 2}', (1, 1), "'a' stands twice"),
        ('{"a": ["{x}"]}', (1, 1), "no object has $each"),
        ('{"a":\n [{"$each": "t", "b": "{c"}]}', (2, 23), "has no partner"),
        ('{"a":\n ["{x}", {"$each": "t", "b": 1}]}', (1, 2), "only entry of its array"),
        ('{"a": {"$each": "t", "b": 1}}', (1, 17), "stands in an array"),
        ('[{"$each": "t", "$evry": 1, "b": "{x:2f}"}]', (1, 26), "$evry is unknown"),
        ('[{"$each": "t", "b": [{"$each": "u", "c": 1}]}]', (1, 33), "needs $on"),
        ('[{"$each": "t", "$when": "a =", "b": 1}]', (1, 26), "expected a value"),
        ('[{"$each": "t", "$required": ["c"], "b": 1}]', (1, 17), "names c, which is no member"),
        ('[{"$each": "t", "b": "{run.row}"}]', (1, 22), "known are run.business_date"),
    ],
)
def test_faults_of_a_template_have_their_place(
    text: str, place: tuple[int, int], message: str
) -> None:
    _, faults = json_template.inspect(text)
    [fault] = [fault for fault in faults if message in fault.message]
    assert fault.place == place


def test_check_finds_a_missing_template_and_one_of_another_table(tmp_path: Path) -> None:
    section = {"a": spec_of(format="json", template="template.json")}
    [problem] = check(section, tmp_path)
    assert (problem.keys, problem.message) == (
        ("a", "template"),
        "template template.json is missing",
    )
    (tmp_path / "template.json").write_text('[{"$each": "others", "b": 1}]')
    [problem] = check(section, tmp_path)
    assert problem.keys == ("a", "table")
    with pytest.raises(SpecError, match=r"template nowhere\.json is missing"):
        json_template.document(tmp_path / "nowhere.json")


def test_instants_end_in_z(tmp_path: Path) -> None:
    at = pa.array([datetime(2026, 9, 30, 9, 0, tzinfo=UTC)], pa.timestamp("ms", "UTC"))
    _, path = write(tmp_path, {"rows": pa.table({"at": at})}, format="jsonl")
    assert path.read_text() == '{"at":"2026-09-30T09:00:00.000Z"}\n'
