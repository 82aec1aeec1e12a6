from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from openreg_airflow.artifacts.validity import xsd, xsd_pieces, xsd_schema
from openreg_airflow.artifacts.validity.xsd_model import Schema
from openreg_airflow.errors import ArtifactError
from tests.artifact_files import made, spec_of
from tests.unit.test_xsd import ENVELOPE, LAYOUT, SCHEMA, UNIQUE

if TYPE_CHECKING:
    from pathlib import Path

RECORD = ("{urn:doc}Doc", "{urn:doc}Tx")
START = SCHEMA.index("    <xs:unique")
PLAIN = SCHEMA[:START] + SCHEMA[SCHEMA.index("  </xs:element>\n</xs:schema>") :]
HEAD, TAIL = b'<Doc xmlns="urn:doc"><Nb>1</Nb>\n', b"</Doc>\n"


def model(folder: Path, text: str) -> Schema:
    (folder / "doc.xsd").write_text(text)
    return Schema([folder / "doc.xsd"])


def test_only_independent_records_are_checked_apart(tmp_path: Path) -> None:
    assert xsd_pieces.separable(model(tmp_path, PLAIN), RECORD)
    assert xsd_pieces.separable(model(tmp_path, PLAIN), ("{urn:biz}Biz", *RECORD))
    assert not xsd_pieces.separable(model(tmp_path, UNIQUE), RECORD)
    assert not xsd_pieces.separable(model(tmp_path, PLAIN.replace("xs:string", "xs:ID")), RECORD)
    counted = PLAIN.replace('maxOccurs="unbounded"', 'maxOccurs="9"')
    assert not xsd_pieces.separable(model(tmp_path, counted), RECORD)
    assert not xsd_pieces.separable(model(tmp_path, PLAIN), (*RECORD, "{urn:doc}Tx"))
    assert not xsd_pieces.separable(model(tmp_path, PLAIN), ("{urn:other}Doc", "{urn:other}Tx"))


@pytest.mark.parametrize(
    ("records", "tail", "expected"),
    [
        (b"<Tx><Id>a</Id></Tx>\n" * 9, TAIL, 9),
        (b"<Tx><Id>a</Id></Tx>\n" * 400_000, TAIL, 400_000),
        (b"<Tx><Id>a\n</Id><Tx><Qty>1</Qty></Tx></Tx>\n" * 9, TAIL, 9),
        (b"<Tx><Id>a</Id></Tx>\n" * 400_000 + b"<Tx><I>a</I></Tx>\n", TAIL, None),
        (b"<Tx><I>a</I></Tx>\n" + b"<Tx><Id>a</Id></Tx>\n" * 400_000, TAIL, None),
        (b"<Tx><Id>a</Id></Tx>\n" * 9, b"", None),
        (b"<Tx><Id>a</Id></Tx>\n" * 9, b"<Tx><Id>a</Id></Doc>", None),
        (b"<Tx><Id>a</Id></Tx>\n<Tx><Id>\x00</Id></Tx>\n", TAIL, None),
        (b"", TAIL, None),
    ],
)
def test_pieces_say_valid_only_of_a_valid_file(
    tmp_path: Path, records: bytes, tail: bytes, expected: int | None
) -> None:
    model(tmp_path, PLAIN)
    path = tmp_path / "doc.xml"
    path.write_bytes(HEAD + records + tail)
    schema = xsd_schema.compile_schema(tmp_path / "doc.xsd")
    assert xsd_pieces.all_valid(path, schema, "Tx") == expected


def test_document_type_is_left_to_the_check_of_the_whole(tmp_path: Path) -> None:
    model(tmp_path, PLAIN)
    path = tmp_path / "doc.xml"
    path.write_bytes(b"<!DOCTYPE Doc>" + HEAD + b"<Tx><Id>a</Id></Tx>\n" * 20_000 + TAIL)
    schema = xsd_schema.compile_schema(tmp_path / "doc.xsd")
    assert xsd_pieces.all_valid(path, schema, "Tx") is None
    with pytest.raises(ArtifactError, match="document type"):
        xsd.validate(path, schema, RECORD, name="Tx")


@pytest.mark.parametrize("layout", [LAYOUT, ENVELOPE])
def test_fault_in_a_long_file_has_its_place(tmp_path: Path, layout: str) -> None:
    model(tmp_path, PLAIN)
    quantities = ["1"] * 60_000
    quantities[54_321] = "1x0"
    table = pa.table({"id": [f"T{number}" for number in range(60_000)], "qty": quantities})
    spec = spec_of(format="xml", layout="layout.xml", schema={"file": "doc.xsd"})
    with pytest.raises(ArtifactError, match="'1x0' is not a valid value") as caught:
        made(tmp_path, spec, {"rows": table}, layout=layout)
    where = "record 54322 (Id T54321), element Tx/Tx/Qty, line 54324"
    assert caught.value.where == where
    good = table.slice(0, 54_321)
    artifact, _ = made(tmp_path, spec, {"rows": good}, layout=layout)
    assert artifact.schema_check == "valid"
