from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openreg_airflow.artifacts.values.run_values import control_sum
from openreg_airflow.errors import ArtifactError
from tests.artifact_files import made, spec_of

if TYPE_CHECKING:
    from pathlib import Path

EXACT = Context(prec=80)
LONGEST = Decimal(10**29 - 1).scaleb(-9)
amounts = st.decimals(-LONGEST, LONGEST, places=9, allow_nan=False)


@settings(deadline=None, max_examples=60)
@given(st.lists(amounts | st.none(), min_size=1, max_size=20))
def test_control_sum_is_exact(
    tmp_path_factory: pytest.TempPathFactory, values: list[Decimal | None]
) -> None:
    path = tmp_path_factory.mktemp("sum") / "rows.parquet"
    pq.write_table(pa.table({"a": pa.array(values, pa.decimal128(38, 9))}), path)
    expected = Decimal(0)
    for value in values:
        expected = EXACT.add(expected, value or Decimal(0))
    assert control_sum(path, "rows", "a") == expected


def test_control_sum_of_whole_numbers_does_not_overflow(tmp_path: Path) -> None:
    most = 2**64 - 1
    pq.write_table(pa.table({"a": pa.array([most, most], pa.uint64())}), tmp_path / "rows.parquet")
    assert control_sum(tmp_path / "rows.parquet", "rows", "a") == 2 * most


def test_control_sum_of_binary_fractions_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [0.1]}), tmp_path / "rows.parquet")
    with pytest.raises(ArtifactError, match="double, of which there is no exact sum") as caught:
        control_sum(tmp_path / "rows.parquet", "rows", "a")
    assert caught.value.where == "table rows"
    with pytest.raises(ArtifactError, match="table rows has no column b"):
        control_sum(tmp_path / "rows.parquet", "rows", "b")


def test_sum_stands_in_the_envelope_of_an_xml_layout(tmp_path: Path) -> None:
    layout = (
        '<d xmlns:r="urn:openreg:layout:1" n="{run.records}"><s>{sum.a:.2f}</s>'
        '<e r:each="rows">{a}</e></d>'
    )
    spec = spec_of(format="xml", layout="layout.xml")
    table = pa.table({"a": pa.array([Decimal("0.10"), Decimal("0.20")], pa.decimal128(9, 2))})
    _, data = made(tmp_path, spec, {"rows": table}, layout=layout)
    assert b'<d n="2"><s>0.30</s>' in data
