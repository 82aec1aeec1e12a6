"""Finished files read back as their receiver would read them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dag_factory.read_back import file_form
from openreg_airflow.artifacts.formats.fixed_spec import FixedArtifact, FixedField
from openreg_airflow.artifacts.formats.fixed_text import set_into_place
from openreg_airflow.errors import ArtifactError, IntegrityError
from openreg_airflow.records import Artifact, ArtifactFile
from openreg_airflow.validate.finished import json_files
from openreg_airflow.validate.finished.fixed_files import value_at
from openreg_airflow.validate.finished.form import FileForm, fault
from openreg_airflow.validate.finished.read_back import read_back
from openreg_airflow.validate.finished.spec import ReadBack
from openreg_airflow.workspace import Workspace
from tests.writer_bench import spec_of, write

if TYPE_CHECKING:
    from pathlib import Path

XML = """<?xml version="1.0"?>
<e:BizData xmlns:e="urn:envelope"><Hdr><Nb>2</Nb></Hdr><Pyld>
<Document xmlns="urn:doc"><Rpt><Hdr Ccy="EUR"><NbOfTxs>2</NbOfTxs></Hdr>
<Tx><New><Id>A&amp;1</Id><Amt Ccy="USD">10.50</Amt></New></Tx>
<Tx><New><Id> B2 </Id><Amt Ccy="EUR"></Amt><Opt><Id>inner</Id></Opt></New></Tx>
</Rpt></Document></Pyld></e:BizData>
"""
XML_READING = {
    "record": "BizData/Pyld/Document/Rpt/Tx",
    "fields": {"id": "New/Id", "amount": "New/Amt", "ccy": "New/Amt/@Ccy", "no": "New/None/@x"},
    "columns": {"amount": "decimal(18,2)", "told": "integer"},
    "document": {"told": "BizData/Pyld/Document/Rpt/Hdr/NbOfTxs",
                 "ccy": "BizData/Pyld/Document/Rpt/Hdr/@Ccy", "top": "BizData/Hdr/Nb"},
}  # fmt: skip


class Site:
    """A workspace with finished files, and what is read of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.into = folder / "into"
        self.into.mkdir()
        self.files: list[ArtifactFile] = []

    def add(self, name: str, content: bytes, records: int = 0, **more: Any) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        self.files.append(
            ArtifactFile(
                uri=str(path),
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                filename=name,
                records=records,
                part=len(self.files) + 1,
                **more,
            )
        )
        return path

    def read(self, form: FileForm, **reading: Any) -> tuple[pa.Table, list[dict[str, Any]]]:
        artifact = Artifact(
            name="trades", format=form.format, records=0, schema_check="valid",
            files=tuple(self.files),
        )  # fmt: skip
        tables = read_back(
            artifact,
            form,
            ReadBack.model_validate(reading),
            workspace=Workspace(self.folder),
            into=self.into,
        )
        records = pq.read_table(tables["trades_records"].path)
        assert tables["trades_records"].rows == len(records)
        return records, pq.read_table(tables["trades_files"].path).to_pylist()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


CSV = FileForm(format="csv")
XML_FORM = FileForm(format="xml")
LINES = FileForm(format="jsonl")
JSON_FORM = FileForm(format="json")
JSON_READING = {"record": "r", "fields": {"id": "id"}}


def test_csv_is_read_with_its_header_and_trailer_records(site: Site) -> None:
    text = 'H;20260302\nid;"the price";note\nA;1,50;"x;\ny"\nB;;-\nT;2;1,50\n'
    site.add("t.csv", text.encode("utf-16"), records=2)
    form = FileForm(format="csv", delimiter=";", encoding="utf-16", null="-", decimal_mark=",",
                    before=1, after=1)  # fmt: skip

    with pytest.raises(ArtifactError, match="record 2, price: '' is no decimal"):
        site.read(form, fields={"id": "id", "price": "the price"},
                  columns={"price": "decimal(9,2)"})  # fmt: skip
    records, [file] = site.read(form, fields={"id": "id", "note": "note"})

    assert records.to_pylist() == [
        {"file": "t.csv", "record": 1, "id": "A", "note": "x;\ny"},
        {"file": "t.csv", "record": 2, "id": "B", "note": None},
    ]
    assert (file["declared"], file["found"], file["part"]) == (2, 2, 1)
    assert (file["first_line"], file["last_line"]) == ("H;20260302", "T;2;1,50")


def test_values_get_their_declared_types(site: Site) -> None:
    site.add("t.csv", b"n,p,d,b,t\n7,1.50,2026-03-02,true,2026-03-02T10:00:00Z\n,,,,\n")
    columns = {"n": "integer", "p": "decimal(9,2)", "d": "date", "b": "boolean",
               "t": "timestamp_utc"}  # fmt: skip
    records, _ = site.read(CSV, columns=columns)
    first, second = records.drop_columns(["file", "record"]).to_pylist()
    assert (first["n"], first["p"], first["d"], first["b"]) == (
        7, Decimal("1.50"), date(2026, 3, 2), True,
    )  # fmt: skip
    assert first["t"].isoformat() == "2026-03-02T10:00:00+00:00"
    assert set(second.values()) == {None}


def test_xml_is_read_by_local_names_with_attributes_and_values_of_the_document(
    site: Site,
) -> None:
    site.add("t.xml", XML.encode())
    records, [file] = site.read(XML_FORM, **XML_READING)

    assert records.drop_columns(["file"]).to_pylist() == [
        {"record": 1, "id": "A&1", "amount": Decimal("10.50"), "ccy": "USD", "no": None},
        {"record": 2, "id": "B2", "amount": None, "ccy": "EUR", "no": None},
    ]
    assert (file["told"], file["ccy"], file["top"], file["found"]) == (2, "EUR", "2", 2)


def test_json_lines_keep_the_digits_of_numbers(site: Site) -> None:
    site.add("t.jsonl", b'{"id": 1, "p": {"v": 0.10000000000000000001, "x": [1]}}\n{"id": 2}\n')
    records, _ = site.read(LINES, fields={"id": "id", "v": "p/v", "x": "p/x", "deep": "id/no"})
    assert records.drop_columns(["file", "record"]).to_pylist() == [
        {"id": "1", "v": "0.10000000000000000001", "x": '["1"]', "deep": None},
        {"id": "2", "v": None, "x": None, "deep": None},
    ]


def test_parquet_keeps_its_types(site: Site) -> None:
    table = pa.table({"id": [1, 2], "p": pa.array([Decimal("1.5"), None], pa.decimal128(9, 1))})
    pq.write_table(table, site.folder / "x.parquet")
    site.add("t.parquet", (site.folder / "x.parquet").read_bytes())
    records, _ = site.read(FileForm(format="parquet"), fields={"price": "p"})
    assert records.schema.field("price").type == pa.decimal128(9, 1)
    assert records["record"].to_pylist() == [1, 2]


@pytest.mark.parametrize("how", ["gzip", "zip"])
def test_packed_files_are_unpacked(site: Site, how: str) -> None:
    content = b"id\nA\nB\n"
    if how == "gzip":
        content = gzip.compress(content)
    else:
        with zipfile.ZipFile(site.folder / "z", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", content)
        content = (site.folder / "z").read_bytes()
    site.add(f"t.{how}", content)
    records, _ = site.read(CSV)
    assert records["id"].to_pylist() == ["A", "B"]


def test_parts_are_one_table_and_other_roles_are_left_out(site: Site) -> None:
    site.add("1.csv", b"id\nA\nB\n", records=2)
    site.add("1.csv.sha256", b"...", role="checksum")
    site.add("2.csv", b"id\nC\n", records=1)
    records, files = site.read(CSV)
    assert [(r["file"], r["record"], r["id"]) for r in records.to_pylist()] == [
        ("1.csv", 1, "A"), ("1.csv", 2, "B"), ("2.csv", 1, "C"),
    ]  # fmt: skip
    assert [file["found"] for file in files] == [2, 1]


_IDS = ["a", "b", "c", "d", "e"]
_ID_ONLY = {"fields": {"id": "id"}}


def _workbook() -> bytes:
    book = openpyxl.Workbook()
    for value in ("id", *_IDS):
        book.active.append([value])
    book.save(data := io.BytesIO())
    return data.getvalue()


@pytest.mark.parametrize(
    ("form", "content", "reading"),
    [
        (CSV, "\n".join(["id", *_IDS]).encode(), _ID_ONLY),
        (LINES, "\n".join(f'{{"id":"{i}"}}' for i in _IDS).encode(), {}),
        (JSON_FORM, json.dumps({"r": [{"id": i} for i in _IDS]}).encode(), JSON_READING),
        (XML_FORM, f"<d>{''.join(f'<r><id>{i}</id></r>' for i in _IDS)}</d>".encode(),
         {"record": "d/r", **_ID_ONLY}),
        (FileForm(format="excel"), _workbook(), _ID_ONLY),
        (file_form(FixedArtifact.model_validate({
            "format": "fixed", "table": "t", "filename": "t",
            "fields": [{"column": "id", "width": 1}]})),
         "".join(f"{i}\n" for i in _IDS).encode(), {}),
    ],
    ids=["csv", "jsonl", "json", "xml", "excel", "fixed"],
)  # fmt: skip
def test_records_of_several_batches_keep_their_order_and_numbers(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    form: FileForm,
    content: bytes,
    reading: dict[str, Any],
) -> None:
    monkeypatch.setattr("openreg_airflow.validate.finished.records.BATCH", 2)
    site.add("t", content)
    records, [file] = site.read(form, **reading)
    assert records["id"].to_pylist() == _IDS
    assert records["record"].to_pylist() == [1, 2, 3, 4, 5]
    assert file["found"] == 5


def test_files_without_records_have_the_columns_all_the_same(site: Site) -> None:
    site.add("t.csv", b"id,price\n")
    records, [file] = site.read(CSV)
    assert (records.column_names, len(records)) == (["file", "record", "id", "price"], 0)
    assert file["found"] == 0


@pytest.mark.parametrize(
    ("form", "content", "reading", "expected"),
    [
        (CSV, b"id,price\nA,1\nB\n", {}, "record 2 has 1 values for 2 columns"),
        (CSV, b'id\n"A\n', {}, "not well written"),
        (CSV, b"", {}, "no line with the names"),
        (CSV, b"id,id\nA,B\n", {}, "names a column twice"),
        (CSV, b"id\nA\n", {"fields": {"x": "price"}}, "lacks the columns price"),
        (CSV, b"id\n\xff\n", {}, "cannot be read back"),
        (CSV, gzip.compress(b"id\nA\n", mtime=0)[:-6], {}, "cannot be read back"),
        (CSV, b"PK\x03\x04 and so on", {}, "cannot be read back"),
        (CSV, gzip.compress(b"id\nA\n")[:-8] + b"12345678", {}, "cannot be read back"),
        (FileForm(format="csv", after=3), b"id\nA\n", {}, "ends within its trailer"),
        (FileForm(format="csv", before=2), b"H\n", {}, "ends within its header"),
        (LINES, b'{"id": 1}\n[]\n', {}, "line 2 is no object"),
        (LINES, b'{"id": 1}\n{"id": \n', {}, "line 2 is not JSON"),
        (LINES, b'{"id": 1}\n{"no": 1}\n', {}, "members that the first line has not: no"),
        (JSON_FORM, b'{"r": [{"id": 1}, {"id" 2}]}', JSON_READING,
         "t is not JSON: Expecting ':' delimiter, at char.* 2[45]$"),
        (JSON_FORM, b'{"r": [{"id": 1} {"id": 2}]}', JSON_READING, "',' is missing, at char.* 18"),
        (JSON_FORM, b'{"r": [{"id": 1}]', JSON_READING, "is missing, at character 18"),
        (JSON_FORM, b'{"r": [{"id": "1', JSON_READING, "Unterminated string"),
        (JSON_FORM, b'{"r": []} []', JSON_READING, "something follows the document"),
        (JSON_FORM, b'{"r": [1]}', JSON_READING, "record 1 is no object"),
        (JSON_FORM, b'{"r": [{"id": NaN}]}', JSON_READING, "NaN is no value of JSON"),
        (JSON_FORM, b'{"q": []}', JSON_READING, "t has nothing at r, where its records are"),
        (JSON_FORM, b'{"r": [{"id": ' + b"[" * 100_000, JSON_READING, "nested too deeply"),
        (JSON_FORM, b"[" * 100_000, JSON_READING, "nested too deeply"),
        (JSON_FORM, b"", JSON_READING, "it ends too early"),
        (XML_FORM, XML[:-12].encode(), XML_READING, "not well-formed"),
        (XML_FORM, XML.replace("10.50", "ten").encode(), XML_READING,
         "t, record 1, amount: 'ten' is no decimal128"),
        (XML_FORM, XML.replace("<NbOfTxs>2", "<NbOfTxs>two").encode(), XML_READING,
         "told of a document of t: "),
    ],
)  # fmt: skip
def test_file_that_a_receiver_would_refuse_is_refused(
    site: Site, form: FileForm, content: bytes, reading: dict[str, Any], expected: str
) -> None:
    site.add("t", content)
    with pytest.raises(ArtifactError, match=expected):
        site.read(form, **reading)


def test_entities_are_neither_unfolded_nor_fetched(site: Site) -> None:
    secret = site.folder / "secret"
    secret.write_text("hunter2")
    bomb = '<!DOCTYPE d [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    bomb += f'<!ENTITY f SYSTEM "file://{secret}">]>'
    text = f"{bomb}<d><r><id>&b;</id></r><r><id>&f;</id></r></d>"
    site.add("t.xml", text.encode())
    records, _ = site.read(XML_FORM, record="d/r", fields={"id": "id"})
    assert records["id"].to_pylist() == [None, None]


def test_changed_file_is_refused(site: Site) -> None:
    path = site.add("t.csv", b"id\nA\n")
    path.write_bytes(b"id\nB\n")
    with pytest.raises(IntegrityError):
        site.read(CSV)


@pytest.mark.parametrize(
    ("form", "reading", "expected"),
    [
        (FileForm(format="xbrl_csv"), {}, "format xbrl_csv cannot be read back"),
        (FileForm(format="fixed"), {}, "of several types"),
        (
            FileForm(format="fixed"),
            {"fields": {"id": "5-2"}},
            "neither a column of its records nor",
        ),
        (FileForm(format="fixed", line_end=""), {"fields": {"id": "1-2"}}, "have no ends"),
        (FileForm(format="csv", encrypted=True), {}, "encrypted"),
        (XML_FORM, {}, "must say record and fields"),
        (JSON_FORM, {"record": "a"}, "of JSON read_back must say record and fields"),
        (CSV, {"record": "a/b"}, "go with XML"),
        (FileForm(format="csv", header=False), {}, "declares no columns"),
        (FileForm(format="excel", header=False), {}, "declares no columns"),
        (CSV, {"fields": {"a": "a"}, "columns": {"b": "date"}}, "gives types of b"),
    ],
)
def test_what_cannot_be_read_back_is_said_before_anything_runs(
    form: FileForm, reading: dict[str, Any], expected: str
) -> None:
    assert expected in (fault(form, ReadBack.model_validate(reading)) or "")


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=30))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    import csv

    site = Site(tmp_path_factory.mktemp("site"))
    clean = [[v.replace("\0", "").replace("\r", "") or "x" for v in row] for row in rows]
    path = site.folder / "w"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file, lineterminator="\n").writerows([["a", "b"], *clean])
    site.add("t.csv", path.read_bytes())
    records, _ = site.read(CSV)
    expected = [v.encode(errors="replace").decode() for row in clean for v in row]
    assert [v for row in zip(records["a"].to_pylist(), records["b"].to_pylist(), strict=True)
            for v in row] == expected  # fmt: skip


JSON = """{"header": {"count": 3, "sender": {"name": "Demo"}, "tags": ["a", "b"]}, "skipped": [[1], {"r": 2}],
 "report": {"groups": [{"trades": [
   {"id": "A\\u00e9", "price": {"amount": 10.50, "ccy": "EUR"}, "legs": [1, 2.50]},
   {"id": "B", "price": null}]}, {"trades": []}, {"trades": [{"id": "C", "ok": true}]}]},
 "total": 10.50}
"""  # noqa: E501


@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 18])
def test_document_of_json_is_read_record_by_record(
    site: Site, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(json_files, "_PIECE", piece)
    site.add("t.json", JSON.encode())
    records, [file] = site.read(
        JSON_FORM,
        record="report/groups/trades",
        fields={"id": "id", "amount": "price/amount", "legs": "legs", "ok": "ok"},
        columns={"amount": "decimal(18,2)", "told": "integer", "total": "decimal(18,2)"},
        document={"told": "header/count", "sender": "header/sender/name", "total": "total"},
    )
    assert records["id"].to_pylist() == ["A\u00e9", "B", "C"]
    assert records["amount"].to_pylist() == [Decimal("10.50"), None, None]
    assert records["legs"].to_pylist() == ['["1", "2.50"]', None, None]
    assert records["ok"].to_pylist() == [None, None, "true"]
    assert records["record"].to_pylist() == [1, 2, 3]
    assert (file["told"], file["sender"], file["found"]) == (3, "Demo", 3)
    assert file["total"] == Decimal("10.50")


@pytest.mark.parametrize(
    ("content", "record", "found"),
    [("[]", ".", 0), ('[{"id": "1"}, {}]', ".", 2), ('{"r": []}', "r", 0), ('{"id": 7}', ".", 1)],
)
def test_document_that_is_its_records_is_read(
    site: Site, content: str, record: str, found: int
) -> None:
    site.add("t.json", content.encode())
    records, [file] = site.read(JSON_FORM, record=record, fields={"id": "id"})
    assert (len(records), file["found"]) == (found, found)


def test_value_of_json_that_is_too_long_to_hold_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_files, "_PIECE", 100)
    monkeypatch.setattr(json_files, "_LONGEST", 1000)
    site.add("t.json", b'{"r": [{"id": "' + b"x" * 5000 + b'"}]}')
    with pytest.raises(ArtifactError, match="longer than 1,000 characters"):
        site.read(JSON_FORM, **JSON_READING)


#: id of 3, amount of 6 with two implied decimals and a leading sign, note of 4; made by a section.
FIXED_SECTION = {
    "format": "fixed", "table": "trades", "filename": "t.txt",
    "fields": [
        {"text": "D"}, {"column": "id", "width": 3},
        {"column": "amount", "width": 6, "decimals": 2, "sign": "leading"},
        {"filler": 1}, {"column": "note", "width": 4, "null": "-"},
    ],
    "header_records": [[{"text": "H"}]], "trailer_records": [[{"text": "T"}, {"filler": 1}]],
}  # fmt: skip


def fixed_form(**changes: Any) -> FileForm:
    return file_form(FixedArtifact.model_validate(FIXED_SECTION | changes))


def test_records_of_fixed_width_are_read_by_their_places(site: Site) -> None:
    site.add("t.txt", b"H\nDA 1 01050 x 0 \nDB  -00007 -   \nT \n")
    records, [file] = site.read(fixed_form(), columns={"amount": "decimal(18,2)"})
    assert records.column_names == ["file", "record", "id", "amount", "note"]
    assert records["id"].to_pylist() == ["A 1", "B"]
    assert records["amount"].to_pylist() == [Decimal("10.50"), Decimal("-0.07")]
    assert records["note"].to_pylist() == ["x 0", None]
    assert (file["found"], file["first_line"], file["last_line"]) == (2, "H", "T ")


def test_records_without_ends_and_of_several_types_are_read_by_places(site: Site) -> None:
    kinds = [
        {"when": f"kind = '{kind}'", "fields": [{"column": "kind", "width": 1}, field]}
        for kind, field in (("A", {"filler": 3}), ("B", {"column": "id", "width": 5}))
    ]
    form = fixed_form(
        fields=None, record_types=kinds, line_end="none", record_length=8, encoding="utf-16-le"
    )
    site.add("t.txt", "H       A123    B\u00e92345  T       ".encode("utf-16-le"))
    records, _ = site.read(form, fields={"kind": "1-1", "id": "2-6"})
    assert records["kind"].to_pylist() == ["A", "B"]
    assert records["id"].to_pylist() == ["123", "\u00e92345"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"H\nDA 1 01050\nT \n", "record 1 is 10 characters long and not 15"),
        (b"H\nDA 1 0x050 x 0 \nT \n", "record 1: ' 0x050' is no number of amount"),
        (b"H\nDA 1 01050 x 0 \nT ", "without the end"),
        (b"H\n", "ends within its header or trailer"),
        (b"H\nDA 1 01050 \xff 0 \nT \n", "cannot be read back"),
    ],
)
def test_records_of_fixed_width_that_are_wrong_are_refused(
    site: Site, content: bytes, expected: str
) -> None:
    site.add("t.txt", content)
    with pytest.raises(ArtifactError, match=expected):
        site.read(fixed_form())


@given(
    st.decimals(-999, 999, places=2),
    st.sampled_from(["leading", "trailing", "overpunch"]),
    st.sampled_from(["+", " ", "0", ""]),
    st.sampled_from(["left", "right", None]),
    st.sampled_from([".", ""]),
)
def test_number_of_fixed_width_comes_back(
    number: Decimal, sign: str, plus: str, align: str | None, mark: str
) -> None:
    field = {"column": "amount", "width": 9, "decimals": 2, "sign": sign, "plus": plus}
    field |= {"align": align, "decimal_mark": mark}
    form = fixed_form(fields=[field])
    written = set_into_place(
        FixedField.model_validate(field), pa.array([number], pa.decimal128(18, 2))
    )
    back = value_at(written[0].as_py(), form.places[0])
    assert Decimal(back or "none") == number


def workbook(*rows: list[Any]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


EXCEL = FileForm(format="excel")


@pytest.mark.parametrize("packing", ["none", "gzip", "zip"])
def test_workbook_is_read_with_the_digits_that_it_has(site: Site, packing: str) -> None:
    content = workbook(
        ["id", "price", "day", "ok", "at"],
        ["A", 10.1, date(2026, 3, 31), True, datetime(2026, 3, 31, 12, 30)],  # noqa: DTZ001
        ["B", 12345678, None, False],
        [None, 1e-7],
    )
    if packing == "gzip":
        content = gzip.compress(content)
    elif packing == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("t.xlsx", content)
        content = packed.getvalue()
    site.add("t.xlsx", content)
    records, [file] = site.read(EXCEL, columns={"price": "decimal(18,7)", "day": "date"})
    assert records["id"].to_pylist() == ["A", "B", None]
    assert records["price"].to_pylist() == [
        Decimal("10.1"), Decimal(12345678), Decimal("0.0000001"),
    ]  # fmt: skip
    assert records["day"].to_pylist() == [date(2026, 3, 31), None, None]
    assert records["ok"].to_pylist() == ["true", "false", None]
    assert records["at"].to_pylist() == ["2026-03-31T12:30:00", None, None]
    assert file["found"] == 3


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["id"], ["=1+1"]], "t.xlsx, row 2 has a formula in A2"),
        ([["id"], ["#N/A"]], "t.xlsx, row 2 has the error #N/A in A2"),
        ([["id"], ["A", "B"]], "record 1 has more values than the 1 columns"),
        ([["id", "id"]], "names a column twice"),
        ([], "no row with the names"),
    ],
)
def test_workbook_that_is_wrong_is_refused(site: Site, rows: list[Any], expected: str) -> None:
    site.add("t.xlsx", workbook(*rows))
    with pytest.raises(ArtifactError, match=expected):
        site.read(EXCEL)


@pytest.mark.parametrize("content", [b"", b"id\nA\n", workbook(["id"])[:-50]])
def test_what_is_no_workbook_is_refused(site: Site, content: bytes) -> None:
    site.add("t.xlsx", content)
    with pytest.raises(ArtifactError, match=r"is no Excel workbook|cannot be read back"):
        site.read(EXCEL)


@pytest.mark.parametrize(
    ("section", "reading"),
    [
        ({"format": "csv", "delimiter": ";", "quoting": "minimal"}, {}),
        ({"format": "excel"}, {}),
        (
            {"format": "fixed", "encoding": "utf-8", "line_end": "crlf",
             "fields": [{"column": "id", "width": 6},
                        {"column": "price", "width": 9, "decimals": 2, "sign": "trailing"},
                        {"column": "day", "width": 10, "format": "%Y-%m-%d"}]},
            {},
        ),
        ({"format": "jsonl"}, {"fields": {name: name for name in ("id", "price", "day")}}),
        (
            {"format": "json", "template": "template.json"},
            {"record": "report/rows",
             "fields": {"id": "id", "price": "price/amount", "day": "day"}},
        ),
    ],
)  # fmt: skip
def test_what_a_writer_wrote_comes_back(
    site: Site, tmp_path: Path, section: dict[str, Any], reading: dict[str, Any]
) -> None:
    table = pa.table(
        {
            "id": ["A", "Bé 1", "=C", None],
            "price": pa.array([Decimal("10.50"), Decimal("-0.07"), None, Decimal(0)],
                              pa.decimal128(12, 2)),
            "day": [date(2026, 3, 31), None, date(2026, 4, 1), date(1999, 12, 31)],
        }
    )  # fmt: skip
    shown = {"$each": "rows", "id": "{id}", "price": {"amount": "{price}"}, "day": "{day}"}
    (tmp_path / "template.json").write_text(json.dumps({"report": {"rows": [shown]}}))
    _, path = write(tmp_path, {"rows": table}, **section)
    site.add("written", path.read_bytes(), records=4)
    form = file_form(spec_of(**section))
    kinds = {"price": "decimal(12,2)", "day": "date"}
    records, [file] = site.read(form, columns=kinds, **reading)
    assert records.select(["id", "price", "day"]).to_pydict() == table.to_pydict()
    assert file["found"] == file["declared"] == 4
