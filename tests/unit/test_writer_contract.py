"""What every writer must do, whatever its format."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.writer import known_formats
from openreg_airflow.errors import ArtifactError
from tests.artifact_files import made
from tests.writer_bench import spec_of, write
from tests.writer_formats import FORMATS, folder_of, rows

#: Writes in a process of its own, so that its number of threads and its seed of hashes are its own.
SCRIPT = """
import json, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from tests.writer_bench import write
pa.set_cpu_count(int(sys.argv[1])), pa.set_io_thread_count(int(sys.argv[1]))
for name, fields in json.loads(sys.argv[3]).items():
    folder = Path(sys.argv[2]) / name
    write(folder, {"rows": pq.read_table(folder.parent / "rows.parquet")}, format=name, **fields)
"""


def test_every_format_of_this_package_is_held_to_the_contract() -> None:
    assert set(known_formats()) == set(FORMATS)


def test_same_rows_give_the_same_bytes_whatever_the_number_of_threads(tmp_path: Path) -> None:
    files = []
    for run, threads in enumerate((1, 4)):
        parent = tmp_path / str(run)
        for name in FORMATS:
            folder_of(parent, name)
        pq.write_table(rows(20_000), parent / "rows.parquet")
        command = [sys.executable, "-c", SCRIPT, str(threads), str(parent), json.dumps(FORMATS)]
        root = Path(__file__).parent.parent.parent
        environment = {"PYTHONHASHSEED": str(run + 1), "PYTHONPATH": str(root)}
        subprocess.run(command, check=True, env=environment, cwd=root)
        files.append({name: (parent / name / "written").read_bytes() for name in FORMATS})
    for name in FORMATS:
        assert files[0][name] == files[1][name], name


@pytest.mark.parametrize("name", FORMATS)
def test_table_without_rows_gives_a_file_without_records(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, name)
    _, path = write(folder, {"rows": rows(0)}, format=name, when_empty="write", **FORMATS[name])
    assert path.is_file()
    assert b"T0" not in path.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_artifact_is_recorded_as_it_lies_in_the_workspace(tmp_path: Path, name: str) -> None:
    spec = spec_of(format=name, **FORMATS[name])
    artifact, data = made(folder_of(tmp_path, name), spec, {"rows": rows(3)})
    [file] = artifact.files
    assert (artifact.format, artifact.records, file.records) == (name, 3, 3)
    assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert artifact.schema_check.startswith("not checked: ")


@pytest.mark.parametrize("name", FORMATS)
def test_unknown_column_is_refused_when_it_is_written(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, name)
    table = rows(1).rename_columns(["id", "amounts"])
    with pytest.raises(ArtifactError, match="has no column amount") as caught:
        write(folder, {"rows": table}, format=name, **FORMATS[name])
    assert "Did you mean amounts?" in str(caught.value.hint)


@pytest.mark.parametrize("name", FORMATS)
def test_unknown_column_is_found_without_data(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, name)
    section = {"a": spec_of(format=name, **FORMATS[name])}
    assert not list(check(section, folder, {"rows": {"id": "string", "amount": "decimal(18,2)"}}))
    assert not list(check(section, folder, {"rows": None}))
    assert not list(check(section, folder))
    problems = list(check(section, folder, {"rows": {"id": "string", "amounts": "decimal(9,2)"}}))
    assert {problem.message for problem in problems} == {"table rows has no column amount"}
    assert {problem.keys[:1] for problem in problems} == {("a",)}
    assert all(problem.file or len(problem.keys) > 1 for problem in problems)


@pytest.mark.parametrize(
    ("form", "declared", "expected"),
    [
        (".2f", "decimal(18,2)", True),
        (".2f", "string", False),
        ("%Y%m%d", "date", True),
        ("%Y%m%d", "timestamp_utc", True),
        ("%Y%m%d", "time", False),
        ("%H:%M", "time", True),
        ("%H:%M", "date", False),
        ("Y/N", "boolean", True),
        ("Y/N", "integer", False),
        ("Y/N", "any", True),
    ],
)
def test_format_of_another_type_is_found_without_data(
    tmp_path: Path, form: str, declared: str, expected: bool
) -> None:
    (tmp_path / "layout.xml").write_text(
        f'<d xmlns:r="urn:openreg:layout:1"><e r:each="rows"><a>{{a:{form}}}</a></e></d>'
    )
    for fields in ({"format": "csv", "columns": {"a": {"format": form}}},
                   {"format": "xml", "layout": "layout.xml"}):  # fmt: skip
        problems = list(check({"x": spec_of(**fields)}, tmp_path, {"rows": {"a": declared}}))
        assert [problem.message for problem in problems] == (
            [] if expected else [f"column a cannot be written as {form}"]
        )


def test_sum_of_a_column_without_exact_numbers_is_found_without_data(tmp_path: Path) -> None:
    section = {"x": spec_of(format="csv", trailer_records=["T,{sum.a}"])}
    [problem] = check(section, tmp_path, {"rows": {"a": "float"}})
    assert problem.keys == ("x", "trailer_records", 0)
    assert problem.message == "column a has no exact sum"
