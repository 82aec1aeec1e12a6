from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree
from pydantic import ValidationError

from openreg_airflow.artifacts import parts
from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.produce import produce
from openreg_airflow.artifacts.writers.csv import CsvWriter
from openreg_airflow.errors import ArtifactError, StorageError
from openreg_airflow.store_records import Allocation, Replaced
from openreg_airflow.workspace import Workspace, describe
from tests.artifact_files import RUN, dataset, spec_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.records import Artifact

LAYOUT = """<doc xmlns:r="urn:openreg:layout:1"><page>{run.page}</page><of>{run.pages}</of>
<last>{run.last_page}</last><n>{run.records}</n><all>{run.total_records}</all>
<from>{run.first_record}</from>
<t r:each="rows"><id>{id}</id>
<leg r:each="legs" r:on="id" r:required="true"><name>{name}</name>
<fee r:each="fees" r:on="name"><amount>{amount}</amount></fee></leg></t></doc>"""
SPEC: dict[str, Any] = {"format": "csv", "filename": "out_{part:3}.csv"}
XML: dict[str, Any] = {"format": "xml", "layout": "layout.xml", "filename": "out_{part}.xml"}


def rows(count: int) -> pa.Table:
    return pa.table({"id": list(range(count)), "text": [f"row {n}" for n in range(count)]})


def made(
    folder: Path, spec: Any, tables: Mapping[str, Any], **changes: Any
) -> tuple[Artifact, list[bytes]]:
    folder.mkdir(exist_ok=True)
    (folder / "layout.xml").write_text(LAYOUT)
    fields: dict[str, Any] = {
        "name": "out",
        "spec": spec,
        "folder": folder,
        "run": RUN,
        "tables": {
            name: dataset(table, folder / "in" / f"{name}.parquet")
            if isinstance(table, pa.Table)
            else table
            for name, table in tables.items()
        },
        "workspace": Workspace(folder / "workspace"),
    }
    artifact = produce(**(fields | changes))
    return artifact, [Path(file.uri).read_bytes() for file in artifact.files]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "workspace").rglob("*") if path.is_file())


def test_files_of_a_number_of_records_are_complete_each(tmp_path: Path) -> None:
    spec = spec_of(
        **SPEC,
        split={"records": 2},
        header_records=["H;{run.page};{run.pages};{run.last_page};{run.first_record}"],
        trailer_records=["T;{run.records};{run.total_records};{sum.id}"],
    )
    artifact, data = made(tmp_path, spec, {"rows": rows(5)})
    assert data == [
        b"H;1;3;false;1\nid,text\n0,row 0\n1,row 1\nT;2;5;1\n",
        b"H;2;3;false;3\nid,text\n2,row 2\n3,row 3\nT;2;5;5\n",
        b"H;3;3;true;5\nid,text\n4,row 4\nT;1;5;4\n",
    ]
    assert [(f.filename, f.part, f.records) for f in artifact.files] == [
        ("out_001.csv", 1, 2),
        ("out_002.csv", 2, 2),
        ("out_003.csv", 3, 1),
    ]
    assert artifact.records == 5


def family() -> dict[str, pa.Table]:
    """Records whose inner rows are in another order, and whose inner rows have some too."""
    legs = [(n, f"leg {n}.{m}") for m in range(3) for n in reversed(range(5))]
    names = [name for _, name in legs]
    return {
        "rows": pa.table({"id": list(range(5))}),
        "legs": pa.table({"id": [n for n, _ in legs], "name": names}),
        "fees": pa.table({"name": sorted(names), "amount": list(range(15))}),
    }


def test_inner_rows_stay_with_their_record(tmp_path: Path) -> None:
    artifact, [whole] = made(tmp_path / "whole", spec_of(**XML), family())
    spec = spec_of(**XML, split={"records": 2})
    artifact, data = made(tmp_path / "split", spec, family())
    documents = [etree.fromstring(each) for each in data]
    assert [[t.findtext("id") for t in doc.findall("t")] for doc in documents] == [
        ["0", "1"],
        ["2", "3"],
        ["4"],
    ]
    joined = [etree.tostring(t).strip() for doc in documents for t in doc.findall("t")]
    assert joined == [etree.tostring(t).strip() for t in etree.fromstring(whole).findall("t")]
    assert [
        [doc.findtext(name) for name in ("page", "of", "last", "n", "all", "from")]
        for doc in documents
    ] == [
        ["1", "3", "false", "2", "5", "1"],
        ["2", "3", "false", "2", "5", "3"],
        ["3", "3", "true", "1", "5", "5"],
    ]
    assert len(artifact.files) == 3


def test_inner_row_that_belongs_to_no_record_stops_all_parts(tmp_path: Path) -> None:
    tables = family()
    tables["legs"] = pa.concat_tables([tables["legs"], pa.table({"id": [9], "name": ["lost"]})])
    with pytest.raises(ArtifactError, match="1 row belongs to no row of rows") as caught:
        made(tmp_path, spec_of(**XML, split={"records": 2}), tables)
    assert caught.value.where == "table legs row 16"
    assert left(tmp_path) == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text("ab \nÄ", max_size=300), min_size=1, max_size=60), st.integers(1, 4))
@example(["a" * 100] * 10, 1)  # One file of them is a little longer than it may be.
def test_files_of_a_number_of_bytes_keep_it_and_hold_everything(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], threads: int
) -> None:
    table = pa.table({"n": list(range(len(texts))), "a": texts})
    spec = spec_of(**SPEC, split={"bytes": 1024}, trailer_records=["T{run.pages}"])
    folder = tmp_path_factory.mktemp("bytes")
    artifact, data = made(folder, spec, {"rows": table}, threads=threads)
    assert max(map(len, data)) <= 1024
    assert sum(file.records for file in artifact.files) == len(texts)
    _, [whole] = made(folder / "whole", spec_of(format="csv", filename="a.csv"), {"rows": table})
    trailer = f"T{len(data)}\n".encode()
    bodies = [each.removeprefix(b"n,a\n").removesuffix(trailer) for each in data]
    assert b"".join(bodies) == whole.removeprefix(b"n,a\n")
    again, same = made(folder / "again", spec, {"rows": table})
    assert same == data
    assert again.content == artifact.content


def test_whichever_limit_is_reached_first_ends_a_file(tmp_path: Path) -> None:
    table = pa.table({"a": ["x" * 100] * 30 + ["y"] * 30})
    spec = spec_of(**SPEC, split={"bytes": 1024, "records": 40})
    artifact, data = made(tmp_path, spec, {"rows": table})
    assert [file.records for file in artifact.files] == [9, 9, 9, 33]
    assert max(map(len, data)) <= 1024
    spec = spec_of(**SPEC, split={"bytes": 1024, "records": 100})
    few, _ = made(tmp_path / "few", spec, {"rows": table})
    assert [file.records for file in few.files] == [9, 9, 9, 33]
    spec = spec_of(**SPEC, split={"bytes": 1024, "records": 5})
    many, _ = made(tmp_path / "many", spec, {"rows": table})
    assert [file.records for file in many.files] == [5] * 12


def test_hashes_are_taken_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openreg_airflow import workspace

    def read_back(path: Path) -> Any:
        message = f"{path} is read to be hashed"
        raise AssertionError(message)

    table = dataset(rows(5), tmp_path / "rows.parquet")
    for form in ("csv", "xml"):
        layout = {"layout": "flat.xml"} if form == "xml" else {}
        (tmp_path / "flat.xml").write_text(
            '<d xmlns:r="urn:openreg:layout:1"><t r:each="rows">{id}</t></d>'
        )
        spec = spec_of(format=form, filename=f"out.{form}", **layout)
        with monkeypatch.context() as patched:
            patched.setattr(workspace.Pending, "describe", _unread(workspace.Pending.describe))
            patched.setattr("openreg_airflow.artifacts.publishing.digest.Digest.read", read_back)
            artifact, [data] = made(tmp_path, spec, {"rows": table})
        assert artifact.files[0].sha256 == hashlib.sha256(data).hexdigest()


def _unread(plain: Any) -> Any:
    def describe(self: Any, path: Path) -> Any:
        assert self.written is not None or path.suffix == ".json"
        return plain(self, path)

    return describe


def test_plan_by_bytes_fills_the_files(tmp_path: Path) -> None:
    plan = parts.by_bytes(100_000, 1_000_000, lambda _, count: 500 + 90 * count)
    sizes = [500 + 90 * part.records for part in plan]
    assert len(plan) == 10
    assert min(sizes[:-1]) > 0.95 * 990_000
    assert [part.first for part in plan] == [sum(p.records for p in plan[:n]) for n in range(10)]


def test_record_that_is_longer_than_a_file_is_named(tmp_path: Path) -> None:
    table = pa.table({"a": ["x", "y" * 2000]})
    with pytest.raises(ArtifactError, match="record 2 alone makes a file of 20"):
        made(tmp_path, spec_of(**SPEC, split={"bytes": 1000}), {"rows": table})


def test_whichever_part_finishes_first_the_order_is_that_of_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_is_done = threading.Event()
    plain = CsvWriter.write

    def late(self: CsvWriter, job: Any, target: Path) -> str:
        if job.page.number == 1:
            assert second_is_done.wait(30)
        outcome = plain(self, job, target)
        if job.page.number == 2:
            second_is_done.set()
        return outcome

    spec = spec_of(**SPEC, split={"records": 2}, sequence={"name": "esma", "digits": 4})

    def numbers(_artifact: Artifact, count: int) -> Allocation:
        return Allocation(numbers=tuple(range(7, 7 + count)))

    _, expected = made(tmp_path / "one", spec, {"rows": rows(5)}, allocate=numbers)
    monkeypatch.setattr(CsvWriter, "write", late)
    artifact, data = made(tmp_path / "three", spec, {"rows": rows(5)}, allocate=numbers, threads=3)
    assert data == expected
    assert [file.part for file in artifact.files] == [1, 2, 3]
    assert artifact.numbers == (7, 8, 9)


def test_part_that_fails_keeps_all_of_them_away(tmp_path: Path) -> None:
    table = pa.table({"id": ["0", "1", "2", "Ä"]})
    spec = spec_of(**SPEC, split={"records": 2}, encoding="ascii")
    with pytest.raises(ArtifactError, match="cannot be written in ascii") as caught:
        made(tmp_path, spec, {"rows": table})
    assert caught.value.where == "part 2 of 2, record 2, column id"
    assert left(tmp_path) == []


def test_disk_that_fills_up_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = CsvWriter.write

    def full(self: CsvWriter, job: Any, target: Path) -> str:
        if job.page.number == 2:
            raise OSError(28, "No space left on device")
        return plain(self, job, target)

    monkeypatch.setattr(CsvWriter, "write", full)
    with pytest.raises(StorageError, match="No space left"):
        made(tmp_path, spec_of(**SPEC, split={"records": 2}), {"rows": rows(5)})
    assert left(tmp_path) == []


@pytest.mark.parametrize(("when_empty", "files"), [("write", 1), ("skip", 0)])
def test_no_records_give_one_file_or_none_as_the_spec_says(
    tmp_path: Path, when_empty: str, files: int
) -> None:
    spec = spec_of(**SPEC, split={"records": 2}, when_empty=when_empty)
    artifact, data = made(tmp_path, spec, {"rows": rows(0)})
    assert (len(artifact.files), artifact.records) == (files, 0)
    assert data == [b"id,text\n"] * files


def test_table_that_belongs_to_no_record_needs_to_be_named(tmp_path: Path) -> None:
    layout = LAYOUT.replace("<t r:each", '<firm r:each="firms">{lei}</firm><t r:each')
    tables = family() | {"firms": pa.table({"lei": ["A", "B"]})}
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "other.xml").write_text(layout)
    fields = XML | {"layout": "other.xml"}
    with pytest.raises(ArtifactError, match="nothing says into which file the rows of firms go"):
        made(folder, spec_of(**fields, split={"records": 2}), tables)
    [problem] = check({"out": spec_of(**fields, split={"records": 2})}, folder)
    assert problem.keys == ("out", "split")

    _, data = made(folder, spec_of(**fields, split={"records": 4, "repeat": ["firms"]}), tables)
    assert [[f.text for f in etree.fromstring(d).findall("firm")] for d in data] == [["A", "B"]] * 2


def test_correction_names_what_it_replaces(tmp_path: Path) -> None:
    spec = spec_of(
        format="csv",
        filename="{sender}_{sequence}_v{version:2}_{part}.csv",
        sender="DEMO",
        sequence={"name": "esma", "digits": 5},
        split={"records": 2},
        header_records=["{run.sequence};{run.version};{run.replaces};{run.replaces_file}"],
    )
    before = Replaced(version=1, numbers=(8,), filenames=("old.csv",))
    given = Allocation(version=2, numbers=(9, 10), replaces=before)
    artifact, data = made(tmp_path, spec, {"rows": rows(3)}, allocate=lambda *_: given)
    assert [each.splitlines()[0] for each in data] == [b"00009;2;00008;old.csv", b"00010;2;;"]
    assert [f.filename for f in artifact.files] == ["DEMO_00009_v02_1.csv", "DEMO_00010_v02_2.csv"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": {}}, "say at how many records or bytes to split"),
        ({"split": {"records": 5}, "filename": "a.csv"}, "all have the same name"),
        ({"split": {"records": 0}}, "greater than or equal to 1"),
        ({"filename": "{sequence}.csv"}, "the artifact has no sequence"),
        ({"filename": "{sender}.csv"}, "the artifact has no sender"),
        ({"filename": "{page}.csv"}, "{page} is unknown in a file name; known are business_date"),
        ({"filename": "{part:x}.csv"}, "length in digits"),
        (
            {"split": {"records": 5}, "sequence": {"name": "s", "per": "artifact"},
             "filename": "{sequence}.csv"},
            "all have the same name",
        ),
    ],
)  # fmt: skip
def test_wrong_names_and_parts_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        spec_of(**(SPEC | fields))
    assert message in str(caught.value)


def test_artifacts_whose_names_would_collide_are_found_without_data(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    found = {
        "a": spec_of(format="csv", filename="{report_id}_{artifact}.csv"),
        "b": spec_of(format="csv", filename="r_A.CSV"),
    }
    [problem] = check(found, tmp_path / "r")
    assert problem.message == "artifacts a and b would have the same file name"
    with pytest.raises(ArtifactError, match=r"two files would have the name OUT\.metadata\.json"):
        made(tmp_path, spec_of(format="csv", filename="OUT.metadata.json"), {"rows": rows(1)})


def test_row_groups_do_not_matter_for_the_cut(tmp_path: Path) -> None:
    table = rows(1000)
    spec = spec_of(**SPEC, split={"records": 137})
    _, expected = made(tmp_path / "whole", spec, {"rows": table})
    whole = dataset(table, tmp_path / "rows.parquet")
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=10)
    small = whole.model_copy(update=dict(describe(tmp_path / "rows.parquet")))
    _, data = made(tmp_path / "small", spec, {"rows": small})
    assert data == expected
