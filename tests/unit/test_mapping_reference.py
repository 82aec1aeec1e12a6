from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import duckdb
import pytest
from typer.testing import CliRunner

from openreg_airflow.errors import MappingError
from openreg_airflow.language import library
from openreg_airflow.mappings import reference_sets
from openreg_airflow.mappings.commands import app
from openreg_airflow.mappings.entries import Entries
from openreg_airflow.mappings.importing import import_file
from openreg_airflow.mappings.sets import Sets
from tests.mappings_contract import ANNA, content, write
from tests.new_store import new_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return new_store(tmp_path)


def test_reference_data_comes_as_read_only_sets_with_their_source(url: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["reference", "--url", url])
    assert result.exit_code == 0, result.output
    assert "ISO 4217, lists one and three of 2026-01-01" in result.output

    found = Sets(url, ANNA).list()
    assert {one.name for one in found} == {one.name for one in reference_sets.SETS}
    assert all(one.read_only and one.source and one.source_date for one in found)
    with pytest.raises(MappingError, match="read-only"):
        Entries(url, "iso_mic", ANNA).add({"mic": "XXXX"}, {})
    file = write(tmp_path / "v.csv", "currency,number,name,decimals", "EUR,1,x,2")
    with pytest.raises(MappingError, match="read-only"):
        import_file(url, "iso_currency", file, ANNA)


def test_past_codes_are_there_for_their_days(url: str) -> None:
    reference_sets.update(url, ANNA)

    def known(name: str, day: date) -> dict[str, tuple[object, ...]]:
        return {row[0]: row[1:] for row in content(url, name, business_date=day)}

    assert known("iso_currency", date(2002, 3, 31))["DEM"][:2] == ("276", "Deutsche Mark")
    assert "DEM" not in known("iso_currency", date(2002, 4, 1))
    assert known("iso_currency", date(2026, 3, 31))["JPY"][2] == 0
    assert known("iso_country", date(2006, 9, 25))["CS"][0] == "SCG"
    assert "CS" not in known("iso_country", date(2006, 9, 26))
    assert known("iso_mic", date(2026, 3, 31))["XETR"][0] == "XETR"
    assert known("iso_cfi", date(2026, 3, 31))["ES"][0] == "Equities"
    assert known("country_membership", date(2020, 1, 31))["GB"][:2] == ("EU", True)
    assert date(2026, 4, 3) in known("target_closing_day", date(2026, 4, 3))


def test_what_does_not_change_adds_no_revision(url: str) -> None:
    first = reference_sets.update(url, ANNA)
    again = reference_sets.update(url, ANNA)
    assert all(done.applied for done in first)
    assert not any(done.applied for done in again)
    assert [done.revision for done in again] == [1] * len(reference_sets.SETS)
    assert {one.edition for one in Sets(url, ANNA).list()} == {1}


def test_set_of_people_is_not_taken_for_reference_data(url: str) -> None:
    Sets(url, ANNA).create("iso_mic", keys=[("code", "string")], values=[("mic", "string")])
    with pytest.raises(MappingError, match="maintained by people"):
        reference_sets.update(url, ANNA)
    assert content(url, "iso_mic") == []


def test_sets_and_conditions_know_the_same_codes(url: str) -> None:
    reference_sets.update(url, ANNA)
    connection = duckdb.connect()
    library.install(connection)
    day = date(2005, 6, 30)
    for name, macro in (
        ("iso_mic", "mic_known"), ("iso_country", "country_known"),
        ("iso_currency", "currency_known"),
    ):  # fmt: skip
        codes = {row[0] for row in content(url, name)}
        said = connection.execute(
            f"SELECT code FROM unnest(?) AS codes(code) WHERE {macro}(code, ?)",
            [sorted(codes), day],
        )
        assert {row[0] for row in said.fetchall()} == {
            row[0] for row in content(url, name, business_date=day)
        }
