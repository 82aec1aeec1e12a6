from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG
from lxml import html
from typer.testing import CliRunner

from openreg_airflow.artifacts.looking.difference import Change, between
from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.cli import app
from openreg_airflow.errors import ArtifactError
from openreg_airflow.records import Artifact
from tests.artifact_files import RUN, dataset, spec_of
from tests.new_store import new_store

LAYOUT = (
    '<doc xmlns:r="urn:openreg:layout:1"><head><day>{run.business_date}</day></head>'
    '<t r:each="rows"><id unit="&lt;x&gt;">{id}</id><text>{text}</text></t></doc>'
)
TABLE = pa.table({"id": list(range(100)), "text": [f"row <{n}> & more" for n in range(100)]})


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_store(tmp_path)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))


def made(
    folder: Path, table: pa.Table = TABLE, run_id: str = RUN.run_id, **fields: Any
) -> Artifact:
    (folder / "layout.xml").write_text(LAYOUT)
    name = f"{run_id}.parquet"
    with DAG("daily"):
        task = ArtifactOperator(
            task_id="artifact",
            report_id=RUN.report_id,
            folder=folder,
            artifact="out",
            spec=spec_of(**({"format": "csv", "filename": "out.csv"} | fields)),
            tables={"rows": dataset(table, folder / name).model_dump(mode="json")},
        )
    task.business_date = RUN.business_date.isoformat()
    context: Any = {"dag_run": SimpleNamespace(run_id=run_id)}
    return Artifact.model_validate(json.loads(json.dumps(task.execute(context))))


def ran(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["artifact", *arguments])
    return done.exit_code, done.output


def shown(*arguments: str) -> list[str]:
    code, said = ran("show", *arguments)
    assert code == 0, said
    return said.splitlines()


@pytest.mark.parametrize("compress", [None, "gzip", "zip"])
def test_xml_is_shown_indented_with_its_metadata(tmp_path: Path, compress: str | None) -> None:
    artifact = made(
        tmp_path, format="xml", layout="layout.xml", filename="out.xml",
        package={"compress": compress},
    )  # fmt: skip
    lines = shown(RUN.run_id, "--lines", "7")
    assert lines[-7:] == [
        "<doc>",
        "  <head>",
        "    <day>2026-09-30</day>",
        "  </head>",
        "  <t>",
        '    <id unit="&lt;x>">0</id>',
        "    <text>row &lt;0> &amp; more</text>",
    ]
    said = "\n".join(lines)
    for part in (
        "report         daily",
        "business date  2026-09-30",
        "artifact       out, xml, version 1",
        "records        100",
        "schema         not checked: the spec names no schema",
        "software       openreg-airflow ",
        artifact.files[0].sha256,
    ):
        assert part in said


def test_delimited_values_are_shown_as_a_table(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 200], "text": ["a;b", 'c"\x1b[31md'], "n": [None, "Ä"]})
    made(tmp_path, table, delimiter=";", encoding="latin-1")
    assert shown(RUN.run_id)[-3:] == ["id   text      n", "1    a;b", '200  c"�[31md  Ä']


def test_long_values_and_those_of_several_lines_stay_in_their_record(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 3], "text": ["x" * 3000, "a\nb", "c"]})
    made(tmp_path, table, quoting="all")
    lines = shown(RUN.run_id)[-4:]
    assert lines[1].startswith("1   xxx")
    assert len(lines[1]) == 2000
    assert lines[2:] == ["2   a\\nb", "3   c"]


def test_value_that_is_too_long_to_lay_out_is_told() -> None:
    import io

    from openreg_airflow.artifacts.looking.head import lines

    text = b'id\n1\n"' + b"x\n" * 90_000 + b'"\n'
    *first, last = lines(io.BytesIO(text), {"format": "csv"})
    assert first == ["id", "1"]
    assert last.startswith("(cannot be laid out from here on: field larger")


@pytest.mark.parametrize("compress", ["gzip", "zip"])
def test_archive_that_was_cut_is_told_without_a_traceback(tmp_path: Path, compress: str) -> None:
    artifact = made(tmp_path, package={"compress": compress})
    path = Path(artifact.files[0].uri)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2].ljust(size, b"\0"))
    code, said = ran("show", RUN.run_id)
    assert code == 1
    assert "cannot be unpacked" in said
    assert f"openreg verify {RUN.run_id}" in said


def test_encrypted_file_says_that_it_is(tmp_path: Path) -> None:
    import io

    from openreg_airflow.artifacts.looking.head import lines

    spec = {"format": "xml", "package": {"encrypt": {"connection": "x"}, "compress": "gzip"}}
    assert list(lines(io.BytesIO(b"\x85\x01"), spec)) == [
        "The file is encrypted; only the receiver can read it."
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"format": "jsonl", "filename": "out.jsonl"}, ["{", '  "id": 0,']),
        ({"format": "parquet", "filename": "out.parquet"}, ["id: int64", "text: string"]),
        ({"format": "excel", "filename": "out.xlsx"}, ["The file is a zip archive, with:"]),
    ],
)
def test_other_formats_are_shown_as_far_as_they_can_be(
    tmp_path: Path, fields: dict[str, Any], expected: list[str]
) -> None:
    made(tmp_path, **fields)
    lines = shown(RUN.run_id)
    begin = lines.index(fields["filename"]) + 1
    assert lines[begin : begin + len(expected)] == expected


def test_another_part_is_shown_and_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    made(tmp_path, filename="out_{part}.csv", split={"records": 60})
    assert shown(RUN.run_id, "--part", "2", "--lines", "99")[-1].startswith("99")
    code, said = ran("show", RUN.run_id, "--part", "3")
    assert code == 2
    assert "artifact out has no part 3" in said
    code, said = ran("show", "unknown")
    assert code == 2
    assert "run unknown has no finished artifact" in said


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_json_is_indented_without_being_held(size: int) -> None:
    from openreg_airflow.artifacts.looking.head import _json

    text = json.dumps({"a": [1, {"b": 'x {"[,:\\" y'}], "c": None, "d": [], "e": "Ä"})
    pieces = [text[n : n + size] for n in range(0, len(text), size)]
    lines = list(_json(pieces))
    assert json.loads("\n".join(lines)) == json.loads(text)
    assert lines[:4] == ["{", '  "a": [', "    1,", "    {"]


def test_text_that_is_no_xml_is_told_where_it_ends() -> None:
    import io

    from openreg_airflow.artifacts.looking.head import lines

    bomb = b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><d><a>&e;</a><b></d>'
    found = list(lines(io.BytesIO(bomb), {"format": "xml"}))
    assert found[:2] == ["<d>", "  <a></a>"]
    assert found[-1].startswith("(not XML from here on: mismatched tag")
    assert "root:" not in "".join(found)


def two_runs(folder: Path, **fields: Any) -> None:
    before = pa.table(
        {
            "id": [1, 2, 10, 4],
            "price": pa.array(
                [Decimal("1.50"), None, Decimal("3"), Decimal("4")], pa.decimal128(9, 2)
            ),
            "text": ["same", "a", "<b>&", "gone"],
            "old": [1, 1, 1, 1],
        }
    )
    after = pa.table(
        {
            "id": [10, 2, 1, 7],
            "price": pa.array(
                [Decimal("3"), Decimal("2.5"), Decimal("1.5"), None], pa.decimal128(12, 4)
            ),
            "text": ["<c>&", None, "same", "new"],
        }
    )
    made(folder, before, "first", **fields)
    made(folder, after, "second", **fields)


def test_diff_tells_what_was_added_removed_and_changed(tmp_path: Path) -> None:
    two_runs(tmp_path, key=["id"])
    code, said = ran("diff", "first", "second")
    assert code == 1
    assert said.splitlines() == [
        "4 records before, 4 after: 1 added, 1 removed, 2 changed",
        "column old is only in the first run",
        "  text: 2 times",
        "  price: 1 times",
        "",
        "what     id  field  before  after",
        "changed  2   price  NULL    2.5",
        "changed  2   text   a       NULL",
        "removed  4",
        "added    7",
        "changed  10  text   <b>&    <c>&",
    ]


def test_diff_is_written_as_a_page_in_which_no_data_is_markup(tmp_path: Path) -> None:
    two_runs(tmp_path, key=["id"])
    page = tmp_path / "diff.html"
    code, _ = ran("diff", "first", "second", "--html", str(page), "--limit", "2")
    assert code == 1
    tree = html.fromstring(page.read_bytes())
    assert tree.findtext(".//h1") == "daily: run first and run second"
    rows = [[cell.text_content() for cell in row] for row in tree.findall(".//tr")]
    assert rows[-4:] == [
        ["what", "id", "field", "before", "after"],
        ["changed", "2", "price", "NULL", "2.5"],
        ["changed", "2", "text", "a", "NULL"],
        ["removed", "4", "", "", ""],
    ]
    assert "2 more records changed." in page.read_text()
    ran("diff", "first", "second", "--html", str(page))
    assert "&lt;b&gt;&amp;" in page.read_text()
    assert html.fromstring(page.read_bytes()).findall(".//b") == []


def test_same_records_in_another_order_are_no_difference(tmp_path: Path) -> None:
    made(tmp_path, TABLE, "first")
    made(tmp_path, TABLE.take(list(reversed(range(100)))), "second")
    code, said = ran("diff", "first", "second", "--key", "id")
    assert (code, said) == (0, "100 records before, 100 after: 0 added, 0 removed, 0 changed\n")


def test_diff_without_a_key_that_tells_records_apart_is_refused(tmp_path: Path) -> None:
    two_runs(tmp_path)
    code, said = ran("diff", "first", "second")
    assert code == 2
    assert "the spec of artifact out names no key" in said
    code, said = ran("diff", "first", "second", "--key", "nothing")
    assert code == 2
    assert "table run first has no column nothing" in said
    code, said = ran("diff", "first", "second", "--key", "old")
    assert code == 2
    code, said = ran("diff", "first", "first", "--key", "old")
    assert "run first has 4 records with old 1" in said


def test_missing_key_is_a_key_too(tmp_path: Path) -> None:
    pq.write_table(pa.table({"k": [None, "a"], "v": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"k": [None, "b"], "v": [3, 2]}), tmp_path / "b.parquet")
    with between(
        tmp_path / "a.parquet", tmp_path / "b.parquet", ["k"], tmp_path, ("one", "two")
    ) as found:
        assert sorted(found.changes(10), key=repr) == [
            Change("added", ("b",)),
            Change("changed", (None,), (("v", "1", "3"),)),
            Change("removed", ("a",)),
        ]
    twice = pa.table({"k": [None, None], "v": [1, 2]})
    pq.write_table(twice, tmp_path / "a.parquet")
    (tmp_path / "again").mkdir()
    with (
        pytest.raises(ArtifactError, match="one has 2 records with k None"),
        between(
            tmp_path / "a.parquet",
            tmp_path / "b.parquet",
            ["k"],
            tmp_path / "again",
            ("one", "two"),
        ),
    ):
        pass


MEASURED = """
import json, re, sys
from pathlib import Path
from openreg_airflow.artifacts.looking.difference import between
place = Path(sys.argv[1])
files = place / "a.parquet", place / "b.parquet"
(place / "work").mkdir()
with between(*files, ["id"], place / "work", ("a", "b")) as found:
    shown = len(list(found.changes(50)))
    summary = found.summary
# Of this program alone: getrusage also tells what the process was before.
status = Path("/proc/self/status").read_text()
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) // 1024
print(json.dumps([summary.before, summary.changed, shown, peak]))
"""


def test_a_million_records_are_compared_in_bounded_memory(tmp_path: Path) -> None:
    count = 1_000_000
    ids = pa.array(range(count))
    texts = pc.binary_join_element_wise("a text of some length", pc.cast(ids, pa.string()), " ")
    odd = pc.equal(pc.bit_wise_and(ids, 1), 1)
    others = pc.if_else(odd, pc.binary_join_element_wise(texts, "changed", " "), texts)
    for name, column in (("a", texts), ("b", others)):
        table = pa.table({"id": ids} | {f"text_{n}": column for n in range(6)})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, check=True
    )
    before, changed, several, peak = json.loads(done.stdout)
    assert (before, changed, several) == (count, count // 2, 50)
    assert peak < 800, f"{peak} MiB"


def test_numbers_of_a_sequence_are_listed(tmp_path: Path) -> None:
    made(tmp_path, filename="{sequence}.csv", sequence={"name": "esma", "start": 5})
    code, said = ran("numbers", "esma")
    assert code == 0
    assert said.split() == ["5", "daily", "2026-09-30", "out", "version", "1", "part", "1"]
    assert ran("numbers", "nothing")[0] == 2
