"""Reading feedback files of every kind, good and bad."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import unicodedata
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openreg_airflow.deliver.acknowledgement.addressee import Sent, answered_files
from openreg_airflow.deliver.acknowledgement.answers import AnswerFile
from openreg_airflow.deliver.acknowledgement.feedback import (
    Answer,
    Feedback,
    FeedbackError,
    load_parser,
    parser_names,
)
from openreg_airflow.deliver.acknowledgement.pattern import check_pattern, fill, matches
from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec, FeedbackForm
from openreg_airflow.records import ArtifactFile
from tests.feedback_files import DAY, auth031
from tests.unit.test_example_reports import schema_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORM = {"reference": "ref", "status": "state", "rule": "rule", "text": "why"}


def read(path: Path, parser: str = "auth031", **form: Any) -> tuple[list[Feedback], list[Answer]]:
    answers: list[Answer] = []
    needed = FeedbackForm(**form) if form else None
    return load_parser(parser).read(path, needed, answers.append), answers


def write(folder: Path, text: str, name: str = "feedback") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_parsers_are_found_by_name() -> None:
    assert {"auth031", "csv", "xml"} <= set(parser_names())


def test_a_status_advice_says_what_became_of_file_and_records(tmp_path: Path) -> None:
    text = auth031(
        "PART",
        original="DEMO_1",
        total=5,
        counts={"ACPT": 2, "RJCT": 2, "PDNG": 1},
        records=[("T1", "RJCT", "CON-412", "not in reference data"), ("T2", "PDNG", "CON-411", "")],
    )
    [feedback], answers = read(write(tmp_path, text))
    assert (feedback.status, feedback.original, feedback.total) == ("partly accepted", "DEMO_1", 5)
    assert feedback.counts == {"accepted": 2, "rejected": 2, "pending": 1}
    assert answers == [
        Answer(reference="T1", status="rejected", rules=("CON-412",), text="not in reference data"),
        Answer(reference="T2", status="pending", rules=("CON-411",)),
    ]


def test_our_status_advices_are_those_of_the_standard() -> None:
    folder = schema_folder()
    if folder is None or not (folder / "auth.031.001.01.xsd").is_file():
        pytest.skip("auth.031.001.01.xsd is not here; OPENREG_SCHEMAS may name its folder")
    text = auth031(
        "PART", original="A", total=1, counts={"RJCT": 1}, records=[("T", "RJCT", "C", "x")]
    )
    schema = etree.XMLSchema(etree.parse(str(folder / "auth.031.001.01.xsd")))
    schema.assertValid(etree.fromstring(text.encode()))


@pytest.mark.parametrize(
    ("code", "status"),
    [("ACPT", "accepted"), ("RJCT", "rejected"), ("CRPT", "corrupted"), ("RCVD", "received")],
)
def test_codes_of_files_are_told_apart(tmp_path: Path, code: str, status: str) -> None:
    [feedback], answers = read(write(tmp_path, auth031(code)))
    assert (feedback.status, answers) == (status, [])


BOMB = """<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><d>&c;</d>"""
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d>&x;</d>'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not XML at all",
        "<Document/>",
        auth031("PART")[:-30],
        auth031("MAYBE"),
        auth031("ACPT").replace("auth.031.001.01", "auth.031.001.99"),
        auth031("PART", records=[("T1", "PERHAPS", "", "")]),
        auth031("PART", records=[("", "RJCT", "", "")]),
        auth031("PART", total=3, counts={"RJCT": 1}).replace(">3<", ">three<"),
        BOMB,
        OUTSIDE,
    ],
    ids=["empty", "no xml", "other", "cut", "file code", "version", "record code", "no reference",
         "count", "entity bomb", "outside entity"],
)  # fmt: skip
def test_what_is_no_status_advice_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(FeedbackError) as caught:
        read(write(tmp_path, text))
    assert "root:" not in str(caught.value)


def test_memory_stays_small_for_a_large_advice(tmp_path: Path) -> None:
    import psutil

    path = tmp_path / "large.xml"
    head, _, tail = auth031("PART", records=[("T", "RJCT", "CON-023", "x")]).partition("<RcrdSts>")
    record, _, end = tail.partition("</RcrdSts>")
    with path.open("w") as file:
        file.write(head)
        for number in range(80_000):
            file.write(f"<RcrdSts>{record.replace('>T<', f'>T{number}<')}</RcrdSts>\n")
        file.write(end)
    count = 0

    def take(_: Answer) -> None:
        nonlocal count
        count += 1

    here = psutil.Process(os.getpid())
    before = here.memory_info().rss
    load_parser("auth031").read(path, None, take)
    assert count == 80_000
    assert path.stat().st_size > 9_000_000
    assert here.memory_info().rss - before < 20_000_000
    shutil.rmtree(tmp_path)


def test_csv_is_read_as_declared(tmp_path: Path) -> None:
    text = "ref;state;rule;why\nT1;Rejected;R7;bad price\nT2;ok;;\nT3;received;;\n"
    [feedback], answers = read(write(tmp_path, text), "csv", **FORM)
    assert feedback == Feedback(open_ended=True)
    assert [(a.reference, a.status, a.rules, a.text) for a in answers] == [
        ("T1", "rejected", ("R7",), "bad price"),
        ("T2", "accepted", (), ""),
        ("T3", "pending", (), ""),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a;b\n1;2\n", "no column ref"),
        ("ref;state;rule;why\nT1;Rejected\n", "another length"),
        ("ref;state;rule;why\nT1;ok;;;;\n", "another length"),
        ("ref;state;rule;why\nT1;maybe;;\n", "'maybe' is no known status"),
        ("ref;state;rule;why\n;ok;;\n", "without a reference"),
        ("ref;state;rule;why;ref\nT1;ok;;;T2\n", "more than one column ref"),
        ('ref;state;rule;why\nT1;ok;;"never closed\n', "is not CSV"),
    ],
)
def test_csv_that_is_not_as_declared_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(FeedbackError, match=said):
        read(write(tmp_path, text), "csv", **FORM)


def test_csv_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("ref;state;rule;why\nTÄ;ok;;\n".encode("latin-1"))
    with pytest.raises(FeedbackError, match="not CSV in utf-8"):
        read(path, "csv", **FORM)
    assert read(path, "csv", **FORM, encoding="latin-1")[1][0].reference == "TÄ"


def test_csv_may_begin_with_a_byte_order_mark_and_have_empty_lines(tmp_path: Path) -> None:
    text = "\ufeffref;state;rule;why\r\n\r\nT1;ok;;fine\r\n"
    [answer] = read(write(tmp_path, text), "csv", **FORM)[1]
    assert answer.reference == "T1"


def test_a_reference_that_could_not_be_kept_is_refused(tmp_path: Path) -> None:
    with AnswerFile(tmp_path / "answers.parquet") as file:
        file.take(Answer(reference="T" * 250, status="accepted"))
        with pytest.raises(FeedbackError, match="has 251 characters"):
            file.take(Answer(reference="T" * 251, status="rejected"))
        with pytest.raises(FeedbackError, match="no text that a reference can be"):
            file.take(Answer(reference="T\0", status="rejected"))


XML = """<r xmlns="urn:x"><head><file>DEMO_1</file><state>RJCT</state></head>
<rec><id>T1</id><s><c>RJCT</c></s><state>inner</state></rec>
<rec><id>T2</id><s><c>PDNG</c></s></rec></r>"""
XML_FORM = {"record": "rec", "reference": "id", "status": "s/c", "file_status": "head/state",
            "original": "head/file"}  # fmt: skip


def test_xml_is_read_as_declared(tmp_path: Path) -> None:
    [feedback], answers = read(write(tmp_path, XML), "xml", **XML_FORM)
    assert (feedback.status, feedback.original) == ("rejected", "DEMO_1")
    assert [(a.reference, a.status) for a in answers] == [("T1", "rejected"), ("T2", "pending")]


def test_xml_that_says_two_things_of_its_file_is_refused(tmp_path: Path) -> None:
    text = XML.replace("</head>", "<state>ACPT</state></head>")
    with pytest.raises(FeedbackError, match="'RJCT' and 'ACPT' at r/head/state"):
        read(write(tmp_path, text), "xml", **XML_FORM)


def test_only_the_declared_place_speaks_of_the_file(tmp_path: Path) -> None:
    text = XML.replace("<head>", "<batch><state>ACPT</state></batch><head>")
    assert read(write(tmp_path, text), "xml", **XML_FORM)[0][0].status == "rejected"


@pytest.mark.parametrize("text", ["<r/>", "<r><rec><id>T</id></rec></r>", BOMB, OUTSIDE])
def test_xml_that_is_not_as_declared_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(FeedbackError):
        read(write(tmp_path, text), "xml", **XML_FORM)


SENT = "SND_DATTRA_DE_000017.xml.gz"


@pytest.mark.parametrize(
    ("pattern", "name", "matching"),
    [
        ("{filename}.ack", f"{SENT}.ack", True),
        ("{stem0}_FDB_*.xml", "SND_DATTRA_DE_000017_FDB_1.xml", True),
        ("{stem}*", "SND_DATTRA_DE_000018.xml", False),
        ("FDB_{business_date:%Y%m%d}_??.xml", "FDB_20260302_01.xml", True),
        ("FDB_{business_date:%Y%m%d}_??.xml", "FDB_20260303_01.xml", False),
        ("FDB_*.xml", "fdb_1.xml", False),
    ],
)
def test_a_pattern_tells_which_files_answer(pattern: str, name: str, matching: bool) -> None:
    assert matches(name, check_pattern(pattern), SENT, DAY) is matching


@given(st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), min_size=1))
def test_what_is_filled_into_a_pattern_stands_for_itself(filename: str) -> None:
    assert matches(f"{filename}.ack", "{filename}.ack", filename, DAY)
    assert fill("{filename}", filename, DAY) == filename
    assert not matches(f"{filename}x.ack", "{filename}.ack", filename, DAY)


@pytest.mark.parametrize("pattern", ["../{filename}", "{other}", "{stem:%Y}", "{stem", "stem}"])
def test_a_wrong_pattern_is_found(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"unknown|folder|format|brace"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    "wrong",
    [
        {"parser": "csv"},
        {"form": FORM},
        {"parser": "xml", "form": FORM},
        {"channel": "sftp"},
        {"parser": "csv", "form": FORM | {"encoding": "utf-12"}},
        {"parser": "csv", "form": FORM | {"encoding": "hex"}},
        {"parser": "csv", "form": FORM | {"delimiter": '"'}},
        {"parser": "csv", "form": FORM | {"words": {"accepted": ["x"], "rejected": ["X"]}}},
    ],
)
def test_an_acknowledgement_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"form|channel|word|encoding|delimiter"):
        AcknowledgementSpec(pattern="{filename}.ack", **wrong)


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("answer.xml", data)
    return file.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "compressed with gzip": gzip.compress,
    "a ZIP archive": zipped,
    "compressed with bzip2": bz2.compress,
    "compressed with xz": lzma.compress,
    "encrypted or signed with PGP": lambda _: b"-----BEGIN PGP MESSAGE-----\n\nhQEMA0\n",
    "signed with PGP": lambda _: b"\x85\x01\x0c\x03\xd8\x1b\x07\xa2\x91\x33\x8f\x10" * 9,
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("said", PACKED)
@pytest.mark.parametrize("parser", ["auth031", "csv", "xml"])
def test_packed_and_empty_feedback_is_refused_by_its_name(
    tmp_path: Path, parser: str, said: str
) -> None:
    path = tmp_path / "feedback"
    path.write_bytes(PACKED[said](auth031("ACPT", total=5).encode()))
    form = {} if parser == "auth031" else FORM | {"record": "rec"}
    with pytest.raises(FeedbackError, match=f"feedback is .*{said}"):
        read(path, parser, **form)


def test_text_in_another_encoding_is_not_taken_for_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "feedback"
    path.write_bytes("\u00c1rea;ref;state;rule;why\n1;T1;ok;;\n".encode("latin-1"))
    with pytest.raises(FeedbackError, match="is not CSV in utf-8"):
        read(path, "csv", **FORM)
    _, answers = read(path, "csv", **FORM, encoding="latin-1")
    assert [answer.reference for answer in answers] == ["T1"]


@pytest.mark.parametrize("sent", ["NFC", "NFD"])
@pytest.mark.parametrize("answered", ["NFC", "NFD"])
def test_name_is_the_same_however_its_letters_are_told(sent: Any, answered: Any) -> None:
    name, answer = "Gr\u00f6\u00dfe.xml", "FB_Gr\u00f6\u00dfe_1.xml"
    sent, answered = unicodedata.normalize(sent, name), unicodedata.normalize(answered, answer)
    assert matches(answered, "FB_{stem}_*.xml", sent, DAY)
    file = ArtifactFile(uri="x", bytes=1, sha256="0" * 64, filename=sent, records=1)
    out = Sent(business_date=DAY, files=[file], table=None, names=())
    spec = AcknowledgementSpec(pattern="*")
    said = Feedback(original=answered.removeprefix("FB_").replace("_1", ""))
    assert answered_files([said], "x", out, spec) == {1: said}
