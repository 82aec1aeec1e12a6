from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from airflow.sdk import DAG

from openreg_airflow import __version__
from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.artifacts.writers.csv import CsvWriter
from openreg_airflow.errors import ArtifactError, BlockingRulesError, StorageError
from openreg_airflow.records import Artifact, RuleResult, Verdict
from openreg_airflow.store import Store
from tests.artifact_files import RUN, dataset, spec_of
from tests.new_store import new_store

if TYPE_CHECKING:
    from openreg_airflow.records import Dataset

CONTEXT: Any = {"dag_run": SimpleNamespace(run_id=RUN.run_id)}
LAYOUT = '<d xmlns:r="urn:openreg:layout:1"><e r:each="rows"><a r:required="true">{a}</a></e></d>'
SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="d"><xs:complexType><xs:sequence>
    <xs:element name="e" maxOccurs="unbounded"><xs:complexType><xs:sequence>
      <xs:element name="a" type="xs:int"/>
    </xs:sequence></xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element>
</xs:schema>"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = new_store(tmp_path)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__SCHEMA_FOLDERS", str(tmp_path / "schemas"))
    return Store(url)


@pytest.fixture
def rows(tmp_path: Path) -> Dataset:
    return dataset(pa.table({"a": ["1", "2"]}), tmp_path / "rows.parquet")


def operator(
    folder: Path, tables: dict[str, Dataset], verdict: Verdict | None, spec: Any = None
) -> ArtifactOperator:
    (folder / "layout.xml").write_text(LAYOUT)
    with DAG("daily"):
        task = ArtifactOperator(
            task_id="artifact",
            report_id=RUN.report_id,
            folder=folder,
            artifact="out",
            spec=spec
            or spec_of(
                format="xml",
                layout="layout.xml",
                filename="{report_id}_{business_date:%Y%m%d}.xml",
                schema={"file": "d.xsd", "required": False},
            ),
            # What XComs hold, once they were resolved.
            tables={name: table.model_dump(mode="json") for name, table in tables.items()},
            verdict=verdict and verdict.model_dump(mode="json"),
        )
    # What rendering the templates makes of the macro.
    task.business_date = RUN.business_date.isoformat()
    return task


def verdict(failed: int) -> Verdict:
    rule = RuleResult(
        rule_id="positive",
        title="Positive",
        severity="blocking",
        table="rows",
        failed=failed,
        checked=2,
        seconds=0.1,
        message="",
    )
    return Verdict(results=(rule,))


def test_task_writes_checks_and_records_the_artifact(
    tmp_path: Path, store: Store, rows: Dataset
) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "d.xsd").write_text(SCHEMA)
    returned = operator(tmp_path, {"rows": rows}, verdict(0)).execute(CONTEXT)
    artifact = Artifact.model_validate(json.loads(json.dumps(returned)))
    assert artifact.files[0].filename == "daily_20260930.xml"
    assert artifact.schema_check == "valid"
    assert Path(artifact.files[0].uri).read_bytes() == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<d>\n<e><a>1</a></e>\n<e><a>2</a></e>\n</d>\n'
    )
    assert list(store.artifacts(RUN)) == [artifact]


def test_repeated_task_replaces_its_record_and_gives_the_same(
    tmp_path: Path, store: Store, rows: Dataset
) -> None:
    first = operator(tmp_path, {"rows": rows}, None).execute(CONTEXT)
    assert operator(tmp_path, {"rows": rows}, None).execute(CONTEXT) == first
    assert [a.model_dump(mode="json") for a in store.artifacts(RUN)] == [first]
    assert first["schema_check"].startswith("not checked: d.xsd was not found in ")


def test_failed_blocking_rule_stops_the_task_even_if_it_is_started(
    tmp_path: Path, store: Store, rows: Dataset
) -> None:
    with pytest.raises(BlockingRulesError, match=r"positive \(1 rows\)") as caught:
        operator(tmp_path, {"rows": rows}, verdict(1)).execute(CONTEXT)
    assert str(caught.value).startswith("report daily, stage artifact: ")
    assert list(store.artifacts(RUN)) == []
    assert not (tmp_path / "workspace").exists()


def test_validation_that_somebody_marked_as_succeeded_stops_the_task(
    tmp_path: Path, store: Store, rows: Dataset
) -> None:
    task = operator(tmp_path, {"rows": rows}, verdict(0))
    # What Airflow makes of the XCom of a task that never gave one.
    task.verdict = None
    with pytest.raises(BlockingRulesError, match="the validation left no verdict") as caught:
        task.execute(CONTEXT)
    assert "Clear the task validate" in str(caught.value)
    assert list(store.artifacts(RUN)) == []
    assert not (tmp_path / "workspace").exists()


def test_invalid_file_is_neither_published_nor_recorded(tmp_path: Path, store: Store) -> None:
    (tmp_path / "d.xsd").write_text(SCHEMA)
    wrong = dataset(pa.table({"a": ["1", "two"]}), tmp_path / "rows.parquet")
    with pytest.raises(ArtifactError) as caught:
        operator(tmp_path, {"rows": wrong}, None).execute(CONTEXT)
    assert str(caught.value).startswith(
        "report daily, stage artifact, record 2 (a two), element e/a, line 4: "
        "invalid by the schema: Element 'a': 'two' is not a valid value"
    )
    assert list(store.artifacts(RUN)) == []
    assert not [path for path in (tmp_path / "workspace").rglob("*") if path.is_file()]


NUMBERED: dict[str, Any] = {
    "format": "csv",
    "filename": "DEMO_{sequence}.csv",
    "sequence": {"name": "esma", "digits": 6, "start": 41},
    "split": {"records": 1},
    "header_records": ["{run.sequence};{run.version};{run.replaces};{run.replaces_file}"],
}


def context(run_id: str) -> Any:
    return {"dag_run": SimpleNamespace(run_id=run_id)}


def contents(artifact: dict[str, Any]) -> dict[str, str]:
    files = Artifact.model_validate(artifact).files
    return {file.filename: Path(file.uri).read_text() for file in files}


def test_same_content_keeps_its_numbers_and_a_correction_takes_the_next(
    tmp_path: Path, store: Store, rows: Dataset
) -> None:
    spec = spec_of(**NUMBERED)
    first = operator(tmp_path, {"rows": rows}, None, spec).execute(CONTEXT)
    assert contents(first) == {
        "DEMO_000041.csv": "000041;1;;\na\n1\n",
        "DEMO_000042.csv": "000042;1;;\na\n2\n",
    }
    assert operator(tmp_path, {"rows": rows}, None, spec).execute(CONTEXT) == first
    again = operator(tmp_path, {"rows": rows}, None, spec).execute(context("again"))
    assert contents(again) == contents(first)

    mended = dataset(pa.table({"a": ["1", "3"]}), tmp_path / "mended.parquet")
    second = operator(tmp_path, {"rows": mended}, None, spec).execute(context("mended"))
    assert contents(second) == {
        "DEMO_000043.csv": "000043;2;000041;DEMO_000041.csv\na\n1\n",
        "DEMO_000044.csv": "000044;2;000042;DEMO_000042.csv\na\n3\n",
    }
    assert second["metadata"]["replaces"] == {
        "version": 1,
        "numbers": [41, 42],
        "filenames": ["DEMO_000041.csv", "DEMO_000042.csv"],
    }


def test_sequence_counts_by_year_and_by_artifact_where_the_spec_says_so(
    tmp_path: Path, store: Store, rows: Dataset
) -> None:
    fields = NUMBERED | {
        "filename": "D_{sequence}_{part}.csv",
        "sequence": {"name": "bafin", "reset": "year", "per": "artifact"},
    }
    found = []
    for day in ("2026-12-30", "2026-12-31", "2027-01-04"):
        task = operator(tmp_path, {"rows": rows}, None, spec_of(**fields))
        task.business_date = day
        found.append(sorted(contents(task.execute(context(day)))))
    assert found == [
        ["D_1_1.csv", "D_1_2.csv"],
        ["D_2_1.csv", "D_2_2.csv"],
        ["D_1_1.csv", "D_1_2.csv"],
    ]


def test_full_disk_keeps_the_numbers_for_the_retry(
    tmp_path: Path, store: Store, rows: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(**NUMBERED)
    plain = CsvWriter.write

    def full(self: CsvWriter, job: Any, target: Path) -> str:
        if job.page.number == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(self, job, target)

    monkeypatch.setattr(CsvWriter, "write", full)
    with pytest.raises(StorageError, match="No space left"):
        operator(tmp_path, {"rows": rows}, None, spec).execute(CONTEXT)
    assert list(store.artifacts(RUN)) == []
    assert not [path for path in (tmp_path / "workspace").rglob("*") if path.is_file()]

    monkeypatch.setattr(CsvWriter, "write", plain)
    retried = operator(tmp_path, {"rows": rows}, None, spec).execute(CONTEXT)
    assert sorted(contents(retried)) == ["DEMO_000041.csv", "DEMO_000042.csv"]


def test_nothing_to_report_is_recorded_without_a_number(tmp_path: Path, store: Store) -> None:
    none = dataset(pa.table({"a": pa.array([], pa.string())}), tmp_path / "none.parquet")
    spec = spec_of(**NUMBERED, when_empty="skip")
    returned = operator(tmp_path, {"rows": none}, None, spec).execute(CONTEXT)
    [recorded] = store.artifacts(RUN)
    assert recorded.model_dump(mode="json") == returned
    assert (recorded.files, recorded.numbers, recorded.version) == ((), (), 0)


def test_metadata_is_told_in_the_store_and_in_a_sidecar(
    tmp_path: Path, store: Store, rows: Dataset
) -> None:
    (tmp_path / "report.yaml").write_text("openreg: 1\n")
    returned = operator(tmp_path, {"rows": rows}, verdict(0), spec_of(**NUMBERED)).execute(CONTEXT)
    [recorded] = store.artifacts(RUN)
    assert recorded.sidecar is not None
    told = json.loads(Path(recorded.sidecar.uri).read_text())
    assert recorded.metadata == returned["metadata"]
    assert told["report"] == RUN.report_id
    assert told["business_date"] == "2026-09-30"
    assert told["run"] == RUN.run_id
    assert told["records"] == 2
    assert told["rules"]["rules"] == 1
    assert told["software"] == f"openreg-airflow {__version__}"
    assert told["schema_check"] == "not checked: CSV has no schema"
    assert told["spec_sha256"] == hashlib.sha256(b"openreg: 1\n").hexdigest()
    assert told["inputs"]["rows"]["sha256"] == rows.sha256
    assert (told["sequence"], told["numbers"], told["version"]) == ("esma", [41, 42], 1)
    assert [file["sha256"] for file in told["files"]] == [file.sha256 for file in recorded.files]


def test_parsing_a_dag_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    heavy = "pyarrow", "duckdb", "lxml", "sqlalchemy.orm"
    code = (
        "import sys, airflow.sdk\n"
        "before = set(sys.modules)\n"
        "import openreg_airflow.artifacts.operator\n"
        f"print([n for n in {heavy} if n in sys.modules and n not in before])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("[]")
