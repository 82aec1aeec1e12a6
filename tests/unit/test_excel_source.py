from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
import xlsxwriter

from openreg_airflow.errors import SourceError, SpecError
from openreg_airflow.extract.files.excel_table import digits, moment
from tests.file_sources import Inbox, inbox

if TYPE_CHECKING:
    from pathlib import Path

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


@pytest.fixture(name="inbox")
def _inbox(tmp_path: Path) -> Inbox:
    return inbox(tmp_path)


def excel(inbox: Inbox, columns: dict[str, str], **given: Any) -> Any:
    return inbox.extract("f.xlsx", columns, format="excel", **given).to_pylist()


def refused(inbox: Inbox, columns: dict[str, str], **given: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        excel(inbox, columns, **given)
    return caught.value


def write(inbox: Inbox, *rows: list[Any], formats: dict[int, str] | None = None) -> None:
    """A workbook made by openpyxl, which spells numbers as they are given."""
    book = openpyxl.Workbook()
    sheet = book.active
    for row in rows:
        sheet.append(row)
    for column, form in (formats or {}).items():
        for [cell] in sheet.iter_rows(min_row=2, min_col=column, max_col=column):
            cell.number_format = form
    book.save(inbox.folder / "f.xlsx")


def raw(inbox: Inbox, sheet: str, **parts: str) -> None:
    """A workbook whose XML is given: one sheet, no styles."""
    given = {
        "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_RELATIONS}"><sheets>'
        '<sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": "<Relationships><Relationship Id='rId1' "
        f"Type='{_RELATIONS}/worksheet' Target='worksheets/sheet1.xml'/></Relationships>",
        "xl/worksheets/sheet1.xml": f"<worksheet {_MAIN}><sheetData>{sheet}</sheetData>"
        "</worksheet>",
    } | parts
    with zipfile.ZipFile(inbox.folder / "f.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in given.items():
            archive.writestr(name, content)


def cells(*values: str) -> str:
    """A raw row of texts."""
    inner = "".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in values)
    return f"<row>{inner}</row>"


def test_values_of_every_type_arrive_exactly(inbox: Inbox) -> None:
    book = xlsxwriter.Workbook(inbox.folder / "f.xlsx")
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ["n", "p", "f", "b", "d", "ts", "t", "s", "code"])
    day = book.add_format({"num_format": "dd.mm.yyyy"})
    stamp = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
    clock = book.add_format({"num_format": "hh:mm"})
    sheet.write_row(1, 0, [123456789012345, 1234.56, 0.1, True])
    sheet.write_datetime(1, 4, datetime(2026, 3, 2), day)  # noqa: DTZ001
    sheet.write_datetime(1, 5, datetime(2026, 3, 2, 23, 59, 59, 999000), stamp)  # noqa: DTZ001
    sheet.write_datetime(1, 6, time(9, 15), clock)
    sheet.write_rich_string(1, 7, "ü", book.add_format({"bold": True}), " & <b>")
    sheet.write_number(1, 8, 4711)
    book.close()
    columns = {
        "n": "integer",
        "p": "decimal(18,5)",
        "f": "float",
        "b": "boolean",
        "d": "date",
        "ts": "timestamp",
        "t": "time",
        "s": "string",
        "code": "string",
    }

    assert excel(inbox, columns) == [
        {
            "n": 123456789012345,
            "p": Decimal("1234.56000"),
            "f": 0.1,
            "b": True,
            "d": date(2026, 3, 2),
            "ts": datetime(2026, 3, 2, 23, 59, 59, 999000),  # noqa: DTZ001
            "t": time(9, 15),
            "s": "ü & <b>",
            "code": "4711",
        }
    ]


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [
        ("1234.5599999999999", "1234.56"),
        ("0.1", "0.1"),
        ("1E-7", "0.0000001"),
        ("-1.50", "-1.5"),
        ("1e20", "100000000000000000000"),
        ("999999999999999", "999999999999999"),
        ("0.10000000000000001", "0.1"),
    ],
)
def test_number_is_what_excel_means(spelled: str, meant: str) -> None:
    assert digits(spelled) == meant


@pytest.mark.parametrize(
    "spelled", ["9999999999999.99999", "12345678901234567", "0.30000000000000004", "NaN"]
)
def test_number_with_more_digits_than_excel_holds_is_refused(spelled: str) -> None:
    with pytest.raises(ValueError, match=r"digits|not a number"):
        digits(spelled)


@pytest.mark.parametrize(
    ("serial", "kind", "since_1904", "meant"),
    [
        ("46083", "date", False, "2026-03-02"),
        ("44621", "date", True, "2026-03-02"),
        ("1", "date", False, "1900-01-01"),
        ("59", "date", False, "1900-02-28"),
        ("61", "date", False, "1900-03-01"),
        ("2958465", "date", False, "9999-12-31"),
        ("46083.524259259259", "timestamp", False, "2026-03-02 12:34:56.000000"),
        ("46083.9999999884259", "timestamp", False, "2026-03-02 23:59:59.999000"),
        ("0.524259259259259", "time", False, "12:34:56.000000"),
    ],
)
def test_days_are_counted_as_excel_does(
    serial: str, kind: str, since_1904: bool, meant: str
) -> None:
    assert moment(serial, kind, since_1904=since_1904) == meant


@pytest.mark.parametrize(
    ("serial", "kind"),
    [("60", "date"), ("-1", "date"), ("2958466", "date"), ("46083.5", "date"), ("1.5", "time")],
)
def test_what_is_no_day_or_time_is_refused(serial: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"calendar|time of day"):
        moment(serial, kind, since_1904=False)


def test_text_dates_and_nulls_follow_the_spec(inbox: Inbox) -> None:
    write(inbox, ["d", "b", "p"], ["02.03.2026", "J", "12345678901234567.89"], ["", "n/a", None])

    rows = excel(
        inbox,
        {"d": "date", "b": "boolean", "p": "decimal(38,2)"},
        formats={"d": "%d.%m.%Y", "b": "J/N"},
        null_values=["", "n/a"],
    )

    assert rows == [{"d": date(2026, 3, 2), "b": True, "p": Decimal("12345678901234567.89")}]


def test_characters_that_xml_cannot_hold_arrive_as_they_were_written(inbox: Inbox) -> None:
    texts = ["one\r\ntwo", "bell\x07", "_x0041_ as it is", "_x41_", "😀"]
    book = xlsxwriter.Workbook(inbox.folder / "f.xlsx")
    sheet = book.add_worksheet()
    sheet.write_column(0, 0, ["s", *texts])
    book.close()

    assert [row["s"] for row in excel(inbox, {"s": "string"})] == texts

    raw(inbox, cells("s") + cells("one_x000D_\ntwo") + cells("_xD83D__xDE00_"))
    assert [row["s"] for row in excel(inbox, {"s": "string"})] == ["one\r\ntwo", "😀"]
    raw(inbox, cells("s") + cells("half _xD83D_"))
    assert "damaged" in refused(inbox, {"s": "string"}).message


def test_header_row_sheet_and_empty_rows(inbox: Inbox) -> None:
    book = openpyxl.Workbook()
    book.create_sheet("Data")
    for row in (["made by", "x"], [], ["n", "s"], [1, "a"], [], [2, None]):
        book["Data"].append(row)
    book.save(inbox.folder / "f.xlsx")
    columns = {"n": "integer", "s": "string"}

    rows = excel(inbox, columns, sheet="Data", header_row=3)

    assert rows == [{"n": 1, "s": "a"}, {"n": 2, "s": None}]
    assert "several sheets: Sheet, Data" in refused(inbox, columns).message
    assert "no sheet 'X'" in refused(inbox, columns, sheet="X").message
    assert "holds no names" in refused(inbox, columns, sheet="Data", header_row=9).message


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("x", "integer", "the value 'x' does not fit integer"),
        (1.5, "integer", "does not fit integer"),
        (1.234, "decimal(9,2)", "does not fit decimal(9,2)"),
        (1, "date", "a number (1) is not date"),
        (True, "integer", "a boolean (1) is not integer"),
        (1, "boolean", "a number (1) is not boolean"),
        ("yes", "boolean", "the text 'yes' is not boolean"),
        (datetime(2026, 3, 2), "string", "a date (46083) is not string"),  # noqa: DTZ001
        (1.5, "string", "the number 1.5 is not text"),
        ("#N/A", "string", "the formula's result is #N/A"),
        ("=1+1", "integer", "the formula was never calculated"),
    ],
)
def test_cell_that_does_not_fit_is_named(inbox: Inbox, value: Any, kind: str, said: str) -> None:
    write(inbox, ["n", "a"], [1, None], [], [2, value])

    error = refused(inbox, {"n": "integer", "a": kind})

    assert said in error.message
    assert str(error.where).startswith("f.xlsx, column a, sheet Sheet, row 4")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (["n", "n"], "same name: n"),
        (["n", "N"], "same name"),
        (["n", None, "m"], "column 2 has no name"),
        (["n", "m", "o"], "not declared: o"),
        (["n"], "the declared columns m are not in the file"),
        (["n", True], "a name of a column is an boolean"),
    ],
)
def test_odd_header_is_refused(inbox: Inbox, header: list[Any], said: str) -> None:
    write(inbox, header, [1])

    assert said in refused(inbox, {"n": "integer", "m": "integer"}).message


def test_value_outside_the_named_columns_is_refused(inbox: Inbox) -> None:
    write(inbox, ["n"], [1, None, "stray"])

    error = refused(inbox, {"n": "integer"})

    assert "cell C2: it is outside the columns that have a name" in error.message


def test_merged_cells_among_the_data_are_refused(inbox: Inbox) -> None:
    book = openpyxl.Workbook()
    for row in (["Title", None], ["n", "m"], [1, 2], [3, 4]):
        book.active.append(row)
    book.active.merge_cells("A1:B1")
    book.save(inbox.folder / "f.xlsx")
    columns = {"n": "integer", "m": "integer"}
    assert len(excel(inbox, columns, header_row=2)) == 2

    book.active.merge_cells("A3:A4")
    book.save(inbox.folder / "f.xlsx")

    assert "the cells A3:A4 of sheet Sheet are merged" in (
        refused(inbox, columns, header_row=2).message
    )


def test_excel_needs_declared_columns(inbox: Inbox) -> None:
    write(inbox, ["n"], [1])

    with pytest.raises(SpecError, match="does not tell its columns"):
        excel(inbox, {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "is not an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old format .xls"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            "protected by a password",
        ),
        (b"PK\x03\x04" + bytes(100), "is damaged"),
    ],
)
def test_other_files_are_told_from_workbooks(inbox: Inbox, content: bytes, said: str) -> None:
    (inbox.folder / "f.xlsx").write_bytes(content)

    assert said in refused(inbox, {"n": "integer"}).message


def test_archive_that_is_no_workbook_is_refused(inbox: Inbox) -> None:
    with zipfile.ZipFile(inbox.folder / "f.xlsx", "w") as archive:
        archive.writestr("a.txt", "x")

    assert "not a workbook" in refused(inbox, {"n": "integer"}).message


def test_truncated_workbook_is_refused(inbox: Inbox) -> None:
    write(inbox, ["n"], *[[i] for i in range(5000)])
    content = (inbox.folder / "f.xlsx").read_bytes()
    (inbox.folder / "f.xlsx").write_bytes(content[: len(content) // 2])

    assert "is damaged" in refused(inbox, {"n": "integer"}).message


@pytest.mark.parametrize(
    ("sheet", "said"),
    [
        (cells("n") + '<row r="1"><c><v>1</v></c></row>', "row 1 comes after row 1"),
        (cells("n") + '<row r="2"><c r="B2"><v>1</v></c><c r="A2"/></row>', "out of order"),
        (cells("n") + '<row r="2"><c r="2B"><v>1</v></c></row>', "f.xlsx is damaged"),
        (cells("n") + '<row r="x"/>', "f.xlsx is damaged"),
        (cells("n") + '<row><c t="s"><v>7</v></c></row>', "f.xlsx is damaged"),
        (cells("n") + "<row><c><v>1.2.3</v></c></row>", "not a number"),
        (cells("n") + "<row><c><v>9999999999999.99999</v></c></row>", "more than the 15 digits"),
        (cells("n") + "<row>", "is damaged"),
        (cells("n", "x" * 2_000_000), "longer than"),
    ],
)
def test_malformed_sheet_is_refused(inbox: Inbox, sheet: str, said: str) -> None:
    raw(inbox, sheet)

    assert said in refused(inbox, {"n": "integer"}).message


def test_entities_of_xml_are_refused(inbox: Inbox) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]>'
    part = f"{bomb}<worksheet {_MAIN}><sheetData>{cells('n')}</sheetData></worksheet>"
    raw(inbox, "", **{"xl/worksheets/sheet1.xml": part})

    assert "it declares entities" in refused(inbox, {"n": "integer"}).message


def test_workbook_that_unfolds_beyond_all_bounds_is_refused(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw(inbox, cells("n"), **{"xl/styles.xml": " " * (33 << 20) + "<styleSheet/>"})
    assert (inbox.folder / "f.xlsx").stat().st_size < 100_000
    assert "xl/styles.xml of f.xlsx unfolds to 33 MiB, allowed are 32" in (
        refused(inbox, {"n": "integer"}).message
    )

    monkeypatch.setattr("openreg_airflow.extract.files.workbook._SHEET", 1000)
    raw(inbox, cells("n") + " " * 2000)
    assert "unfolds to" in refused(inbox, {"n": "integer"}).message


def test_rows_beyond_the_bounds_of_the_spec_are_refused_while_reading(inbox: Inbox) -> None:
    write(inbox, ["n"], *[[i] for i in range(200)])

    assert "more than 100 rows" in (refused(inbox, {"n": "integer"}, max_rows=100).message)


def test_instant_and_iso_dates_are_taken_as_utc(inbox: Inbox) -> None:
    raw(inbox, cells("z") + '<row><c t="d"><v>2026-03-02T09:00:00</v></c></row>')

    assert excel(inbox, {"z": "timestamp_utc"}) == [{"z": datetime(2026, 3, 2, 9, tzinfo=UTC)}]
