from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openreg_airflow.errors import SourceError, SpecError
from tests.file_sources import Inbox, inbox

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="inbox")
def _inbox(tmp_path: Path) -> Inbox:
    return inbox(tmp_path)


def jsonl(inbox: Inbox, text: str | bytes, columns: dict[str, str], **given: Any) -> Any:
    content = text.encode() if isinstance(text, str) else text
    (inbox.folder / "f.jsonl").write_bytes(content)
    return inbox.extract("f.jsonl", columns, format="jsonl", **given).to_pylist()


def test_json_numbers_keep_every_digit(inbox: Inbox) -> None:
    columns = {"p": "decimal(38,18)", "n": "integer", "f": "float", "s": "string", "b": "boolean"}
    line = '{"n": 9223372036854775807, "p": 12345678901234567890.123456789012345678, "f": 1e-7, '

    rows = jsonl(inbox, line + '"s": "007", "b": false}\n\n{"p": "1.5", "s": null}\n', columns)

    assert rows[0] == {
        "p": Decimal("12345678901234567890.123456789012345678"),
        "n": 2**63 - 1,
        "f": 1e-7,
        "s": "007",
        "b": False,
    }
    assert rows[1] == {"p": Decimal("1.5"), "n": None, "f": None, "s": None, "b": None}


def test_json_dates_take_the_specs_formats(inbox: Inbox) -> None:
    rows = jsonl(
        inbox,
        '{"d": "02/03/2026", "z": "2026-03-02T09:00:00Z"}\n',
        {"d": "date", "z": "timestamp_utc"},
        formats={"d": "%d/%m/%Y"},
    )

    assert rows == [{"d": date(2026, 3, 2), "z": datetime(2026, 3, 2, 9, tzinfo=UTC)}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"n": 1', "not JSON"),
        (b"[1]", "not an object"),
        (b'{"n": NaN}', "NaN is not a number"),
        (b'{"n": 1, "n": 2}', "n is there twice"),
        (b'{"n": 1, "m": 2}', "the column m is not declared"),
        (b'{"n": {"a": 1}}', 'the value {"a": "1"} is not integer'),
        (b'{"n": true}', "the value true is not integer"),
        (b'{"s": 1}', "is not string"),
        (b'{"n": 1.0}', "does not fit integer"),
        (b'{"n": "x"}', "does not fit integer"),
        (b'{"s": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (rb'{"s": "a\ud83d"}', r"\ud83d is one half of a letter"),
        (rb'{"\ud83d": 1}', r"the column \ud83d is not declared"),
    ],
)
def test_broken_json_line_is_named_by_its_number(inbox: Inbox, line: bytes, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        jsonl(inbox, b'{"n": 1}\n\n' + line + b"\n", {"n": "integer", "s": "string"})

    assert said in caught.value.message
    assert str(caught.value.where).startswith("f.jsonl")
    assert str(caught.value.where).endswith("line 3")


def test_json_lines_need_declared_columns(inbox: Inbox) -> None:
    with pytest.raises(SpecError, match="does not tell its columns"):
        jsonl(inbox, "{}\n", {})


def test_empty_file_of_json_lines_is_a_table_without_rows(inbox: Inbox) -> None:
    assert jsonl(inbox, "", {"n": "integer"}) == []


def parquet(
    inbox: Inbox, table: pa.Table, columns: dict[str, str] | None = None, **how: Any
) -> Any:
    pq.write_table(table, inbox.folder / "f.parquet", **how)
    return inbox.extract("f.parquet", columns, format="parquet")


def test_parquet_keeps_values_and_takes_the_products_types(inbox: Inbox) -> None:
    stamp = datetime(2026, 3, 2, 9, 0, 0, 123456)  # noqa: DTZ001
    table = pa.table(
        {
            "i8": pa.array([1, None], pa.int8()),
            "u64": pa.array([2**64 - 1, None], pa.uint64()),
            "d": pa.array([Decimal("1.23"), None], pa.decimal128(9, 2)),
            "ns": pa.array([stamp, None], pa.timestamp("ns", tz="Europe/Berlin")),
            "t": pa.array([time(1, 2, 3), None], pa.time32("s")),
            "s": pa.array(["ü", None], pa.large_string()),
            "k": pa.array(["x", None]).dictionary_encode(),
            "b": pa.array([b"\x00", None]),
        }
    )

    found = parquet(inbox, table)

    assert [str(field.type) for field in found.schema] == [
        "int64",
        "decimal128(20, 0)",
        "decimal128(9, 2)",
        "timestamp[us, tz=UTC]",
        "time64[us]",
        "string",
        "string",
        "binary",
    ]
    first, second = found.to_pylist()
    assert first["u64"] == 2**64 - 1
    assert first["ns"] == stamp.replace(tzinfo=UTC)
    assert (first["s"], first["k"], first["b"]) == ("ü", "x", b"\x00")
    assert set(second.values()) == {None}


def test_parquet_column_that_was_always_empty_takes_the_declared_type(inbox: Inbox) -> None:
    table = pa.table({"n": [1, 2], "gone": pa.nulls(2)})

    assert str(parquet(inbox, table).schema.field("gone").type) == "string"
    for kind in ("decimal(9,2)", "integer", "date", "timestamp_utc", "boolean", "binary"):
        assert parquet(inbox, table, {"gone": kind})["gone"].null_count == 2


def test_parquet_decimals_of_any_width_are_carried(inbox: Inbox) -> None:
    kinds = [pa.decimal32(7, 2), pa.decimal64(17, 2), pa.decimal256(70, 2)]
    values = [Decimal("-12345.67"), Decimal("123456789012345.67"), Decimal("9" * 68 + ".99")]
    columns = [pa.array([value, None], kind) for value, kind in zip(values, kinds, strict=True)]

    found = parquet(inbox, pa.table(columns, names=["a", "b", "c"]))

    assert [column.to_pylist() for column in found.columns] == [[value, None] for value in values]


def test_parquet_value_that_does_not_fit_is_named_by_row(inbox: Inbox) -> None:
    table = pa.table({"p": [Decimal("1.10"), Decimal("1.11")] * 20_000})

    with pytest.raises(SourceError, match=r"1\.11 does not fit decimal\(9,1\)") as caught:
        parquet(inbox, table, {"p": "decimal(9,1)"})
    assert caught.value.where == "f.parquet, column p, row 2"
    nanos = pa.table({"t": pa.array([1], pa.timestamp("ns"))})
    with pytest.raises(SourceError, match="does not fit timestamp"):
        parquet(inbox, nanos)


def test_nested_parquet_column_is_not_carried(inbox: Inbox) -> None:
    with pytest.raises(SourceError, match="column l is of type list") as caught:
        parquet(inbox, pa.table({"l": [[1]]}))
    assert "query" not in str(caught.value.hint)


@pytest.mark.parametrize(
    ("plain", "said"), [(True, "has encrypted columns"), (False, "encrypted metadata")]
)
def test_encrypted_parquet_is_refused_and_ends_no_process(
    inbox: Inbox, plain: bool, said: str
) -> None:
    code = _ENCRYPTED.format(plain=plain, path=str(inbox.folder / "f.parquet"))
    subprocess.run([sys.executable, "-c", code], check=True)

    # In a process of its own: the one that asks Arrow about such a column is no longer there.
    done = subprocess.run(
        [sys.executable, "-c", _READING.format(folder=str(inbox.folder))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert said in done.stdout, done.stderr


_ENCRYPTED = """
import base64, pyarrow as pa, pyarrow.parquet as pq, pyarrow.parquet.encryption as pe
class Keys(pe.KmsClient):
    def __init__(self, config):
        super().__init__()
    def wrap_key(self, key, name):
        return base64.b64encode(key)
    def unwrap_key(self, key, name):
        return base64.b64decode(key)
properties = pe.CryptoFactory(Keys).file_encryption_properties(
    pe.KmsConnectionConfig(),
    pe.EncryptionConfiguration(
        footer_key="f", column_keys={{"c": ["a"]}}, plaintext_footer={plain}
    ),
)
table = pa.table({{"a": [1], "b": [2]}})
with pq.ParquetWriter({path!r}, table.schema, encryption_properties=properties) as writer:
    writer.write_table(table)
"""
_READING = """
from pathlib import Path
from openreg_airflow.errors import SourceError
from tests.file_sources import Inbox
folder = Path({folder!r})
try:
    Inbox(folder, folder / "out").done("f.parquet", format="parquet")
except SourceError as error:
    print(error)
"""


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", b"a,b\n"])
def test_broken_parquet_is_refused(inbox: Inbox, content: bytes) -> None:
    (inbox.folder / "f.parquet").write_bytes(content)

    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        inbox.done("f.parquet", format="parquet")


def test_damage_within_parquet_is_found(inbox: Inbox) -> None:
    table = pa.table({"s": [f"value {i}" for i in range(50_000)]})
    pq.write_table(table, inbox.folder / "f.parquet", write_page_checksum=True, compression="zstd")
    content = bytearray((inbox.folder / "f.parquet").read_bytes())
    content[2000:2100] = bytes(100)
    (inbox.folder / "f.parquet").write_bytes(content)

    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        inbox.done("f.parquet", format="parquet")


def test_small_parquet_that_unfolds_into_gigabytes_stays_small(inbox: Inbox) -> None:
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), ["x" * 500_000])
    pq.write_table(pa.table({"s": long}), inbox.folder / "f.parquet", compression="zstd")
    assert (inbox.folder / "f.parquet").stat().st_size < 100_000
    before = psutil.Process().memory_info().rss
    peak = pa.total_allocated_bytes()
    extraction = inbox.extraction("f.parquet", format="parquet", max_bytes=200 << 20)

    with pytest.raises(SourceError, match="more than 209715200 bytes"):
        extraction.run(inbox.output)

    assert pa.total_allocated_bytes() - peak < 300 << 20
    assert psutil.Process().memory_info().rss - before < 600 << 20


def test_parquet_column_that_is_too_large_to_hold_is_refused_before_it_is_read(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openreg_airflow.extract.files.parquet_table._CHUNK_BYTES", 1000)

    with pytest.raises(SourceError, match="column s of row group 1 unfolds to"):
        parquet(inbox, pa.table({"s": [f"{i:09d}" for i in range(1000)]}))
