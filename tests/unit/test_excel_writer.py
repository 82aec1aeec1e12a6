from __future__ import annotations

import re
import time
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openpyxl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.writers import excel
from openreg_airflow.errors import ArtifactError
from tests.writer_bench import spec_of, write

if TYPE_CHECKING:
    from pathlib import Path


def book(folder: Path, table: dict[str, Any], **fields: Any) -> Any:
    _, path = write(folder, {"rows": pa.table(table)}, format="excel", **fields)
    return openpyxl.load_workbook(path.open("rb"))


def values(folder: Path, table: dict[str, Any], **fields: Any) -> list[tuple[Any, ...]]:
    return list(book(folder, table, **fields).active.iter_rows(values_only=True))


def test_cells_have_the_kinds_of_their_columns(tmp_path: Path) -> None:
    found = book(
        tmp_path,
        {
            "name": ["x", None],
            "amount": pa.array([Decimal("1234.50"), None], pa.decimal128(18, 2)),
            "long": pa.array([Decimal("1234567890123456.78"), None], pa.decimal128(18, 2)),
            "day": [date(2026, 9, 30), date(1900, 3, 1)],
            "spelled": [date(2026, 9, 30), None],
            "open": [True, False],
            "at": pa.array([datetime(2026, 9, 30, 9, tzinfo=UTC), None], pa.timestamp("ms", "UTC")),
        },
        sheet="Positions",
        columns={
            "name": {"title": "Name"},
            "amount": {"format": ".2f"},
            "long": {"as_text": True},
            "day": {},
            "spelled": {"format": "%d.%m.%Y"},
            "open": {},
            "at": {},
        },
    )
    sheet = found["Positions"]
    assert list(sheet.iter_rows(values_only=True)) == [
        ("Name", "amount", "long", "day", "spelled", "open", "at"),
        ("x", 1234.5, "1234567890123456.78", datetime(2026, 9, 30), "30.09.2026", True,  # noqa: DTZ001
         "2026-09-30T09:00:00.000Z"),
        (None, None, None, datetime(1900, 3, 1), None, False, None),  # noqa: DTZ001
    ]  # fmt: skip
    assert sheet["B2"].number_format == "0.00"
    assert sheet["D2"].number_format == "yyyy-mm-dd"


def test_texts_never_become_formulas(tmp_path: Path) -> None:
    texts = ["=1+1", "+cmd", "-2", "@SUM(A1)", "http://x.example", "{=1}", "007"]
    sheet = book(tmp_path, {"t": texts}, header=False).active
    assert [cell.value for (cell,) in sheet.iter_rows()] == texts
    assert {cell.data_type for (cell,) in sheet.iter_rows()} == {"s"}
    assert [cell.quotePrefix for (cell,) in sheet.iter_rows()][:4] == [True] * 4
    with zipfile.ZipFile(tmp_path / "written") as archive:
        assert b"<f>" not in archive.read("xl/worksheets/sheet1.xml")


short = st.decimals(
    Decimal("-9999999999.99999"), Decimal("9999999999.99999"), places=5, allow_nan=False
)
texts = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=6
)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            texts.filter(bool) | st.none(),
            short | st.none(),
            st.integers(-(10**15) + 1, 10**15 - 1) | st.none(),
            st.booleans() | st.none(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_values_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]
) -> None:
    names, amounts, counts, flags = zip(*rows, strict=True)
    found = values(
        tmp_path_factory.mktemp("excel"),
        {
            "row": list(range(len(rows))),
            "t": pa.array(names, pa.string()),
            "a": pa.array(amounts, pa.decimal128(18, 5)),
            "n": pa.array(counts, pa.int64()),
            "f": pa.array(flags, pa.bool_()),
        },
        header=False,
    )
    for row, (number, text, amount, count, flag) in zip(
        rows, [(*line, *[None] * (5 - len(line))) for line in found], strict=True
    ):
        assert number is not None
        assert text == row[0]
        assert (amount is None) == (row[1] is None)
        if amount is not None:
            # Excel keeps 15 digits of a number.
            assert Decimal(f"{amount:.15g}") == row[1]
        assert (count, flag) == row[2:]


def test_escapes_of_excel_stay_texts(tmp_path: Path) -> None:
    book(tmp_path, {"t": ["_x0041_"]}, header=False)
    with zipfile.ZipFile(tmp_path / "written") as archive:
        assert b"_x005F_x0041_" in archive.read("xl/worksheets/sheet1.xml")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([Decimal("1.00"), Decimal("12345678901234.56")]), "more than the 15 digits"),
        (pa.array([1, 10**15 + 1]), "1000000000000001 has more than the 15 digits"),
        (pa.array([0.5, float("inf")]), "inf is not a number"),
        (pa.array(["x", "a\x00"]), "control character"),
        (pa.array(["x", "a" * 32_768]), "longer than the 32767 characters of a cell"),
        (pa.array([date(2026, 1, 1), date(1900, 2, 28)]), "1900-02-28 is before 1900-03-01"),
    ],
)
def test_value_that_excel_cannot_carry_names_record_and_column(
    tmp_path: Path, column: pa.Array, message: str
) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        values(tmp_path, {"a": column})
    assert caught.value.where == "record 2, column a"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_numbers_with_zeros_at_their_end_are_not_long(tmp_path: Path) -> None:
    [(found,)] = values(tmp_path, {"a": [5 * 10**17]}, header=False)
    assert found == 5 * 10**17


def test_null_in_a_required_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="required") as caught:
        values(tmp_path, {"a": ["x", None]}, columns={"a": {"required": True}})
    assert caught.value.where == "record 2, column a"


def test_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="table rows has no column b"):
        values(tmp_path, {"a": ["x"]}, columns={"b": {}})


def test_more_rows_than_a_sheet_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excel, "_MOST_ROWS", 3)
    assert len(values(tmp_path, {"a": [1, 2]})) == 3
    with pytest.raises(ArtifactError, match="4 rows are more than the 3 of an Excel sheet"):
        values(tmp_path, {"a": [1, 2, 3]})


def test_empty_table_gives_the_titles(tmp_path: Path) -> None:
    assert values(tmp_path, {"a": pa.array([], pa.int64())}, when_empty="write") == [("a",)]


def test_same_rows_give_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"a": [f"t{n}" for n in range(500)], "n": range(500)})
    _, path = write(tmp_path, {"rows": table}, format="excel")
    first = path.read_bytes()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        _, path = write(tmp_path, {"rows": table}, format="excel")
        assert path.read_bytes() == first
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        created = re.search(rb"<dcterms:created[^>]*>([^<]*)", archive.read("docProps/core.xml"))
    assert created is not None
    assert created[1] == b"2026-09-30T00:00:00Z"


def test_titles_that_stand_twice_and_bad_names_of_sheets_are_found_without_data(
    tmp_path: Path,
) -> None:
    section = {"a": spec_of(format="excel", columns={"x": {"title": "y"}, "y": {}})}
    [problem] = check(section, tmp_path)
    assert problem.keys == ("a", "columns", "y")
    with pytest.raises(ValidationError, match="sheet"):
        spec_of(format="excel", sheet="a/b")
