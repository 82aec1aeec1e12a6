from __future__ import annotations

import re
import string
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from openreg_airflow.artifacts import writer
from openreg_airflow.errors import ArtifactError
from tests.artifact_files import made, spec_of

if TYPE_CHECKING:
    from pathlib import Path

SPEC = spec_of(format="xml", layout="layout.xml")


def layout(record: str, root: str = "<doc>{}</doc>") -> str:
    """A layout with one kind of record."""
    opening = root.replace(">", ' xmlns:r="urn:openreg:layout:1">', 1)
    return opening.format(record)


def written(folder: Path, record: str, **columns: Any) -> str:
    """The records of a document, one a line."""
    _, data = made(folder, SPEC, {"rows": pa.table(columns)}, layout=layout(record))
    prolog, opening, *records, closing, rest = data.decode().split("\n")
    assert (prolog, opening, closing, rest) == (
        '<?xml version="1.0" encoding="UTF-8"?>',
        "<doc>",
        "</doc>",
        "",
    )
    return "\n".join(records)


# What XML 1.0 can carry, and of that mostly what hurts.
xml_text = st.text(
    st.one_of(
        st.sampled_from("&<>'\"\t\r\n ]{}\ufffd\x85\u2028😀é"),
        st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff"),
    )
)


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(
        st.tuples(
            xml_text | st.none(),
            xml_text | st.none(),
            st.decimals(allow_nan=False, allow_infinity=False, places=13, min_value=-(10**20),
                        max_value=10**20) | st.none(),
            st.datetimes(timezones=st.just(UTC)) | st.none(),
            st.booleans() | st.none(),
        ),
        min_size=1,
        max_size=20,
    )
)  # fmt: skip
@example(rows=[("\r\n]]>&'", 'a\r\n\t"<&', Decimal("1E-13"), None, None), (None,) * 5])
@example(rows=[("", "", Decimal(0), None, False)])
def test_whatever_goes_in_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]
) -> None:
    text, note, number, instant, flag = zip(*rows, strict=True)
    table = pa.table(
        {
            "text": pa.array(text, pa.string()),
            "note": pa.array(note, pa.string()),
            "number": pa.array(number, pa.decimal128(38, 13)),
            "instant": pa.array(instant, pa.timestamp("us", "UTC")),
            "flag": pa.array(flag, pa.bool_()),
        }
    )
    record = (
        '<rec r:each="rows" fixed="yes"><a>{text}</a><b note="{note}" r:optional="note">x</b>'
        "<c><d>{number}</d><e>{instant}</e></c><f>{flag}</f><g>const</g></rec>"
    )
    _, data = made(tmp_path_factory.mktemp("xml"), SPEC, {"rows": table}, layout=layout(record))
    for parse in (etree.fromstring, ElementTree.fromstring):
        records = parse(data).findall("rec")
        assert len(records) == len(rows)
        for found, row in zip(records, rows, strict=True):
            assert found.findtext("a") == (row[0] or None)
            assert found.find("b").get("note") == (row[1] or None)
            assert (found.findtext("c/d") is None) == (row[2] is None)
            if row[2] is not None:
                assert Decimal(found.findtext("c/d")) == row[2]
                assert re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9])?", found.findtext("c/d"))
            instant = found.findtext("c/e")
            assert (datetime.fromisoformat(instant) if instant else None) == row[3]
            assert found.findtext("f") == (None if row[4] is None else str(row[4]).lower())
            assert (found.find("c") is None) == (row[2] is None and row[3] is None)
    assert not re.search(rb"<(\w+)[^>]*></\1>|<rec/>", data)


@settings(deadline=None, max_examples=60)
@given(
    character=st.sampled_from(
        [c for c in map(chr, range(32)) if c not in "\t\r\n"] + ["\ufffe", "\uffff"]
    ),
    before=st.text(string.printable[:90], max_size=5),
    attribute=st.booleans(),
    clean=st.integers(0, 4),
)
def test_control_characters_are_refused_with_record_and_column(
    tmp_path_factory: pytest.TempPathFactory,
    character: str,
    before: str,
    attribute: bool,
    clean: int,
) -> None:
    record = '<rec r:each="rows" r:key="id">{}</rec>'.format(
        '<a note="{text}">x</a>' if attribute else "<a>{text}</a>"
    )
    ids = [f"T{number}" for number in range(clean + 1)]
    texts = ["fine"] * clean + [before + character]
    with pytest.raises(ArtifactError, match="XML cannot carry") as caught:
        written(tmp_path_factory.mktemp("xml"), record, id=ids, text=texts)
    where = str(caught.value.where)
    assert where.startswith(f"record {clean + 1} (id T{clean}), <a> in layout.xml line 1, ")
    assert where.endswith("column text")


def test_element_without_a_value_is_left_out(tmp_path: Path) -> None:
    record = '<rec r:each="rows"><id>{id}</id><o><p><q>{x}</q></p><c>const</c></o></rec>'
    assert written(tmp_path, record, id=["1", "2"], x=["a", None]) == (
        "<rec><id>1</id><o><p><q>a</q></p><c>const</c></o></rec>\n<rec><id>2</id></rec>"
    )


def test_mandatory_element_without_a_value_names_record_and_element(tmp_path: Path) -> None:
    record = (
        '<rec r:each="rows" r:key="id"><id>{id}</id>'
        '<o r:required="true"><p>{x}</p><q>{y}</q></o></rec>'
    )
    with pytest.raises(ArtifactError, match="<o> is mandatory and has no value: x, y") as caught:
        written(tmp_path, record, id=["A", "B"], x=["1", None], y=["1", ""])
    assert caught.value.where == "record 2 (id B)"


def test_mandatory_element_counts_only_where_its_parent_is_written(tmp_path: Path) -> None:
    record = (
        '<rec r:each="rows"><id>{id}</id>'
        '<o r:when="kind = \'P\'"><p r:required="true">{x}</p></o>'
        '<g><h r:required="true">{y}</h><i>{z}</i></g></rec>'
    )
    columns: dict[str, Any] = {
        "id": ["1", "2"],
        "kind": ["P", "Q"],
        "x": ["a", None],
        "y": ["b", None],
        "z": pa.array(["c", None]),
    }
    assert written(tmp_path, record, **columns) == (
        "<rec><id>1</id><o><p>a</p></o><g><h>b</h><i>c</i></g></rec>\n<rec><id>2</id></rec>"
    )
    columns["z"] = ["c", "d"]
    with pytest.raises(ArtifactError, match="<h> is mandatory"):
        written(tmp_path, record, **columns)


def test_attribute_needs_a_value_where_its_element_has_one(tmp_path: Path) -> None:
    record = '<rec r:each="rows"><id>{id}</id><amt Ccy="{ccy}">{amount}</amt></rec>'
    columns: dict[str, Any] = {"id": ["1", "2"], "amount": [Decimal("1.50"), None]}
    assert written(tmp_path, record, ccy=["EUR", None], **columns) == (
        '<rec><id>1</id><amt Ccy="EUR">1.5</amt></rec>\n<rec><id>2</id></rec>'
    )
    with pytest.raises(ArtifactError, match=r"<amt> has no Ccy: \{ccy\} is NULL") as caught:
        written(tmp_path, record, ccy=[None, "EUR"], **columns)
    assert caught.value.where == "record 1"


def test_element_with_attributes_only_is_written_when_one_has_a_value(tmp_path: Path) -> None:
    record = '<rec r:each="rows"><id>{id}</id><x a="{a}" b="1" r:optional="a"/></rec>'
    assert written(tmp_path, record, id=["1", "2"], a=["v", None]) == (
        '<rec><id>1</id><x a="v" b="1"/></rec>\n<rec><id>2</id></rec>'
    )


def test_text_of_two_values_refuses_half_of_them(tmp_path: Path) -> None:
    record = '<rec r:each="rows"><id>{id}</id><n>{first} {last}</n></rec>'
    assert written(tmp_path, record, id=["1", "2"], first=["A", None], last=["B", None]) == (
        "<rec><id>1</id><n>A B</n></rec>\n<rec><id>2</id></rec>"
    )
    with pytest.raises(ArtifactError, match="only some have a value") as caught:
        written(tmp_path, record, id=["1", "2"], first=["A", "C"], last=["B", None])
    assert caught.value.where == "record 2"


def test_choice_writes_one_and_refuses_two(tmp_path: Path) -> None:
    record = (
        '<rec r:each="rows"><id r:choice="true" r:required="true">'
        "<lei>{lei}</lei><mic>{mic}</mic><intl r:when=\"kind = 'I'\">INTC</intl></id></rec>"
    )
    lei: list[str | None] = ["L", None, None]
    assert written(tmp_path, record, lei=lei, mic=[None, "M", None], kind=["L", "M", "I"]) == (
        "<rec><id><lei>L</lei></id></rec>\n<rec><id><mic>M</mic></id></rec>\n"
        "<rec><id><intl>INTC</intl></id></rec>"
    )
    with pytest.raises(ArtifactError, match="<id> may have only one of <lei>, <mic>, <intl>"):
        written(tmp_path, record, lei=lei, mic=["M", "M", None], kind=["L", "M", "I"])
    # Of nothing but NULLs, the record itself is what has no value.
    with pytest.raises(ArtifactError, match="nothing of <rec> has a value") as caught:
        written(tmp_path, record, lei=lei, mic=[None, "M", None], kind=["L", "M", None])
    assert caught.value.where == "record 3"


def test_record_of_constants_is_written_for_each_row(tmp_path: Path) -> None:
    assert written(tmp_path, '<rec r:each="rows"><a>1</a></rec>', x=["a", "b"]) == (
        "<rec><a>1</a></rec>\n<rec><a>1</a></rec>"
    )


def test_formats_of_placeholders(tmp_path: Path) -> None:
    record = (
        '<rec r:each="rows"><a>{price:.5f}</a><b>{at:%d.%m.%Y %H:%M}</b><c>{flag:Y/N}</c>'
        "<d>{{{price}}}</d><e>{run.business_date:%Y%m%d}</e></rec>"
    )
    at = pa.array([datetime(2026, 9, 30, 17, 5, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    assert written(tmp_path, record, price=[Decimal("12.30")], at=at, flag=[True]) == (
        "<rec><a>12.30000</a><b>30.09.2026 17:05</b><c>Y</c><d>{12.3}</d><e>20260930</e></rec>"
    )
    with pytest.raises(ArtifactError, match=r"format \.5f is for numbers") as caught:
        written(tmp_path, record, price=["a"], at=at, flag=[True])
    assert "<a> in layout.xml line 1, column price" in str(caught.value.where)


def test_value_is_never_rounded(tmp_path: Path) -> None:
    record = '<rec r:each="rows"><a>{price:.2f}</a></rec>'
    with pytest.raises(ArtifactError, match=r"1\.005 has more than 2 decimals") as caught:
        written(tmp_path, record, price=[Decimal("1.500"), Decimal("1.005")])
    assert str(caught.value.where).startswith("record 2,")


def test_record_number_counts_through_all_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_MAX_BATCH_ROWS", 10)
    record = '<rec r:each="rows" r:key="id"><id>{id}</id><a r:required="true">{x}</a></rec>'
    values: list[str | None] = ["v"] * 95
    lines = written(tmp_path, record, id=list(range(95)), x=values).split("\n")
    assert lines == [f"<rec><id>{number}</id><a>v</a></rec>" for number in range(95)]
    values[37] = None
    with pytest.raises(ArtifactError) as caught:
        written(tmp_path, record, id=list(range(95)), x=values)
    assert caught.value.where == "record 38 (id 37)"


def test_unknown_column_names_the_line_and_a_close_one(tmp_path: Path) -> None:
    record = '<rec r:each="rows">\n<a>{transaction}</a></rec>'
    with pytest.raises(ArtifactError, match="table rows has no column transaction") as caught:
        written(tmp_path, record, transaction_id=["a"])
    assert caught.value.where == "layout.xml, line 2"
    assert "Did you mean transaction_id?" in str(caught.value.hint)


def test_envelope_of_another_namespace_and_a_header_table(tmp_path: Path) -> None:
    document = """
    <b:BizData xmlns:b="urn:biz" xmlns:r="urn:openreg:layout:1">
      <b:Hdr><h:AppHdr xmlns:h="urn:head" r:each="header"><h:Fr>{sender}</h:Fr></h:AppHdr></b:Hdr>
      <b:Pyld><Document xmlns="urn:doc">
        <Nb>{run.records}</Nb><Dt>{run.business_date}</Dt>
        <Tx r:each="rows"><Id>{id}</Id></Tx>
      </Document></b:Pyld>
    </b:BizData>"""
    tables = {"rows": pa.table({"id": [1, 2]}), "header": pa.table({"sender": ["A & B"]})}
    artifact, data = made(tmp_path, SPEC, tables, layout=document)
    assert artifact.records == 2
    assert data.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<b:BizData xmlns:b="urn:biz"><b:Hdr>\n'
        '<h:AppHdr xmlns:h="urn:head"><h:Fr>A &amp; B</h:Fr></h:AppHdr>\n'
        '</b:Hdr><b:Pyld><Document xmlns="urn:doc"><Nb>2</Nb><Dt>2026-09-30</Dt>\n'
        "<Tx><Id>1</Id></Tx>\n<Tx><Id>2</Id></Tx>\n"
        "</Document></b:Pyld></b:BizData>\n"
    )


def test_table_without_rows_leaves_its_container_out(tmp_path: Path) -> None:
    document = layout('<n>{run.records}</n><list><rec r:each="rows"><a>{a}</a></rec></list>')
    spec = spec_of(format="xml", layout="layout.xml", when_empty="write")
    empty = pa.table({"a": pa.array([], pa.string())})
    _, data = made(tmp_path, spec, {"rows": empty}, layout=document)
    assert data == b'<?xml version="1.0" encoding="UTF-8"?>\n<doc><n>0</n></doc>\n'


def test_layout_must_repeat_the_artifacts_table(tmp_path: Path) -> None:
    tables = {"rows": pa.table({"a": [1]}), "other": pa.table({"a": [1]})}
    document = layout('<rec r:each="other"><a>{a}</a></rec>')
    with pytest.raises(ArtifactError, match="no r:each for table rows, but for other"):
        made(tmp_path, SPEC, tables, layout=document)
