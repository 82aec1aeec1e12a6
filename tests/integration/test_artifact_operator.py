from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from airflow.sdk import DAG

from openreg_airflow.artifacts.operator import ArtifactOperator
from openreg_airflow.errors import ArtifactError, BlockingRulesError
from openreg_airflow.records import Artifact, RuleResult, Verdict
from openreg_airflow.store import Store, schema
from tests.artifact_files import RUN, dataset, spec_of

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
    url = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", url)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("AIRFLOW__OPENREG__SCHEMA_FOLDERS", str(tmp_path / "schemas"))
    schema.upgrade(url)
    return Store(url)


@pytest.fixture
def rows(tmp_path: Path) -> Dataset:
    return dataset(pa.table({"a": ["1", "2"]}), tmp_path / "rows.parquet")


def operator(folder: Path, tables: dict[str, Dataset], verdict: Verdict | None) -> ArtifactOperator:
    (folder / "layout.xml").write_text(LAYOUT)
    with DAG("daily"):
        task = ArtifactOperator(
            task_id="artifact",
            report_id=RUN.report_id,
            folder=folder,
            artifact="out",
            spec=spec_of(
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
