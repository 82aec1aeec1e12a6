from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openreg_airflow.errors import ArtifactError
from tests.artifact_files import made, spec_of
from tests.writer_bench import write

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, table: dict[str, Any], **fields: Any) -> bytes:
    return write(folder, {"rows": pa.table(table)}, format="csv", **fields)[1].read_bytes()


PLAIN = {
    "delimiter": ",",
    "quote": '"',
    "quoting": "minimal",
    "line_end": "lf",
    "encoding": "utf-8",
}
cells = st.text(st.sampled_from(";,\t\"'\r\n a1é€😀") | st.characters(codec="utf-8"), max_size=8)


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(st.tuples(cells | st.none(), cells | st.none()), min_size=1, max_size=10),
    spelling=st.fixed_dictionaries(
        {
            "delimiter": st.sampled_from([",", ";", "\t", "|", "§"]),
            "quote": st.sampled_from(['"', "'"]),
            "quoting": st.sampled_from(["minimal", "text", "all"]),
            "line_end": st.sampled_from(["lf", "crlf"]),
            "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
        }
    ),
    width=st.integers(1, 2),
)
@example([(None, ""), ("", None)], PLAIN, 1)
def test_whatever_goes_in_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str | None, str | None]],
    spelling: dict[str, str],
    width: int,
) -> None:
    columns = list(zip(*rows, strict=True))[:width]
    data = written(
        tmp_path_factory.mktemp("csv"),
        {f"c{number}": pa.array(column, pa.string()) for number, column in enumerate(columns)},
        **spelling,
    )
    text = data.decode(spelling["encoding"])
    assert text.endswith({"lf": "\n", "crlf": "\r\n"}[spelling["line_end"]])
    found = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=spelling["delimiter"],
        quotechar=spelling["quote"],
    )
    header, *lines = [line for line in found if line]
    assert header == [f"c{number}" for number in range(width)]
    assert lines == [[value or "" for value in row[:width]] for row in rows]


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.text(st.sampled_from('a,"\n é'), max_size=4) | st.none(),
            st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**20),
                        max_value=10**20) | st.none(),
            st.dates() | st.none(),
        ),
        min_size=1,
        max_size=10,
    )
)  # fmt: skip
def test_null_and_empty_text_stay_apart(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]
) -> None:
    types = (pa.int64(), pa.string(), pa.decimal128(38, 9), pa.date32())
    names = ("id", "text", "number", "day")
    table = {
        name: pa.array(column, kind)
        for name, column, kind in zip(names, zip(*rows, strict=True), types, strict=True)
    }
    data = written(tmp_path_factory.mktemp("csv"), table)
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict(zip(names, types, strict=True)),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    found = pyarrow.csv.read_csv(io.BytesIO(data), convert_options=convert, parse_options=parse)
    assert found == pa.table(table)


def test_formats_of_columns(tmp_path: Path) -> None:
    data = written(
        tmp_path,
        {
            "day": [date(2026, 9, 30), None],
            "price": pa.array([Decimal("1234.5"), Decimal("-0.05")], pa.decimal128(18, 5)),
            "open": [True, False],
            "unused": [1, 2],
        },
        delimiter=";",
        decimal_mark=",",
        line_end="crlf",
        null="-",
        columns={
            "price": {"title": "Price; EUR", "format": ".2f"},
            "day": {"format": "%d.%m.%Y"},
            "open": {"format": "Y/N"},
        },
    )
    assert data.decode() == ('"Price; EUR";day;open\r\n1234,50;30.09.2026;Y\r\n-0,05;-;N\r\n')


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ({"decimal_mark": ","}, b'"1,5",2026-09-30,true\n'),
        ({"delimiter": "-"}, b'1.5-"2026-09-30"-true\n'),
        ({"quote": "e"}, b"1.5,2026-09-30,etrueee\n"),
        ({"delimiter": ";", "decimal_mark": ","}, b"1,5;2026-09-30;true\n"),
    ],
)
def test_numbers_and_dates_are_quoted_where_they_hold_the_delimiter_or_the_quote(
    tmp_path: Path, spelling: dict[str, str], expected: bytes
) -> None:
    table = {"a": pa.array([Decimal("1.5")]), "b": [date(2026, 9, 30)], "c": [True]}
    assert written(tmp_path, table, header=False, **spelling) == expected


def test_text_that_looks_like_null_is_quoted(tmp_path: Path) -> None:
    data = written(tmp_path, {"a": ["NULL", None], "b": [1, None]}, null="NULL", header=False)
    assert data == b'"NULL",1\nNULL,NULL\n'


def test_text_quoting_quotes_texts_only(tmp_path: Path) -> None:
    table = {"a": ["x", None, ""], "b": [1, None, 2]}
    data = written(tmp_path, table, quoting="text", header=True)
    assert data == b'"a","b"\n"x",1\n,\n"",2\n'


def test_quoting_none_refuses_what_would_need_quotes(tmp_path: Path) -> None:
    table = {"id": [1, 2], "name": ["fine", "a;b"]}
    with pytest.raises(ArtifactError, match="'a;b' would need quotes") as caught:
        written(tmp_path, table, delimiter=";", quoting="none")
    assert caught.value.where == "record 2, column name"


def test_quoting_none_refuses_an_empty_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="an empty line would be no record"):
        written(tmp_path, {"name": ["fine", None]}, quoting="none")


def test_character_outside_the_encoding_names_record_and_column(tmp_path: Path) -> None:
    table = {"id": ["x", "y"], "name": ["Müller", "Łódź"]}
    with pytest.raises(
        ArtifactError, match=r"'Ł' \(U\+0141\) cannot be written in iso-8859-1"
    ) as e:
        written(tmp_path, table, encoding="iso-8859-1")
    assert e.value.where == "record 2, column name"


def test_null_in_a_required_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="required") as caught:
        written(tmp_path, {"a": ["x", None]}, columns={"a": {"required": True}})
    assert caught.value.where == "record 2, column a"


def test_unknown_column_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="table rows has no column nam") as caught:
        written(tmp_path, {"name": ["x"]}, columns={"nam": {}})
    assert caught.value.hint == "Did you mean name? Its columns are name."


def test_column_that_has_no_text_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="binary has no text form") as caught:
        written(tmp_path, {"raw": [b"x"]})
    assert caught.value.where == "column raw"


def test_empty_table_gives_the_header_only_if_the_spec_says_so(tmp_path: Path) -> None:
    empty = {"a": pa.array([], pa.string()), "b": pa.array([], pa.int64())}
    assert written(tmp_path, empty, when_empty="write") == b"a,b\n"
    with pytest.raises(ArtifactError, match="table rows has no rows"):
        made(tmp_path, spec_of(format="csv"), {"rows": pa.table(empty)})


def test_header_and_trailer_records_carry_counts_and_control_sums(tmp_path: Path) -> None:
    table = {
        "id": ["a", "b", "c"],
        "value": pa.array([Decimal("0.10"), None, Decimal("-1000000.05")], pa.decimal128(18, 2)),
        "times": [3, 4, None],
    }
    data = written(
        tmp_path,
        table,
        filename="out_{business_date:%Y%m%d}.csv",
        delimiter=";",
        decimal_mark=",",
        line_end="crlf",
        encoding="utf-16-le",
        header_records=[
            "H;{run.business_date:%d.%m.%Y};{run.filename}",
            "{{{run.report_id}}};{run.artifact}",
        ],
        trailer_records=["T;{run.records};{run.lines};{sum.value:.2f};{sum.times}"],
    )
    assert data.decode("utf-16-le").split("\r\n") == [
        "H;30.09.2026;out_20260930.csv",
        "{daily};out",
        "id;value;times",
        "a;0,1;3",
        "b;;4",
        "c;-1000000,05;",
        "T;3;7;-999999,95;7",
        "",
    ]


def test_byte_order_mark_stands_before_the_header_record(tmp_path: Path) -> None:
    data = written(tmp_path, {"a": [1]}, encoding="utf-8-sig", header_records=["H"])
    assert data == b"\xef\xbb\xbfH\na\n1\n"


def test_empty_table_has_counts_of_nothing(tmp_path: Path) -> None:
    data = written(
        tmp_path,
        {"a": pa.array([], pa.decimal128(9, 2))},
        when_empty="write",
        trailer_records=["T,{run.records},{sum.a:.2f}"],
    )
    assert data == b"a\nT,0,0.00\n"


def test_value_that_would_break_a_trailer_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"'a,b\.csv' holds ',', which would break") as caught:
        written(tmp_path, {"a": [1]}, filename="a,b.csv", trailer_records=["T,{run.filename}"])
    assert caught.value.where == "{run.filename} in 'T,{run.filename}'"


def test_character_of_a_header_record_outside_the_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"'€' \(U\+20AC\) cannot be written") as caught:
        written(tmp_path, {"a": [1]}, encoding="iso-8859-1", header_records=["H", "€"])
    assert caught.value.where == "header record 2"


def test_sum_of_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="table rows has no column valu"):
        written(tmp_path, {"value": [1]}, trailer_records=["T,{sum.valu}"])


@pytest.mark.parametrize(("null", "values"), [("NULL", ["x", "NULL", None]), ("0", [1, 0, None])])
def test_value_that_looks_like_null_is_refused_where_nothing_is_quoted(
    tmp_path: Path, null: str, values: list[Any]
) -> None:
    table = pa.table({"a": values, "b": [1, 2, 3]})
    with pytest.raises(ArtifactError, match=f"'{null}' would need quotes") as caught:
        write(tmp_path, {"rows": table}, format="csv", quoting="none", null=null)
    assert caught.value.where == "record 2, column a"
    _, path = write(tmp_path, {"rows": table.slice(2)}, format="csv", quoting="none", null=null)
    assert path.read_text() == f"a,b\n{null},3\n"
