from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from openreg_airflow.artifacts.produce import produce, refuse_blocked
from openreg_airflow.errors import ArtifactError, BlockingRulesError, IntegrityError
from openreg_airflow.records import RuleResult, Verdict
from openreg_airflow.workspace import Workspace, describe
from tests.artifact_files import RUN, dataset, made, spec_of

TABLE = pa.table({"a": ["x", "y"], "b": [1, 2]})


def result(rule_id: str, severity: str, failed: int) -> RuleResult:
    return RuleResult.model_validate(
        {
            "rule_id": rule_id,
            "title": rule_id,
            "severity": severity,
            "table": "rows",
            "failed": failed,
            "checked": 10,
            "seconds": 0.1,
            "message": "",
        }
    )


def test_record_describes_the_published_file(tmp_path: Path) -> None:
    name = "{report_id}_{artifact}_{business_date:%Y%m%d}.csv"
    spec = spec_of(format="csv", filename=name)
    artifact, data = made(tmp_path, spec, {"rows": TABLE})
    assert data == b"a,b\nx,1\ny,2\n"
    [file] = artifact.files
    ref = describe(Path(file.uri))
    assert (file.bytes, file.sha256) == (ref.bytes, ref.sha256)
    assert file.filename == Path(file.uri).name == "daily_out_20260930.csv"
    assert (artifact.name, artifact.format, artifact.records) == ("out", "csv", 2)
    assert artifact.schema_check == "not checked: CSV has no schema"


def test_repeated_task_gives_the_same_file(tmp_path: Path) -> None:
    spec = spec_of(format="csv")
    assert made(tmp_path, spec, {"rows": TABLE}) == made(tmp_path, spec, {"rows": TABLE})


def test_failed_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        made(tmp_path, spec_of(format="csv"), {"rows": TABLE.append_column("c", [[b"x", b"y"]])})
    left = [path for path in (tmp_path / "workspace").rglob("*") if path.is_file()]
    assert left == []


def test_missing_table_names_the_tables_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no table rows") as caught:
        made(tmp_path, spec_of(format="csv"), {"others": TABLE})
    assert caught.value.where == "artifact out"
    assert caught.value.hint == "The tables of this run are others."


@pytest.mark.parametrize("format_", ["csv", "excel", "jsonl", "parquet"])
def test_table_with_two_columns_of_one_name_is_refused(tmp_path: Path, format_: str) -> None:
    table = pa.table([[1], [2], [3]], names=["a", "b", "a"])
    with pytest.raises(ArtifactError, match=r"rows has several columns named a\n") as caught:
        made(tmp_path, spec_of(format=format_), {"rows": table})
    assert caught.value.where == "artifact out"
    assert caught.value.hint is not None


def test_changed_input_is_refused(tmp_path: Path) -> None:
    ref = dataset(TABLE, tmp_path / "rows.parquet")
    path = tmp_path / "rows.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        produce(
            name="out",
            spec=spec_of(format="csv"),
            folder=tmp_path,
            run=RUN,
            tables={"rows": ref},
            workspace=Workspace(tmp_path / "workspace"),
        )


def test_nothing_is_written_when_a_blocking_rule_failed() -> None:
    refuse_blocked(Verdict(results=(result("a", "blocking", 0), result("b", "warning", 3))))
    with pytest.raises(BlockingRulesError, match=r"c \(2 rows\)"):
        refuse_blocked(Verdict(results=(result("b", "warning", 3), result("c", "blocking", 2))))
