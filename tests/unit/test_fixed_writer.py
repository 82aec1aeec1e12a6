from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from openreg_airflow.errors import ArtifactError
from tests.writer_bench import spec_of, write

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, table: dict[str, Any], **fields: Any) -> str:
    encoding = fields.get("encoding", "ascii")
    _, path = write(folder, {"rows": pa.table(table)}, format="fixed", **fields)
    return path.read_bytes().decode(encoding)


def decimals(*values: str | None, digits: int = 18, scale: int = 2) -> pa.Array:
    exact = [None if value is None else Decimal(value) for value in values]
    return pa.array(exact, pa.decimal128(digits, scale))


def test_column_of_only_nulls_is_blank_whatever_the_field_is_for(tmp_path: Path) -> None:
    for values in (pa.nulls(2), decimals(None, None)):
        text = written(
            tmp_path,
            {"id": ["a", "b"], "amount": values},
            fields=[
                {"column": "id", "width": 1},
                {"column": "amount", "width": 4, "decimals": 2, "sign": "trailing"},
            ],
        )
        assert text == "a    \nb    \n"


def test_records_with_header_and_trailer(tmp_path: Path) -> None:
    text = written(
        tmp_path,
        {
            "account": ["A1", "B22"],
            "amount": decimals("1234.5", "-0.05"),
            "day": [date(2026, 9, 30), None],
            "open": [True, False],
            "n": [7, None],
        },
        filename="P.txt",
        line_end="crlf",
        record_length=34,
        fields=[
            {"text": "D"},
            {"column": "account", "width": 5},
            {"column": "amount", "width": 10, "decimals": 2, "sign": "trailing"},
            {"filler": 1},
            {"column": "day", "width": 8, "format": "%Y%m%d", "null": "00000000"},
            {"column": "open", "width": 1, "format": "Y/N"},
            {"column": "n", "width": 3},
        ],
        header_records=[
            [
                {"text": "H"},
                {"value": "run.business_date", "width": 8, "format": "%Y%m%d"},
                {"value": "run.filename", "width": 10, "align": "right"},
            ]
        ],
        trailer_records=[
            [
                {"text": "T"},
                {"value": "run.records", "width": 6},
                {"value": "run.lines", "width": 6, "pad": " "},
                {
                    "value": "sum.amount",
                    "width": 12,
                    "decimals": 2,
                    "decimal_mark": ",",
                    "sign": "leading",
                    "plus": "+",
                    "pad": " ",
                },
            ]
        ],
    )
    assert text.split("\r\n") == [
        "H20260930     P.txt               ",
        "DA1   000123450  20260930Y007     ",
        "DB22  000000005- 00000000N        ",
        "T000002     4    +1234,45         ",
        "",
    ]
    assert {len(line) for line in text.split("\r\n")[:-1]} == {34}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"decimals": 2, "sign": "leading"}, [" 000012345", "-000000005", " 000000000"]),
        (
            {"decimals": 2, "sign": "leading", "plus": "+"},
            ["+000012345", "-000000005", "+000000000"],
        ),
        (
            {"decimals": 2, "sign": "leading", "plus": ""},
            ["0000012345", "-000000005", "0000000000"],
        ),
        (
            {"decimals": 3, "sign": "leading", "pad": " ", "decimal_mark": "."},
            ["   123.450", "    -0.050", "     0.000"],
        ),
        ({"decimals": 2, "sign": "trailing"}, ["000012345 ", "000000005-", "000000000 "]),
        (
            {"decimals": 2, "sign": "trailing", "plus": "+", "align": "left"},
            ["12345+    ", "005-      ", "000+      "],
        ),
        ({"decimals": 2, "sign": "overpunch"}, ["000001234E", "000000000N", "000000000{"]),
    ],
)
def test_signs_of_numbers(tmp_path: Path, options: dict[str, Any], expected: list[str]) -> None:
    fields = [{"column": "a", "width": 10, **options}]
    text = written(tmp_path, {"a": decimals("123.45", "-0.05", "0")}, fields=fields)
    assert text.splitlines() == expected


@pytest.mark.parametrize("options", [{"align": "left", "pad": "0"}, {"pad": "9"}])
@pytest.mark.parametrize("sign", ["none", "leading", "trailing", "overpunch"])
def test_padding_never_makes_another_number(
    tmp_path: Path, options: dict[str, Any], sign: str
) -> None:
    field = {"column": "a", "width": 10, "decimals": 2, "sign": sign, **options}
    with pytest.raises(ArtifactError, match="would make another number of it") as caught:
        written(tmp_path, {"a": decimals("123.45")}, fields=[field])
    assert caught.value.where == "column a"
    # Of a text it is a part that the receiver knows to take away.
    text = written(tmp_path, {"a": ["X"]}, fields=[{"column": "a", "width": 3, **options}])
    assert len(text) == len("X00\n")


def test_record_types_and_lines_end_to_end(tmp_path: Path) -> None:
    text = written(
        tmp_path,
        {"kind": ["A", "B", "A"], "name": ["x", None, "y"], "n": [None, 5, None]},
        line_end="none",
        record_types=[
            {"when": "kind = 'A'", "fields": [{"text": "10"}, {"column": "name", "width": 3}]},
            {"when": "kind = 'B'", "fields": [{"text": "20"}, {"column": "n", "width": 3}]},
        ],
    )
    assert text == "10x  " + "20005" + "10y  "


def test_record_of_no_type_and_value_of_a_type_are_named_by_their_record(tmp_path: Path) -> None:
    types = [{"when": "kind = 'A'", "fields": [{"column": "n", "width": 2}]}]
    table = {"kind": ["B", "A", "A", "C"], "n": [1, 2, 333, 4]}
    with pytest.raises(ArtifactError, match="'333' is longer than the 2 characters") as caught:
        written(tmp_path, table, record_types=types)
    assert caught.value.where == "record 3, column n"
    with pytest.raises(ArtifactError, match="none of the record types") as caught:
        written(tmp_path, table | {"n": [1, 2, 3, 4]}, record_types=types)
    assert caught.value.where == "record 1"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (decimals("1", "99999.99"), {"width": 6, "decimals": 2}, "'99999.99' is longer than the 6"),
        (
            decimals("1", "-99.99"),
            {"width": 4, "decimals": 2, "sign": "leading"},
            "'-99.99' is lon",
        ),
        (
            decimals("1", "-999"),
            {"width": 3, "decimals": 0, "sign": "leading", "plus": ""},
            "longer",
        ),
        (decimals("1", "-5"), {"width": 6, "decimals": 2}, "-5.00 is negative"),
        (decimals("1", "1.25"), {"width": 6, "decimals": 1}, "1.25 has more than 1 decimals"),
        (decimals("1", "1.25"), {"width": 6}, "1.25 has decimals, and the field has none"),
        (["x", "four"], {"width": 3}, "'four' is longer than the 3 characters"),
        (["x", "a\tb"], {"width": 3}, "holds a control character"),
        (["x", "é"], {"width": 3}, r"'é' \(U\+00E9\) cannot be written in ascii"),
        (["x", None], {"width": 3, "required": True}, "required and is NULL"),
    ],
)
def test_value_that_does_not_fit_names_record_and_field(
    tmp_path: Path, values: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        written(tmp_path, {"a": values}, fields=[{"column": "a", **options}])
    assert caught.value.where == "record 2, column a"


def test_control_sum_that_is_too_long_names_the_trailer_record(tmp_path: Path) -> None:
    trailer = [[{"value": "sum.a", "width": 3}]]
    with pytest.raises(ArtifactError, match="'1998' is longer") as caught:
        written(tmp_path, {"a": [999, 999]}, fields=[{"text": "x"}], trailer_records=trailer)
    assert caught.value.where == "trailer record 1, sum.a"


def test_unknown_column_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="table rows has no column acount") as caught:
        written(tmp_path, {"account": ["x"]}, fields=[{"column": "acount", "width": 3}])
    assert "Did you mean account?" in str(caught.value.hint)


def test_empty_table_gives_header_and_trailer(tmp_path: Path) -> None:
    text = written(
        tmp_path,
        {"a": pa.array([], pa.int64())},
        when_empty="write",
        fields=[{"column": "a", "width": 3}],
        trailer_records=[[{"text": "T"}, {"value": "run.records", "width": 3}]],
    )
    assert text == "T000\n"


def test_texts_may_be_cut_off_where_the_spec_says_so(tmp_path: Path) -> None:
    fields = [{"column": "a", "width": 3, "truncate": True}]
    assert (
        written(tmp_path, {"a": ["Münch", "é"]}, fields=fields, encoding="cp1252") == "Mün\né  \n"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either fields or record_types"),
        ({"fields": [{"text": "abc"}], "record_length": 2}, "3 characters long, record_length 2"),
        ({"fields": [{"column": "a"}]}, "width"),
        ({"fields": [{"column": "a", "width": 0}]}, "greater than or equal to 1"),
        ({"fields": [{"value": "run.records", "width": 3}]}, "does not match|expected tags"),
        (
            {"fields": [{"text": "x"}], "header_records": [[{"value": "run.x", "width": 3}]]},
            "known are run.business_date",
        ),
        ({"record_types": [{"when": "a =", "fields": [{"text": "x"}]}]}, "expected a value"),
    ],
)
def test_wrong_section_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec_of(format="fixed", **fields)


amounts = st.decimals(Decimal("-99999999.999"), Decimal("99999999.999"), places=3)
names = st.text(st.characters(codec="iso-8859-1", categories=["L", "N", "P"]), max_size=8)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(names, amounts | st.none(), st.integers(0, 999)), min_size=1, max_size=8),
    st.sampled_from(["leading", "trailing", "overpunch"]),
    st.sampled_from(["lf", "crlf", "none"]),
)
def test_values_read_back_by_their_places(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, Decimal | None, int]],
    sign: str,
    line_end: str,
) -> None:
    texts, numbers, counts = zip(*rows, strict=True)
    text = written(
        tmp_path_factory.mktemp("fixed"),
        {"t": texts, "a": pa.array(numbers, pa.decimal128(18, 3)), "n": counts},
        encoding="iso-8859-1",
        line_end=line_end,
        fields=[
            {"column": "t", "width": 8},
            {"column": "a", "width": 12, "decimals": 3, "sign": sign, "plus": "+"},
            {"column": "n", "width": 3},
        ],
    )
    end = {"lf": "\n", "crlf": "\r\n", "none": ""}[line_end]
    length = 23 + len(end)
    assert len(text) == length * len(rows)
    for number, row in enumerate(rows):
        line = text[number * length : (number + 1) * length]
        assert line.endswith(end)
        assert line[:8].rstrip() == row[0]
        assert amount(line[8:20], sign) == row[1]
        assert int(line[20:23]) == row[2]


def amount(text: str, sign: str) -> Decimal | None:
    if not text.strip():
        return None
    if sign == "leading":
        text, negative = text[1:], text[0] == "-"
    elif sign == "trailing":
        text, negative = text[:-1], text[-1] == "-"
    else:
        negative = text[-1] in "}JKLMNOPQR"
        digit = ("}JKLMNOPQR" if negative else "{ABCDEFGHI").index(text[-1])
        text = f"{text[:-1]}{digit}"
    return Decimal(text).scaleb(-3) * (-1 if negative else 1)
