from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from openreg_airflow.artifacts.check import check
from openreg_airflow.artifacts.formats import xbrl_check
from openreg_airflow.errors import ArtifactError
from tests import xbrl_taxonomy
from tests.writer_bench import spec_of, write

if TYPE_CHECKING:
    from pathlib import Path

SPEC: dict[str, Any] = {
    "format": "xbrl-csv",
    "table": "contracts",
    "filename": "5299000000000000BN42_{business_date:%Y-%m-%d}.zip",
    "extends": [xbrl_taxonomy.ENTRY],
    "parameters": {
        "entityID": "lei:5299000000000000BN42",
        "refPeriod": "{run.business_date}",
        "baseCurrency": "iso4217:EUR",
        "decimalsMonetary": "-3",
    },
    "tables": {
        "r_01": {
            "table": "contracts",
            "template": "R_01",
            "columns": {
                "id": {"title": "c0010", "required": True},
                "provider": {"title": "c0020"},
                "cost": {"title": "c0030", "format": ".2f"},
                "start": {"title": "c0040"},
            },
        },
        "r_02": {"table": "others", "template": "R_02"},
    },
}
CONTRACTS = pa.table(
    {
        "id": ["K1", "K2"],
        "provider": ["Provider A, Ltd", ""],
        "cost": pa.array([Decimal("1000.5"), None], pa.decimal128(18, 2)),
        "start": [date(2026, 1, 1), None],
    }
)
OTHERS = pa.table({"c0010": pa.array([], pa.string())})
ROOT = "5299000000000000BN42_2026-09-30"


def package(folder: Path, **fields: Any) -> tuple[str, dict[str, str], bytes]:
    tables = {
        "contracts": fields.pop("contracts", CONTRACTS),
        "others": fields.pop("others", OTHERS),
    }
    outcome, path = write(folder, tables, **SPEC | fields)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        files = {entry: archive.read(entry).decode() for entry in archive.namelist()}
    return outcome, files, path.read_bytes()


def against_taxonomy(folder: Path, **fields: Any) -> tuple[str, dict[str, str], bytes]:
    xbrl_taxonomy.write(folder / "register.zip")
    return package(folder, taxonomy={"packages": ["register.zip"]}, **fields)


def test_package_has_the_files_that_the_specification_asks_for(tmp_path: Path) -> None:
    outcome, files, _ = package(tmp_path)
    assert outcome == "not checked: the spec names no taxonomy"
    assert list(files) == [
        f"{ROOT}/META-INF/reportPackage.json",
        f"{ROOT}/reports/report.json",
        f"{ROOT}/reports/parameters.csv",
        f"{ROOT}/reports/FilingIndicators.csv",
        f"{ROOT}/reports/r_01.csv",
    ]
    about, report, parameters, indicators, table = files.values()
    assert json.loads(about) == {
        "documentInfo": {"documentType": "https://xbrl.org/report-package/2023"}
    }
    assert json.loads(report) == {
        "documentInfo": {
            "documentType": "https://xbrl.org/2021/xbrl-csv",
            "extends": [xbrl_taxonomy.ENTRY],
        }
    }
    assert parameters.splitlines() == [
        "name,value",
        "entityID,lei:5299000000000000BN42",
        "refPeriod,2026-09-30",
        "baseCurrency,iso4217:EUR",
        "decimalsMonetary,-3",
    ]
    assert indicators == "templateID,reported\nR_01,true\nR_02,false\n"
    assert table == (
        "c0010,c0020,c0030,c0040\n"
        'K1,"Provider A, Ltd",1000.50,2026-01-01\n'
        "K2,#empty,,\n"
    )  # fmt: skip


def test_valid_report_is_valid_by_arelle_without_a_network(tmp_path: Path) -> None:
    outcome, _, _ = against_taxonomy(tmp_path)
    assert outcome == "valid"


def test_invalid_fact_names_table_record_column_and_reason(tmp_path: Path) -> None:
    wrong = CONTRACTS.set_column(3, "start", pa.array(["2026-01-01", "2026-02-30"]))
    with pytest.raises(ArtifactError, match="2026-02-30") as caught:
        against_taxonomy(tmp_path, contracts=wrong)
    assert str(caught.value.where).startswith(
        "r_01.csv (table contracts) record 2, column c0040, XBRL "
    )


def test_report_of_an_unknown_taxonomy_is_refused_without_being_fetched(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"the report is invalid: .*unknown"):
        against_taxonomy(tmp_path, extends=["http://www.regulator.example/unknown.json"])


def test_missing_taxonomy_says_where_to_put_it_and_the_spec_decides(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"schema register\.zip was not found in") as caught:
        package(tmp_path, taxonomy={"packages": ["register.zip"]})
    assert "Get register.zip from the authority" in str(caught.value.hint)
    assert str(tmp_path) in str(caught.value.hint)
    taxonomy = {"packages": ["register.zip"], "required": False}
    outcome, _, _ = package(tmp_path, taxonomy=taxonomy)
    assert outcome == f"not checked: register.zip was not found in {tmp_path}"


def test_missing_arelle_blocks_only_where_the_check_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xbrl_check, "installed", lambda: False)
    with pytest.raises(ArtifactError, match="Arelle is not installed") as caught:
        against_taxonomy(tmp_path)
    assert "extra xbrl" in str(caught.value.hint)
    taxonomy = {"packages": ["register.zip"], "required": False}
    assert package(tmp_path, taxonomy=taxonomy)[0] == "not checked: Arelle is not installed"


def test_broken_taxonomy_package_is_said(tmp_path: Path) -> None:
    (tmp_path / "register.zip").write_bytes(b"no zip")
    section = {"a": spec_of(**SPEC, taxonomy={"packages": ["register.zip"]})}
    [problem] = check(section, tmp_path)
    assert problem.keys == ("a", "taxonomy", "packages")
    with pytest.raises(ArtifactError):
        package(tmp_path, taxonomy={"packages": ["register.zip"]})


def test_tables_without_rows_are_left_out_or_written_as_the_spec_says(tmp_path: Path) -> None:
    _, files, _ = package(
        tmp_path, empty_tables="write", filing_indicators={"R_02": True, "R_03": False}
    )
    assert files[f"{ROOT}/reports/r_02.csv"] == "c0010\n"
    assert files[f"{ROOT}/reports/FilingIndicators.csv"] == (
        "templateID,reported\nR_01,true\nR_02,true\nR_03,false\n"
    )
    _, files, _ = package(
        tmp_path, contracts=CONTRACTS.slice(0, 0), when_empty="write", root="nil_{run.report_id}"
    )
    assert list(files) == [
        "nil_daily/META-INF/reportPackage.json",
        "nil_daily/reports/report.json",
        "nil_daily/reports/parameters.csv",
        "nil_daily/reports/FilingIndicators.csv",
    ]


def test_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    assert package(first)[2] == package(second)[2]


def test_ending_says_what_kind_of_package_it_is(tmp_path: Path) -> None:
    _, files, _ = package(tmp_path, filename="report.xbr")
    assert (
        '"https://xbrl.org/report-package/2023/xbr"' in files["report/META-INF/reportPackage.json"]
    )


def test_null_in_a_required_column_names_record_and_column(tmp_path: Path) -> None:
    wrong = CONTRACTS.set_column(0, "id", pa.array(["K1", None]))
    with pytest.raises(ArtifactError, match="required") as caught:
        package(tmp_path, contracts=wrong)
    assert caught.value.where == "record 2, column id"


texts = st.text(st.sampled_from('#ab, "é') | st.characters(codec="utf-8"), max_size=5)


@settings(deadline=None, max_examples=40)
@given(st.lists(texts | st.none(), min_size=1, max_size=6))
def test_texts_read_back_by_the_rules_of_xbrl_csv(
    tmp_path_factory: pytest.TempPathFactory, values: list[str | None]
) -> None:
    table = pa.table({"c1": range(len(values)), "c2": pa.array(values, pa.string())})
    _, files, _ = package(
        tmp_path_factory.mktemp("xbrl"),
        contracts=table,
        tables={"t": {"table": "contracts"}, "r_02": {"table": "others"}},
    )
    _, *lines = csv.reader(io.StringIO(files[f"{ROOT}/reports/t.csv"], newline=""))
    assert [read(cell) for _, cell in lines] == values


def read(cell: str) -> str | None:
    if not cell:
        return None
    if cell == "#empty":
        return ""
    return cell[1:] if cell.startswith("##") else cell


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"filename": "a.csv"}, "ends in .zip or .xbr"),
        ({"table": "nowhere"}, "table nowhere is in none of the tables"),
        ({"extends": ["dora.json"]}, "extends"),
        ({"parameters": {"a": "{count}"}}, "speaks of a record"),
        ({"tables": {"../x": {"table": "contracts"}}}, "tables"),
        ({"root": ".."}, "root '..' is not the name of one folder"),
        ({"root": "a/b"}, "root 'a/b' is not the name of one folder"),
        ({"root": "{run.business_date:%Y/%m}"}, "is not the name of one folder"),
    ],
)
def test_wrong_section_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec_of(**SPEC | fields)


def test_code_that_stands_twice_is_found_without_data(tmp_path: Path) -> None:
    columns = {"a": {"title": "c1"}, "b": {"title": "c1"}}
    tables = {"t": {"table": "contracts", "columns": columns}}
    [problem] = check({"x": spec_of(**SPEC | {"tables": tables})}, tmp_path)
    assert problem.keys == ("x", "tables", "t", "columns", "b")
