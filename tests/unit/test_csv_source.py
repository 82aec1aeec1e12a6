from __future__ import annotations

import csv
import gzip
import io
import random
import zlib
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openreg_airflow.errors import SourceError
from openreg_airflow.extract.file_spec import FileSpec
from openreg_airflow.extract.files.csv_quotes import doubtful
from tests.file_sources import Inbox, inbox

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN = FileSpec.model_validate({"path": "f.csv", "format": "csv"})


@pytest.fixture(name="inbox")
def _inbox(tmp_path: Path) -> Inbox:
    return inbox(tmp_path)


def refused(inbox: Inbox, text: str | bytes, *args: Any, **given: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        inbox.csv(text, *args, **given)
    return caught.value


def test_values_arrive_exactly_in_their_declared_types(inbox: Inbox) -> None:
    columns = {
        "n": "integer",
        "p": "decimal(38,10)",
        "f": "float",
        "b": "boolean",
        "d": "date",
        "t": "time",
        "ts": "timestamp",
        "z": "timestamp_utc",
        "raw": "binary",
    }
    head = "n,p,f,b,d,t,ts,z,raw,note\n"
    row = (
        "-9223372036854775808,9999999999999999999999999999.9999999999,0.1,true,9999-12-31,"
        "23:59:59.999999,2026-03-29 02:30:00.000001,2026-03-29T02:30:00+02:00,ä,007\n"
    )

    assert inbox.csv(head + row, columns) == [
        {
            "n": -(2**63),
            "p": Decimal("9999999999999999999999999999.9999999999"),
            "f": 0.1,
            "b": True,
            "d": date(9999, 12, 31),
            "t": time(23, 59, 59, 999999),
            "ts": datetime(2026, 3, 29, 2, 30, 0, 1),  # noqa: DTZ001
            "z": datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
            "raw": "ä".encode(),
            "note": "007",
        }
    ]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("decimal(9,2)", "1.234"),
        ("decimal(9,2)", "12345678.00"),
        ("decimal(9,2)", "1,5"),
        ("integer", "1.0"),
        ("integer", "9223372036854775808"),
        ("integer", " 1"),
        ("date", "2026-02-30"),
        ("date", "02.03.2026"),
        ("boolean", "yes"),
        ("timestamp", "2026-03-02 09:00:00.1234567"),
        ("float", "1e999"),
    ],
)
def test_value_that_does_not_fit_is_named_by_column_and_line(
    inbox: Inbox, kind: str, value: str
) -> None:
    error = refused(inbox, f'a,b\n,"x\ny"\n,\n"{value}",3\n', {"a": kind}, multiline=True)

    assert error.where == "f.csv, column a, line 5"
    assert value[:20] in error.message


def test_null_is_an_empty_value_and_an_empty_text_is_quoted(inbox: Inbox) -> None:
    assert inbox.csv('a,b\n,""\n') == [{"a": None, "b": ""}]
    assert inbox.csv('a,b\nNA,-\n"NA",\n', null_values=["NA", "-"]) == [
        {"a": None, "b": None},
        {"a": "NA", "b": ""},
    ]


def test_delimiter_quote_comma_and_formats_are_the_files_own(inbox: Inbox) -> None:
    text = "d;p;t;b\n02.03.2026;-1234,50;20260302 0915;J\n;;;\n"
    columns = {"d": "date", "p": "decimal(9,2)", "t": "timestamp", "b": "boolean"}

    rows = inbox.csv(
        text,
        columns,
        delimiter=";",
        quote="'",
        decimal_mark=",",
        formats={"d": "%d.%m.%Y", "t": "%Y%m%d %H%M", "b": "J/N"},
    )

    assert rows[0] == {
        "d": date(2026, 3, 2),
        "p": Decimal("-1234.50"),
        "t": datetime(2026, 3, 2, 9, 15),  # noqa: DTZ001
        "b": True,
    }
    assert set(rows[1].values()) == {None}


@pytest.mark.parametrize(
    ("kind", "spelled", "value", "said"),
    [
        ("date", "%d.%m.%Y", "2.3.2026", "'2.3.2026' is not spelled as %d.%m.%Y"),
        ("date", "%d.%m.%Y", "31.02.2026", "does not fit date"),
        ("boolean", "J/N", "j", "'j' is not J or N"),
    ],
)
def test_value_in_another_spelling_is_an_error(
    inbox: Inbox, kind: str, spelled: str, value: str, said: str
) -> None:
    error = refused(inbox, f"a\n\n{value}\n", {"a": kind}, formats={"a": spelled})

    assert said in error.message
    assert error.where == "f.csv, column a, line 3"


def test_thousands_are_not_taken_for_a_fraction(inbox: Inbox) -> None:
    given: dict[str, Any] = {"decimal_mark": ",", "delimiter": ";"}

    error = refused(inbox, "a\n1.234\n", {"a": "decimal(9,3)"}, **given)

    assert "'1.234' is not a number with a decimal comma" in error.message


def test_lines_before_the_header_are_skipped_and_a_header_may_be_missing(inbox: Inbox) -> None:
    assert inbox.csv("made by x\n;;\na\n1\n", skip_lines=2) == [{"a": "1"}]
    columns = {"n": "integer", "note": "string"}
    assert inbox.csv("1,x\n2,y\n", columns, header=False) == [
        {"n": 1, "note": "x"},
        {"n": 2, "note": "y"},
    ]
    error = refused(inbox, "x\ny\n1,z\nq,z\n", columns, header=False, skip_lines=2)
    assert error.where == "f.csv, column n, line 4"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("\nn,note\n1,x\n", {}),
        ("made by x\n\n\nn,note\n\n1,x\n", {"skip_lines": 1}),
        ("made\rby x\nn,note\n1,x\n", {"skip_lines": 1}),
        ('\n"n","note"\n1,x\n\n', {}),
    ],
)
def test_header_behind_blank_lines_is_no_row(
    inbox: Inbox, text: str, given: dict[str, Any], end: str
) -> None:
    text = text.replace("\n", end)

    assert inbox.csv(text, **given) == [{"n": "1", "note": "x"}]
    assert inbox.csv(text.encode("utf-16"), encoding="utf-16", **given) == [{"n": "1", "note": "x"}]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_byte_order_mark_is_no_letter_of_the_first_name(inbox: Inbox, encoding: str) -> None:
    marked = "\ufeffn,note\n1,ë\n".encode(encoding)

    assert inbox.csv(marked, encoding=encoding) == [{"n": "1", "note": "ë"}]
    assert inbox.csv("n,note\n1,ë\n".encode(encoding), encoding=encoding) == [
        {"n": "1", "note": "ë"}
    ]


def test_byte_order_mark_windows_lines_and_a_missing_last_line_end_are_no_data(
    inbox: Inbox,
) -> None:
    assert inbox.csv(b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4") == [
        {"a": "1", "b": "2"},
        {"a": "3", "b": "4"},
    ]
    assert inbox.csv("a,b\n1,ü\n".encode("utf-16"), encoding="utf-16") == [{"a": "1", "b": "ü"}]
    assert inbox.csv("a\nü\n".encode("cp1252"), encoding="cp1252") == [{"a": "ü"}]


@pytest.mark.parametrize("text", ["a,b", "a,b\n", "a,b\n\n"])
def test_file_with_a_header_alone_has_no_rows(inbox: Inbox, text: str) -> None:
    assert inbox.csv(text) == []
    assert inbox.done("f.csv", {"a": "integer"}, format="csv").rows == 0


@pytest.mark.parametrize(
    ("text", "given", "said", "where"),
    [
        ("", {}, "is empty", "f.csv"),
        ("a,b\r1,2\r", {}, "ends with a carriage return alone", "f.csv, line 1"),
        ("a,b\n1,2\r3\n", {}, "ends with a carriage return alone", "f.csv, line 2"),
        ("a,a\n1,2\n", {}, "same name: a", "f.csv, line 1"),
        ("a,A\n1,2\n", {}, "same name: A, a", "f.csv, line 1"),
        ("a,,c\n1,2,3\n", {}, "column 2 has no name", "f.csv, line 1"),
        ("a,b\n1,2\n3\n", {}, "expected 2 values, found 1: '3'", "f.csv, line 3"),
        ('a,b\n"1\n1",2\n3,4,5\n', {"multiline": True}, "found 3: '3,4,5'", "f.csv, line 4"),
        ('a,b\n1,2\n3,"4\n5,6\n', {}, "over several lines", "f.csv, column b, line 3"),
        ('a,b\n1,2\n3,"4\n5,6\n', {"multiline": True}, "a quote is not closed", "f.csv, line 3"),
        ('a,b\n1,"4', {}, "a quote is not closed", "f.csv, line 2"),
        ('a,b\n1,2\n"x"y,2\n', {}, "text follows the quote", "f.csv, line 3"),
        ('a,b\n1,2\n""y,2\n', {}, "text follows the quote", "f.csv, line 3"),
        ('a,b\n"1\n",2\n3,"x"" ",\n', {"multiline": True}, "found 3", "f.csv, line 4"),
        ('a,b\n"1\n",2\n3,"x""" y\n', {"multiline": True}, "text follows", "f.csv, line 4"),
        ("a;b\n'x'y;2\n", {"delimiter": ";", "quote": "'"}, "text follows", "f.csv, line 2"),
        ('a,b\n"x"y,2\n'.encode("utf-16"), {"encoding": "utf-16"}, "text follows", "f.csv, line 2"),
        (b"a\n1\n\xff\n", {}, "the text is not utf-8", "f.csv, line 3"),
        (b"a\n1\n\x81\n", {"encoding": "cp1252"}, "the text is not cp1252", "f.csv, line 3"),
        (b"a\n1\n", {"encoding": "utf-16"}, "not utf-16", "f.csv"),
        ("x\n", {"skip_lines": 3}, "has no header", "f.csv"),
    ],
)
def test_broken_file_is_refused_at_its_line(
    inbox: Inbox, text: str | bytes, given: dict[str, Any], said: str, where: str
) -> None:
    error = refused(inbox, text, **given)

    assert said in error.message
    assert str(error.where).startswith(where)


def test_missing_declared_column_is_an_error(inbox: Inbox) -> None:
    error = refused(inbox, "a\n1\n", {"b": "integer"})

    assert "the declared columns b are not in the file" in error.message


def test_line_that_does_not_end_is_refused_without_holding_it(inbox: Inbox) -> None:
    error = refused(inbox, b"a\n1\n" + b"x" * (17 << 20) + b"\n2\n")

    assert "line is longer than 16 MiB" in error.message
    assert error.where == "f.csv, line 3"


def test_compressed_file_is_read_and_a_damaged_one_refused(inbox: Inbox) -> None:
    content = gzip.compress(b"a\n1\n" + b"2\n" * 10_000)
    assert len(inbox.csv(content, compression="gzip")) == 10_001

    assert "cannot be unpacked" in refused(inbox, content[:-9], compression="gzip").message
    assert "cannot be unpacked" in refused(inbox, "a\n1\n", compression="gzip").message


def test_what_unfolds_without_end_stops_at_the_bounds(inbox: Inbox) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b"a\n")
    packed += b"".join(packer.compress(b"1\n" * 500_000) for _ in range(40)) + packer.flush()
    assert len(packed) < 200_000

    error = refused(inbox, packed, compression="gzip", max_rows=1_000_000)

    assert "more than 1000000 rows" in error.message


def test_same_file_gives_the_same_bytes(inbox: Inbox) -> None:
    rng = random.Random(1)  # noqa: S311
    lines = [f"{i},{rng.random()},{'x' * rng.randint(0, 300)}" for i in range(60_000)]
    (inbox.folder / "f.csv").write_text("n,f,s\n" + "\n".join(lines))
    inbox.done("f.csv", {"n": "integer"}, format="csv")
    first = inbox.output.read_bytes()

    inbox.done("f.csv", {"n": "integer"}, format="csv")

    assert inbox.output.read_bytes() == first


def test_line_of_a_fault_far_into_the_file_is_right(inbox: Inbox) -> None:
    text = "n,s\n" + "".join(f"{i},{'y' * 100}\n" for i in range(150_000)) + "x,z\n"

    error = refused(inbox, text, {"n": "integer"})

    assert error.where == "f.csv, column n, line 150002"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=20,
    )
)
def test_any_text_comes_back_as_it_was_written(inbox: Inbox, rows: list[list[str]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace('"', '""') + '"'

    text = "a,b\n" + "".join(",".join(map(quoted, row)) + "\n" for row in rows)

    found = inbox.csv(text, multiline=True)

    assert [list(row.values()) for row in found] == rows


@settings(max_examples=300, deadline=None)
@given(st.text('"x,\n', max_size=14))
def test_text_behind_a_quote_is_never_overlooked(text: str) -> None:
    try:
        list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        sound = "end of data" in str(error)
    else:
        sound = True

    assert sound or doubtful(io.BytesIO(text.encode()), _PLAIN)


def test_quotes_that_are_in_order_leave_no_doubt() -> None:
    text = 'a,b\r\n"x","he said, ""yes"""\n"","y"\n1,2'

    assert not doubtful(io.BytesIO(text.encode()), _PLAIN)


def test_quote_within_a_plain_value_is_a_letter(inbox: Inbox) -> None:
    assert inbox.csv('a,b\n5" pipe,7"\n') == [{"a": '5" pipe', "b": '7"'}]
