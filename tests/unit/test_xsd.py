from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from openreg_airflow.artifacts.validity import schema_search, xsd, xsd_schema
from openreg_airflow.errors import ArtifactError
from tests.artifact_files import made, spec_of

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = """<?xml version="1.0"?>
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:doc"
           targetNamespace="urn:doc" elementFormDefault="qualified">
  <xs:element name="Doc">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="Nb" type="xs:int"/>
        <xs:element name="Tx" maxOccurs="unbounded">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="Id" type="xs:string"/>
              <xs:element name="Tx" minOccurs="0">
                <xs:complexType>
                  <xs:sequence><xs:element name="Qty" type="xs:decimal"/></xs:sequence>
                </xs:complexType>
              </xs:element>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
      </xs:sequence>
    </xs:complexType>
    <xs:unique name="once"><xs:selector xpath="*"/><xs:field xpath="@key"/></xs:unique>
  </xs:element>
</xs:schema>
"""
UNIQUE = SCHEMA.replace(
    '<xs:selector xpath="*"/><xs:field xpath="@key"/>',
    '<xs:selector xpath="d:Tx" xmlns:d="urn:doc"/><xs:field xpath="d:Id" xmlns:d="urn:doc"/>',
)
LAYOUT = """<Doc xmlns="urn:doc" xmlns:r="urn:openreg:layout:1">
  <Nb>{run.records}</Nb>
  <Tx r:each="rows"><Id>{id}</Id><Tx><Qty>{qty}</Qty></Tx></Tx>
</Doc>"""

DOCUMENT = (
    b'<Doc xmlns="urn:doc"><Nb>2</Nb>\n<Tx><Id>T1</Id></Tx>\n'
    + b"<Tx><Id>T2</Id></Tx>\n" * 50_000
    + b"</Doc>"
)


def written(
    folder: Path, *, quantities: list[str], ids: list[str] | None = None, required: bool = True
) -> str:
    """Write a document and hold it against the schema; give the outcome."""
    table = pa.table({"id": ids or [f"T{n}" for n in range(len(quantities))], "qty": quantities})
    schema = {"file": "doc.xsd", "required": required}
    spec = spec_of(format="xml", layout="layout.xml", schema=schema)
    schemas = folder / "schemas"
    artifact, _ = made(folder, spec, {"rows": table}, layout=LAYOUT, schema_folders=(schemas,))
    return artifact.schema_check


def test_valid_file_is_said_to_be_valid(tmp_path: Path) -> None:
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    assert written(tmp_path, quantities=["1", "2.5"]) == "valid"


def test_invalid_file_names_record_element_line_and_reason(tmp_path: Path) -> None:
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    # So many that the fault is in none of the first blocks of the file.
    quantities = ["1"] * 60_000
    quantities[54_321] = "1x0"
    with pytest.raises(ArtifactError, match="invalid by the schema") as caught:
        written(tmp_path, quantities=quantities)
    assert caught.value.where == ("record 54322 (Id T54321), element Tx/Tx/Qty, line 54324")
    assert "'1x0' is not a valid value of the atomic type" in caught.value.message
    assert "urn:doc" not in caught.value.message
    assert list((tmp_path / "workspace").rglob("*.*")) == []


def test_fault_of_the_last_record_is_found(tmp_path: Path) -> None:
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    with pytest.raises(ArtifactError) as caught:
        written(tmp_path, quantities=["1", "x"])
    assert caught.value.where == "record 2 (Id T1), element Tx/Tx/Qty, line 4"


def test_fault_of_the_whole_document_is_found(tmp_path: Path) -> None:
    (tmp_path / "doc.xsd").write_text(UNIQUE)
    quantities = ["1"] * 30_000
    assert written(tmp_path, quantities=quantities) == "valid"
    ids = [f"T{number}" for number in range(30_000)]
    ids[29_000] = ids[7]
    with pytest.raises(ArtifactError, match="Duplicate key-sequence") as caught:
        written(tmp_path, quantities=quantities, ids=ids)
    assert caught.value.where == "file"


def test_missing_schema_says_where_to_get_it_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"schema doc\.xsd was not found in") as caught:
        written(tmp_path, quantities=["1"])
    assert str(tmp_path / "schemas") in str(caught.value.hint)
    assert "[openreg] schema_folders" in str(caught.value.hint)
    assert "ISO 20022 message catalogue" in schema_search.where_to_get(
        "auth.016.001.01.xsd", [tmp_path]
    )


def test_missing_schema_that_is_not_required_is_recorded(tmp_path: Path) -> None:
    check = written(tmp_path, quantities=["1"], required=False)
    assert check == f"not checked: doc.xsd was not found in {tmp_path}, {tmp_path / 'schemas'}"


def test_schema_in_the_report_folder_wins(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "doc.xsd").write_text("<not-a-schema/>")
    with pytest.raises(ArtifactError, match=r"schema doc\.xsd cannot be used"):
        written(tmp_path, quantities=["1"])
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    assert written(tmp_path, quantities=["1"]) == "valid"


@pytest.mark.parametrize(
    "reference",
    [
        '<xs:include schemaLocation="types.xsd"/>',
        '<xs:import namespace="urn:x" schemaLocation="http://127.0.0.1:9/types.xsd"/>',
        '<xs:import namespace="urn:x" schemaLocation="file:///etc/passwd"/>',
    ],
)
def test_schema_that_includes_a_missing_one_names_it(tmp_path: Path, reference: str) -> None:
    text = SCHEMA.replace('  <xs:element name="Doc">', f'{reference}<xs:element name="Doc">')
    (tmp_path / "doc.xsd").write_text(text)
    with pytest.raises(ArtifactError, match="is not on this machine") as caught:
        written(tmp_path, quantities=["1"])
    assert caught.value.where == f"{tmp_path / 'doc.xsd'}, line 4"


def test_included_schemas_are_used(tmp_path: Path) -> None:
    parts = SCHEMA.replace("xs:decimal", "Amount").replace(
        '  <xs:element name="Doc">', '<xs:include schemaLocation="t.xsd"/><xs:element name="Doc">'
    )
    (tmp_path / "doc.xsd").write_text(parts)
    (tmp_path / "t.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:doc">'
        '<xs:simpleType name="Amount"><xs:restriction base="xs:decimal">'
        '<xs:maxInclusive value="9"/></xs:restriction></xs:simpleType></xs:schema>'
    )
    assert written(tmp_path, quantities=["9"]) == "valid"
    with pytest.raises(ArtifactError, match="greater than the maximum value allowed"):
        written(tmp_path, quantities=["10"])


def checked(folder: Path, data: bytes) -> None:
    """Hold bytes that no writer of ours would give against the schema."""
    (folder / "doc.xsd").write_text(SCHEMA)
    path = folder / "doc.xml"
    path.write_bytes(data)
    schema = xsd_schema.compile_schema(folder / "doc.xsd")
    xsd.validate(path, schema, ("{urn:doc}Doc", "{urn:doc}Tx"))


def test_file_with_entities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("7")
    entity = f'<!ENTITY e SYSTEM "{(tmp_path / "secret").as_uri()}">'
    document = '<Doc xmlns="urn:doc"><Nb>&e;</Nb><Tx><Id>a</Id></Tx></Doc>'
    with pytest.raises(ArtifactError, match="document type"):
        checked(tmp_path, f"<!DOCTYPE Doc [{entity}]>{document}".encode())


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        DOCUMENT[:-1],
        DOCUMENT[: len(DOCUMENT) // 2],
        DOCUMENT[: DOCUMENT.index(b"<Tx>")],
        DOCUMENT.replace(b"</Id>", b"</ID>", 1),
        DOCUMENT.replace(b"T1<", b"T\xff<", 1),
        DOCUMENT.replace(b"T1<", b"T\x00<", 1),
        DOCUMENT + b"<more/>",
    ],
)
def test_damaged_file_is_not_taken_for_valid(tmp_path: Path, damaged: bytes) -> None:
    checked(tmp_path, DOCUMENT)
    with pytest.raises(ArtifactError, match="not well-formed"):
        checked(tmp_path, damaged)


ENVELOPE = """<b:Biz xmlns:b="urn:biz" xmlns:r="urn:openreg:layout:1"><b:Pyld>
<Doc xmlns="urn:doc"><Nb>{run.records}</Nb><Tx r:each="rows"><Id>{id}</Id>
<Tx><Qty>{qty}</Qty></Tx></Tx></Doc></b:Pyld></b:Biz>"""


def enveloped(folder: Path, layout: str = ENVELOPE, quantity: str = "1") -> str:
    """Write a document in an envelope."""
    table = pa.table({"id": ["T1"], "qty": [quantity]})
    schema = {"file": "doc.xsd", "envelope": ["biz.xsd"], "required": False}
    spec = spec_of(format="xml", layout="layout.xml", schema=schema)
    artifact, _ = made(folder, spec, {"rows": table}, layout=layout)
    return artifact.schema_check


def test_document_in_an_envelope_without_a_schema_is_checked(tmp_path: Path) -> None:
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    assert (
        enveloped(tmp_path) == f"valid by doc.xsd; not checked: biz.xsd was not found in {tmp_path}"
    )
    with pytest.raises(ArtifactError, match="'x' is not a valid value") as caught:
        enveloped(tmp_path, quantity="x")
    assert caught.value.where == "record 1 (Id T1), element Tx/Tx/Qty, line 3"


def test_envelope_is_checked_by_its_own_schema(tmp_path: Path) -> None:
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    (tmp_path / "biz.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:biz" '
        'elementFormDefault="qualified"><xs:element name="Biz"><xs:complexType><xs:sequence>'
        '<xs:element name="Pyld"><xs:complexType><xs:sequence><xs:any namespace="##other"/>'
        "</xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element>"
        "</xs:schema>"
    )
    assert enveloped(tmp_path) == "valid"
    with pytest.raises(ArtifactError, match="is not a valid value"):
        enveloped(tmp_path, quantity="x")
    with pytest.raises(ArtifactError, match="invalid by the schema"):
        enveloped(tmp_path, ENVELOPE.replace("Pyld>", "Payload>"))


@pytest.mark.parametrize("old", ["urn:doc", "Doc"])
def test_document_that_its_schema_does_not_know_is_not_taken_for_valid(
    tmp_path: Path, old: str
) -> None:
    (tmp_path / "doc.xsd").write_text(SCHEMA)
    with pytest.raises(ArtifactError, match=r"begin with|declares") as caught:
        enveloped(tmp_path, ENVELOPE.replace(old, "Other"))
    assert str(caught.value.where).startswith("layout.xml, line ")
