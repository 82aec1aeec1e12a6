"""The workspace on a real file system that is full or read-only."""

from __future__ import annotations

import os
import subprocess
import tempfile
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from openreg_airflow.errors import StorageError
from openreg_airflow.records import RunKey
from openreg_airflow.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

RUN = RunKey(report_id="positions", business_date=date(2026, 3, 31), run_id="manual__1")
MIB = 1 << 20


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_full_disk_leaves_nothing_and_a_retry_with_space_succeeds(small_disk: Path) -> None:
    folder = Workspace(small_disk).folder(RUN, "extract")
    with pytest.raises(StorageError) as caught, folder.writing("table.parquet") as pending:
        pending.path.write_bytes(bytes(2 * MIB))
    assert f"cannot write table.parquet to {small_disk}" in caught.value.message
    assert "No space left on device" in caught.value.message
    assert "Free space" in (caught.value.hint or "")
    assert files(small_disk) == []
    with folder.writing("table.parquet") as pending:
        pending.path.write_bytes(bytes(MIB // 2))
    assert pending.ref.bytes == MIB // 2


def test_a_full_disk_of_temporary_files_is_named_too(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    folder = Workspace(tmp_path).folder(RUN, "validate")
    with pytest.raises(StorageError) as caught, folder.writing("failing_rows.parquet"):
        (small_disk / "sorted").write_bytes(bytes(2 * MIB))
    assert f"Free space there or in {small_disk}" in (caught.value.hint or "")


def test_a_disk_that_fills_up_keeps_the_file_of_the_attempt_before(small_disk: Path) -> None:
    workspace = Workspace(small_disk)
    folder = workspace.folder(RUN, "extract")
    with folder.writing("table.parquet") as pending:
        pending.path.write_bytes(bytes(MIB // 2))
    with pytest.raises(StorageError), folder.writing("table.parquet") as again:
        again.path.write_bytes(bytes(2 * MIB))
    with workspace.open_local(pending.ref) as path:
        assert path.stat().st_size == MIB // 2


def test_arrow_says_when_the_disk_is_full(small_disk: Path) -> None:
    folder = Workspace(small_disk).folder(RUN, "extract")
    table = pa.table({"a": [os.urandom(2 * MIB)]})
    with pytest.raises(StorageError, match="No space left"), folder.writing("t") as pending:
        pq.write_table(table, pending.path)
    assert files(small_disk) == []


def test_a_read_only_disk_is_a_storage_error(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with (
        pytest.raises(StorageError, match="Read-only file system"),
        Workspace(small_disk).folder(RUN, "extract").writing("table.parquet"),
    ):
        pass


def test_a_full_scratch_disk_is_a_storage_error_of_a_remote_workspace(small_disk: Path) -> None:
    workspace = Workspace(ObjectStoragePath("memory://full-scratch"), scratch=small_disk / "s")
    with (
        pytest.raises(StorageError, match="No space left"),
        workspace.folder(RUN, "extract").writing("table.parquet") as pending,
    ):
        pending.path.write_bytes(bytes(2 * MIB))
    assert files(small_disk) == []
    assert not workspace.root.joinpath("positions").exists()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_airflows_path_of_a_local_folder_is_local(tmp_path: Path, scheme: str) -> None:
    workspace = Workspace(ObjectStoragePath(f"{scheme}{tmp_path}"))
    assert workspace.local == tmp_path
    with workspace.folder(RUN, "extract").writing("table.parquet") as pending:
        pending.path.write_bytes(b"rows")
    with workspace.open_local(pending.ref) as path:
        assert path.is_relative_to(tmp_path)
        assert path.read_bytes() == b"rows"


def test_airflows_path_of_a_remote_root_keeps_its_connection() -> None:
    attach("memory", "store", fs=MemoryFileSystem())
    workspace = Workspace(ObjectStoragePath("memory://store@bucket/openreg"))
    with workspace.folder(RUN, "extract").writing("table.parquet") as pending:
        pending.path.write_bytes(b"rows")
    with workspace.open_local(pending.ref) as path:
        assert path.read_bytes() == b"rows"
    assert workspace._remote(pending.ref.uri).conn_id == "store"
    elsewhere = workspace._remote("memory://store@other/openreg/table.parquet")
    assert elsewhere.conn_id == "store"
