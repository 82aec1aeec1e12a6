from __future__ import annotations

import zipfile
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import openpyxl
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openreg_airflow.errors import MappingError
from openreg_airflow.formula import guarded
from openreg_airflow.mappings import csv_file, lines
from openreg_airflow.mappings.cells import UNFILLED
from openreg_airflow.mappings.entries import Entries
from openreg_airflow.mappings.exporting import export_file
from openreg_airflow.mappings.importing import import_file, upsert
from openreg_airflow.mappings.model import MappingColumn, Shape
from openreg_airflow.mappings.outcomes import ImportOptions, LineOutcome
from openreg_airflow.mappings.reading import set_version, snapshot_entries
from openreg_airflow.mappings.sets import Sets
from tests.mappings_contract import ANNA, content, now, write
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPE = Shape(
    keys=(MappingColumn(name="code"),),
    values=(MappingColumn(name="mic"), MappingColumn(name="day", type="date")),
)
NAMES = {"code", "mic", "day", "effective_from", "effective_to"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    place = new_store(tmp_path)
    Sets(place, ANNA).create(
        "venues", keys=[("code", "string")], values=[("mic", "string"), ("day", "date")]
    )
    return place


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
        ("cp1251", "cp1251"),
    ],
)
def test_encoding_is_found_out(tmp_path: Path, encoding: str, found: str) -> None:
    word = "Площадка" if encoding == "cp1251" else "Börse München für Käufer"
    rows = [f"{word} {number},X" for number in range(50)]
    file = write(tmp_path / "v.csv", "code,mic", *rows, encoding=encoding)
    text = csv_file.look(file, None, None, NAMES)
    assert text.encoding == found
    assert [row for _, row in text.rows()][1][0] == f"{word} 0"


@pytest.mark.parametrize(
    ("word", "encoding"),
    [("Börse", "cp1252"), ("Société Générale", "cp1252"), ("Łódź", "cp1250"), ("Αθήνα", "cp1253")],
)
def test_one_word_is_enough_where_it_can_be_read_in_one_way(
    tmp_path: Path, word: str, encoding: str
) -> None:
    file = write(tmp_path / "v.csv", "code,mic", f"{word},X", encoding=encoding)
    assert csv_file.look(file, None, None, NAMES).encoding == encoding


@pytest.mark.parametrize(
    ("word", "other"),
    [("São Paulo", "Săo Paulo"), ("Ørsted, Århus", "Řrsted, Ĺrhus"), ("10 €", "10 Ђ")],
)
def test_encoding_that_may_be_either_is_asked_for(
    url: str, tmp_path: Path, word: str, other: str
) -> None:
    file = write(tmp_path / "v.csv", "code,mic,day", "A,X,", f'"{word}",X,', encoding="cp1252")
    with pytest.raises(MappingError, match="may be ") as raised:
        import_file(url, "venues", file, ANNA)
    assert word in raised.value.message
    assert other in raised.value.message
    assert content(url) == []
    import_file(url, "venues", file, ANNA, options=ImportOptions(encoding="cp1252"))
    assert word in {row[0] for row in content(url)}


def test_encoding_shows_wherever_it_does(tmp_path: Path) -> None:
    """The first letter that is not ASCII may be megabytes from the beginning."""
    rows = [f"K{number:07d},X" for number in range(150_000)]
    file = write(tmp_path / "v.csv", "code,mic", *rows, "Börse für Käufer,X", encoding="cp1252")
    assert csv_file.look(file, None, None, NAMES).encoding == "cp1252"


@pytest.mark.parametrize(
    ("written", "given"),
    [("utf-8-sig", "UTF8"), ("utf-8", "utf-8-sig"), ("utf-16", "utf-16-le"), ("utf-32", "UTF-32")],
)
def test_mark_of_a_given_encoding_is_no_part_of_the_header(
    tmp_path: Path, written: str, given: str
) -> None:
    file = write(tmp_path / "v.csv", "code,mic", "Ä,X", encoding=written)
    rows = [row for _, row in csv_file.look(file, given, None, NAMES).rows()]
    assert rows == [["code", "mic"], ["Ä", "X"]]


def test_file_in_another_encoding_than_given_is_refused(url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "v.csv", "code,mic,day", *["A,B,"] * 9, "Ä,B,", encoding="cp1252")
    with pytest.raises(MappingError, match="is not utf-8"):
        import_file(url, "venues", file, ANNA, options=ImportOptions(encoding="utf-8"))
    with pytest.raises(MappingError, match="no encoding 'klingon'"):
        import_file(url, "venues", file, ANNA, options=ImportOptions(encoding="klingon"))
    assert content(url) == []


def test_bytes_of_no_encoding_are_refused_or_shown(url: str, tmp_path: Path) -> None:
    file = tmp_path / "v.csv"
    file.write_bytes(b"code,mic,day\n" + bytes(range(128, 256)) * 50 + b"\x00\x01,B,\n")
    try:
        done = import_file(url, "venues", file, ANNA)
        assert done.refused == 1
    except MappingError:
        pass
    assert content(url) == []


@pytest.mark.parametrize("delimiter", ["", "%%", '"', "\n"])
def test_delimiter_that_cannot_be_one_is_refused(tmp_path: Path, delimiter: str) -> None:
    file = write(tmp_path / "v.csv", "code,mic", "A,X")
    with pytest.raises(MappingError, match="cannot be a delimiter"):
        csv_file.look(file, None, delimiter, NAMES)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_told_by_the_columns(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "v.csv"
    file.write_text(f'"code"{delimiter}"MIC"\r\n"a,b;c|d"{delimiter}X\r\n')
    text = csv_file.look(file, None, None, NAMES)
    assert text.delimiter == delimiter
    assert [row for _, row in text.rows()] == [["code", "MIC"], ["a,b;c|d", "X"]]


@pytest.mark.parametrize(
    ("dates", "form"),
    [
        (["2026-03-31"], "YYYY-MM-DD"),
        (["20260331"], "YYYYMMDD"),
        (["31.03.2026"], "DD.MM.YYYY"),
        (["01/02/2026", "13/02/2026"], "DD/MM/YYYY"),
        (["01/02/2026", "02/13/2026"], "MM/DD/YYYY"),
        (["01/01/2026", "soon", "02/02/2026"], "DD/MM/YYYY"),
        ([], "YYYY-MM-DD"),
        (["soon"], "YYYY-MM-DD"),
        (["soon", "31.03.2026"], "DD.MM.YYYY"),
    ],
)
def test_format_of_dates_is_told_by_all_of_them(dates: list[str], form: str) -> None:
    header = lines.header_of(SHAPE, ["code", "mic", "day"], "x")
    rows = [(place, ["a", "b", text]) for place, text in enumerate(dates)]
    assert lines.date_format(SHAPE, header, rows, "x") == form


def test_dates_that_may_be_either_are_asked_for(url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "v.csv", "code,mic,day", "A,B,01/02/2026", "B,B,03/04/2026")
    with pytest.raises(MappingError, match="may be DD/MM/YYYY or MM/DD/YYYY"):
        import_file(url, "venues", file, ANNA)
    import_file(url, "venues", file, ANNA, options=ImportOptions(date_format="MM/DD/YYYY"))
    assert content(url)[0] == ("A", "B", date(2026, 1, 2), None, None)
    with pytest.raises(MappingError, match="no date format 'DMY'"):
        import_file(url, "venues", file, ANNA, options=ImportOptions(date_format="DMY"))


@pytest.mark.parametrize("head", ["", "code,mic,day\n"])
@pytest.mark.parametrize("cell", ["x", '"x', '"x\n'])
def test_endless_line_is_refused_in_bounded_memory(
    url: str, tmp_path: Path, head: str, cell: str
) -> None:
    file = tmp_path / "v.csv"
    piece = (cell[:1] + cell[1:] * 99_999)[:100_000] if len(cell) > 1 else cell * 100_000
    with file.open("w") as out:
        out.write(head + cell)
        for _ in range(2000):
            out.write(piece.replace('"', "x"))
    assert file.stat().st_size >= 200_000_000
    before = psutil.Process().memory_info().rss
    with pytest.raises(MappingError, match=r"more than|no CSV"):
        import_file(url, "venues", file, ANNA)
    assert psutil.Process().memory_info().rss - before < 60_000_000
    file.unlink()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('A,"B"x,\n', "no CSV"),
        ('A,"B\n', "no CSV"),
    ],
)
def test_csv_that_is_none_is_refused_with_its_line(
    url: str, tmp_path: Path, body: str, said: str
) -> None:
    file = tmp_path / "v.csv"
    file.write_text("code,mic,day\n" + body)
    with pytest.raises(MappingError, match=said) as caught:
        import_file(url, "venues", file, ANNA)
    assert "line" in (caught.value.where or "")


def test_line_numbers_count_lines_not_rows(url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "v.csv", "code,mic,day", '"two', 'lines",X,', "", "B,X,bad")
    told: list[LineOutcome] = []
    import_file(url, "venues", file, ANNA, told=told.append)
    assert [(one.line, one.outcome) for one in told] == [(3, "added"), (5, "refused")]


@pytest.fixture
def workbook(tmp_path: Path) -> Callable[..., Path]:
    def make(*rows: list[Any], sheet: str = "Venues") -> Path:
        book = openpyxl.Workbook()
        assert book.active
        book.active.title = sheet
        for row in rows:
            book.active.append(row)
        book.create_sheet("Notes").append(["nothing"])
        book.save(tmp_path / "v.xlsx")
        return tmp_path / "v.xlsx"

    return make


def test_sheet_of_people_is_imported(url: str, workbook: Callable[..., Path]) -> None:
    file = workbook(
        ["code", "mic", "day", "effective_from"],
        [7, "XETR", datetime(2026, 3, 31), None],  # noqa: DTZ001 - a sheet's date has no zone
        ["007", 1.5, None, date(2026, 4, 1)],
        [None, None, None, None],
        [True, "X"],
    )
    done = import_file(url, "venues", file, ANNA)
    assert (done.applied, done.lines, done.form) == (True, 3, "Excel, YYYY-MM-DD")
    assert content(url) == [
        ("007", "1.5", None, date(2026, 4, 1), None),
        ("7", "XETR", date(2026, 3, 31), None, None),
        ("true", "X", None, None, None),
    ]


def test_formula_and_error_in_a_sheet_are_refused(url: str, workbook: Callable[..., Path]) -> None:
    told: list[LineOutcome] = []
    file = workbook(["code", "mic", "day"], ["A", "=1+1", None], ["B", "#N/A", None])
    done = import_file(url, "venues", file, ANNA, told=told.append)
    assert done.refused == 2
    assert [one.reason for one in told] == ["mic: holds a formula", "mic: holds the error #N/A"]


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_line_that_was_not_filled_in_is_refused_whatever_the_type(
    tmp_path: Path, workbook: Callable[..., Path], form: str, *, dry_run: bool
) -> None:
    types = ("string", "integer", "decimal(8,2)", "boolean", "date")
    values = [(kind.partition("(")[0] + "_value", kind) for kind in types]
    place = new_store(tmp_path)
    Sets(place, ANNA).create("venues", keys=[("code", "string")], values=values)
    good = ["X", "1", "1.50", "true", "2026-03-31"]
    rows = [["code", *(name for name, _ in values)], ["A", *good]]
    rows += [
        [f"K{index}", *good[:index], UNFILLED, *good[index + 1 :]] for index in range(len(good))
    ]
    rows.append(["Z", "fill in ", *[UNFILLED] * 4])
    if form == "xlsx":
        file = workbook(*rows)
    else:
        file = write(tmp_path / "v.csv", *(",".join(row) for row in rows))
    told: list[LineOutcome] = []

    done = import_file(
        place, "venues", file, ANNA, options=ImportOptions(dry_run=dry_run), told=told.append
    )

    assert (done.applied, done.added, done.refused) == (False, 1, 6)
    assert [(one.line, one.reason) for one in told if one.outcome == "refused"] == [
        *((line, f"{name}: not filled in") for line, (name, _) in enumerate(values, 3)),
        (8, "string_value: not filled in"),
    ]
    assert content(place) == []


def test_mark_of_values_to_fill_in_is_never_a_value(url: str, tmp_path: Path) -> None:
    """It could not be exported and imported again; as a key it is a text like any other."""
    told: list[LineOutcome] = []
    upsert(url, "venues", [({"code": "A"}, {"mic": UNFILLED}, None, None)], ANNA, told=told.append)
    assert [one.reason for one in told] == ["mapping set 'venues', column mic: not filled in"]
    with pytest.raises(MappingError, match="column day: not filled in"):
        Entries(url, "venues", ANNA).add({"code": "A"}, {"day": UNFILLED})
    assert content(url) == []

    file = write(tmp_path / "v.csv", "code,mic,day", f"{UNFILLED},{UNFILLED} 2,")
    assert import_file(url, "venues", file, ANNA).applied
    assert content(url) == [(UNFILLED, f"{UNFILLED} 2", None, None, None)]


def test_mark_of_values_to_fill_in_is_no_formula() -> None:
    assert guarded(UNFILLED) == UNFILLED


def test_workbook_that_is_none_is_refused(
    url: str, tmp_path: Path, workbook: Callable[..., Path]
) -> None:
    file = workbook(["code", "mic", "day"], ["A", "B", None])
    with pytest.raises(MappingError, match="no sheet 'Orders'") as caught:
        import_file(url, "venues", file, ANNA, options=ImportOptions(sheet="Orders"))
    assert "Venues, Notes" in (caught.value.hint or "")
    text = tmp_path / "text.xlsx"
    text.write_text("code,mic,day\n")
    with pytest.raises(MappingError, match="no Excel workbook"):
        import_file(url, "venues", text, ANNA)
    archive = tmp_path / "archive.xlsx"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("readme.txt", "no workbook")
    with pytest.raises(MappingError, match="no Excel workbook"):
        import_file(url, "venues", archive, ANNA)


def test_workbook_that_grows_without_bound_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workbook: Callable[..., Path]
) -> None:
    monkeypatch.setattr("openreg_airflow.mappings.excel_file._MOST_BYTES", 1000)
    with pytest.raises(MappingError, match="larger than"):
        import_file(url, "venues", workbook(["code", "mic", "day"]), ANNA)


def test_exported_text_is_never_a_formula(url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "v.csv", "code,mic,day", "'=cmd|x!A1,=1+1,", "@x,+1-2,")
    assert import_file(url, "venues", file, ANNA).applied
    assert [row[:2] for row in content(url)] == [("=cmd|x!A1", "=1+1"), ("@x", "+1-2")]

    export_file(url, "venues", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
        "'=cmd|x!A1,'=1+1,,,", "'@x,'+1-2,,,",
    ]  # fmt: skip
    export_file(url, "venues", tmp_path / "out.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    assert sheet
    assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value} == {"s"}


def test_equal_entries_are_exported_as_equal_bytes(url: str, tmp_path: Path) -> None:
    import_file(url, "venues", write(tmp_path / "v.csv", "code,mic,day", "A,B,", "C,D,"), ANNA)
    for suffix in ("csv", "xlsx"):
        files = [tmp_path / f"{number}.{suffix}" for number in range(2)]
        for file in files:
            export_file(url, "venues", file)
        assert files[0].read_bytes() == files[1].read_bytes()


def test_failed_export_leaves_no_file(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_file(url, "venues", write(tmp_path / "v.csv", "code,mic,day", "A,B,", "C,D,"), ANNA)
    monkeypatch.setattr("openreg_airflow.mappings.excel_file.MOST_ROWS", 2)
    with pytest.raises(MappingError, match="a sheet has 2 rows"):
        export_file(url, "venues", tmp_path / "out.xlsx")
    assert not list(tmp_path.glob("out*"))


def test_snapshot_is_streamed_in_batches(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openreg_airflow.mappings.reading.BATCH", 1000)
    rows = (f"K{number:06d},X,2026-01-01" for number in range(1500))
    import_file(url, "venues", write(tmp_path / "v.csv", "code,mic,day", *rows), ANNA)
    with snapshot_entries(url, "venues", None, now()) as (version, batches):
        sizes = [batch.num_rows for batch in batches]
    assert sizes == [1000, 500]
    assert version.revision == set_version(url, "venues", now()).revision == 1


FILES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")),
    st.lists(
        st.lists(
            st.one_of(
                st.sampled_from(
                    ["code", "mic", "day", "A", "", '"', "01.02.2026", "'=1", "\ufeff"]
                ),
                st.text(max_size=5),
            ),
            max_size=5,
        ).map(",".join),
        max_size=6,
    ).map(lambda rows: "\n".join(["code,mic,day", *rows]).encode("utf-8", "replace")),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=FILES)
def test_any_file_is_read_or_refused_with_a_reason(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "any.csv"
    file.write_bytes(content)
    try:
        rows = list(csv_file.look(file, None, None, NAMES).rows())
        header = lines.header_of(SHAPE, rows[0][1] if rows else [], "any.csv")
        form = lines.date_format(SHAPE, header, rows[1:], "any.csv")
    except MappingError:
        return
    for line in lines.lines_of(SHAPE, header, rows[1:], form, sheet=False):
        assert (line.reason is None) == (line.key is not None)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.text(min_size=1), min_size=20, max_size=40))
def test_any_text_comes_back_as_it_was_exported(url: str, tmp_path: Path, texts: list[str]) -> None:
    given_entries = [
        ({"code": f"K{place}"}, {"mic": text}, None, None) for place, text in enumerate(texts)
    ]
    refused: list[LineOutcome] = []
    upsert(url, "venues", given_entries, ANNA, told=refused.append)
    bad = {one.line for one in refused if one.outcome == "refused"}
    kept = [entry for place, entry in enumerate(given_entries, 1) if place not in bad]
    options = ImportOptions(mode="replace")
    if not kept:
        return
    upsert(url, "venues", kept, ANNA, options=options)
    for name in ("out.csv", "out.xlsx"):
        export_file(url, "venues", tmp_path / name)
        again = import_file(url, "venues", tmp_path / name, ANNA, options=options)
        assert (again.unchanged, again.applied) == (len(kept), False)


def test_name_of_a_column_is_told_shortened(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="no column 'xxx") as caught:
        lines.header_of(SHAPE, ["code", "x" * 900_000], str(tmp_path))
    assert len(str(caught.value)) < 1000


def test_workbook_of_one_text_without_end_is_refused_before_it_is_read(
    url: str, tmp_path: Path
) -> None:
    file = tmp_path / "trap.xlsx"
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out,
        out.open("xl/worksheets/sheet1.xml", "w") as sheet,
    ):
        for _ in range(60):
            sheet.write(b"A" * (1 << 20))
    with pytest.raises(MappingError, match="compressed over 500 times"):
        import_file(url, "venues", file, ANNA)
