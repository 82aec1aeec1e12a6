from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.layouts import layout, layout_schema
from openreg_airflow.artifacts.layouts.layout_scaffold import scaffold
from openreg_airflow.artifacts.validity.xsd_model import Schema
from openreg_airflow.cli import app
from openreg_airflow.errors import ArtifactError, SpecError
from tests.artifact_files import spec_of

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:doc"
    targetNamespace="urn:doc" elementFormDefault="qualified">
  <xs:include schemaLocation="types.xsd"/>
  <xs:element name="Doc"><xs:complexType><xs:sequence>
    <xs:element name="Hdr" type="Header"/>
    <xs:element name="Rec" type="Record" maxOccurs="unbounded"/>
  </xs:sequence></xs:complexType></xs:element>
  <xs:complexType name="Header"><xs:sequence>
    <xs:element name="Dt" type="xs:date"/><xs:element name="Nt" type="xs:string" minOccurs="0"/>
  </xs:sequence></xs:complexType>
  <xs:complexType name="Base"><xs:sequence>
    <xs:element name="Id" type="xs:string"/>
  </xs:sequence></xs:complexType>
  <xs:complexType name="Record"><xs:complexContent><xs:extension base="Base"><xs:sequence>
    <xs:choice>
      <xs:element name="Lei" type="xs:string"/><xs:element name="Mic" type="xs:string"/>
      <xs:sequence><xs:element name="Frst" type="xs:string"/>
        <xs:element name="Lst" type="xs:string"/></xs:sequence>
    </xs:choice>
    <xs:element name="Amt" type="Amount"/>
    <xs:element name="Wvr" type="Code" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="Sub" type="Record" minOccurs="0"/>
    <xs:group ref="Extra" minOccurs="0" maxOccurs="unbounded"/>
    <xs:any namespace="##other" processContents="lax" minOccurs="0"/>
  </xs:sequence></xs:extension></xs:complexContent></xs:complexType>
  <xs:group name="Extra"><xs:sequence>
    <xs:element name="Key" type="xs:string"/><xs:element name="Val" type="xs:string"/>
  </xs:sequence></xs:group>
</xs:schema>"""
TYPES = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:simpleType name="Code"><xs:restriction base="xs:string">
    <xs:enumeration value="OILQ"/><xs:enumeration value="SIZE"/></xs:restriction></xs:simpleType>
  <xs:complexType name="Amount"><xs:simpleContent><xs:extension base="xs:decimal">
    <xs:attribute name="Ccy" type="xs:string" use="required"/>
    <xs:attribute name="Sgn" type="Code"/></xs:extension></xs:simpleContent></xs:complexType>
</xs:schema>"""
GOOD = """<Doc xmlns="urn:doc" xmlns:r="urn:openreg:layout:1">
  <Hdr><Dt>{run.business_date}</Dt></Hdr>
  <Rec r:each="rows">
    <Id>{id}</Id>
    <Lei>{lei}</Lei>
    <Frst>{first}</Frst>
    <Lst>{last}</Lst>
    <Amt Ccy="{ccy}">{amount}</Amt>
    <Wvr r:each="waivers" r:on="id">{code}</Wvr>
    <Key>a</Key>
    <Val>{a}</Val>
    <Key>b</Key>
    <Val>{b}</Val>
    <x:More xmlns:x="urn:x">{more}</x:More>
  </Rec>
</Doc>"""


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    (tmp_path / "types.xsd").write_text(TYPES)
    return Schema([tmp_path / "doc.xsd"])


def held(text: str, schema: Schema) -> list[tuple[int, int, str]]:
    root, faults = layout.inspect(text.encode())
    assert root is not None, faults
    assert faults == []
    return [(*fault.place, fault.message) for fault in layout_schema.hold(root, schema)]


def test_good_layout_has_no_faults(schema: Schema) -> None:
    assert held(GOOD, schema) == []
    envelope = f'<b:Biz xmlns:b="urn:biz"><b:Pyld>{GOOD}</b:Pyld></b:Biz>'
    assert held(envelope, schema) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<Dt>{run.business_date}</Dt>", "<Nt>x</Nt>", (2, 3, "<Hdr> lacks <Dt>")),
        ("<Id>{id}</Id>", "", (3, 3, "<Rec> lacks <Id>, which is mandatory")),
        ("Amt", "Amnt", (3, 3, "<Rec> lacks <Amt>")),
        ("Amt", "Amnt", (8, 5, "<Rec> has no element <Amnt> in the schema")),
        ('Ccy="{ccy}"', "", (8, 5, "<Amt> lacks the attribute Ccy")),
        ('Ccy="{ccy}"', 'Ccy="EUR" ccy="{ccy}"', (8, 25, "<Amt> has no attribute ccy")),
        (
            'Ccy="{ccy}"',
            'Ccy="{c}" r:optional="Ccy"',
            (8, 32, "the attribute Ccy of <Amt> is mandatory"),
        ),
        ('Ccy="{ccy}"', 'Ccy="EUR" Sgn="X"', (8, 25, "'X' is not among the codes of <Amt>")),
        (">{code}<", ">OIL<", (9, 37, "'OIL' is not among the codes of <Wvr>")),
        ("<Id>{id}</Id>", "<Id><a>{id}</a></Id>", (4, 9, "<a> is inside <Id>, which holds no")),
        ("<Dt>{run.business_date}</Dt>", "x", (2, 8, "<Hdr> holds elements and no text")),
        (
            "<Id>{id}</Id>\n    <Lei>{lei}</Lei>",
            "<Lei>{lei}</Lei>\n    <Id>{id}</Id>",
            (5, 5, "<Id> may not stand after <Lei> in <Rec>"),
        ),
        ("<Lst>{last}</Lst>", "", (3, 3, "<Rec> lacks <Lst>")),
        ("<Val>{a}</Val>", "", (3, 3, "<Rec> lacks <Val>")),
        ("<Id>{id}</Id>", "<Id>{id}</Id><Id>{b}</Id>", (4, 18, "<Id> may stand only once")),
        ("<Amt", '<Amt r:each="waivers" r:on="id"', (8, 18, "<Amt> may stand only once and")),
        ("urn:doc", "urn:dok", (1, 1, "no element of the layout is one that doc.xsd declares")),
        ("Doc", "Dok", (1, 1, "<Dok> is not among the elements that a document may begin with")),
    ],
)
def test_fault_has_its_place(
    schema: Schema, old: str, new: str, expected: tuple[int, int, str]
) -> None:
    assert old in GOOD
    count = -1 if old in {"Amt", "Doc"} else 1
    found = held(GOOD.replace(old, new, count), schema)
    line, column, message = expected
    assert any(f[:2] == (line, column) and f[2].startswith(message) for f in found), found


def test_choice_without_any_of_its_elements_is_a_fault(schema: Schema) -> None:
    text = GOOD.replace("<Lei>{lei}</Lei>", "")
    text = text.replace("<Frst>{first}</Frst>", "").replace("<Lst>{last}</Lst>", "")
    message = "<Rec> lacks <Lei> or <Mic> or <Frst> or <Lst>, which is mandatory"
    assert held(text, schema) == [(3, 3, message)]


def test_scaffold_is_a_good_layout_of_its_schema(schema: Schema) -> None:
    text = scaffold(schema, "Doc", "rows")
    assert held(text, schema) == []
    assert '<Rec r:each="rows">' in text
    assert "<!-- one of Lei | Mic | (Frst Lst) -->" in text
    assert '<Amt r:required="true" Ccy="{amt_ccy}" Sgn="{amt_sgn}" r:optional="Sgn">' in text
    assert "<!-- Sub 0..1: again as above -->" in text
    assert "<Dt>{run.business_date}</Dt> <!-- 1; date -->" in text
    assert 'OILQ, SIZE, repeat it by r:each="TABLE" r:on="COLUMN" -->' in text


def test_scaffold_of_an_unknown_root_names_those_there_are(schema: Schema) -> None:
    with pytest.raises(SpecError, match="has no element Dok at its top") as caught:
        scaffold(schema, "Dok")
    assert caught.value.hint == "Those are Doc."


def test_schema_without_the_one_it_includes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    with pytest.raises(ArtifactError, match=r"includes types\.xsd, which is not on this machine"):
        Schema([tmp_path / "doc.xsd"])


def test_check_holds_a_layout_against_its_schema(tmp_path: Path) -> None:
    (tmp_path / "layout.xml").write_text(GOOD.replace("<Id>{id}</Id>", "<Ident>{id}</Ident>"))
    schema = {"file": "doc.xsd", "envelope": ["biz.xsd"], "required": False}
    section = {"a": spec_of(format="xml", layout="layout.xml", schema=schema)}
    assert list(check(section, tmp_path)) == []
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    [broken] = check(section, tmp_path)
    assert (broken.keys, "includes types.xsd" in broken.message) == (("a", "schema"), True)
    (tmp_path / "types.xsd").write_text(TYPES)
    lacking, unknown = check(section, tmp_path)
    assert (unknown.file, unknown.line, unknown.column) == (tmp_path / "layout.xml", 4, 5)
    assert (lacking.line, lacking.message) == (3, "<Rec> lacks <Id>, which is mandatory")


def test_scaffold_command_writes_a_new_file_only(tmp_path: Path, schema: Schema) -> None:
    runner = CliRunner()
    target = tmp_path / "layout.xml"
    command = ["layout", "scaffold", str(tmp_path / "doc.xsd"), "--root", "Doc"]
    assert runner.invoke(app, [*command, "-o", str(target)]).exit_code == 0
    assert held(target.read_text(), schema) == []
    again = runner.invoke(app, [*command, "-o", str(target)])
    assert (again.exit_code, "is there already" in again.output) == (2, True)
    assert runner.invoke(app, command).output == target.read_text().replace("rows", "records")
    wrong = runner.invoke(app, [*command[:-1], "Dok"])
    assert (wrong.exit_code, "Those are Doc" in wrong.output) == (2, True)
