"""A store in SQLite on a real file system that is full."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from openreg_airflow.errors import StoreUnavailableError
from openreg_airflow.store import Store
from tests.new_store import new_store
from tests.store_contract import RUN, artifact

if TYPE_CHECKING:
    from pathlib import Path


def fill(disk: Path) -> Path:
    rest = disk / "rest"
    with pytest.raises(OSError, match="No space left"):
        shutil.copyfile("/dev/zero", rest)
    return rest


def test_full_disk_is_told_and_loses_nothing(small_disk: Path) -> None:
    store = Store(new_store(small_disk))
    store.record_artifact(RUN, artifact("first"))
    rest = fill(small_disk)

    with pytest.raises(StoreUnavailableError) as caught:
        store.record_artifact(RUN, artifact("second"))
    assert f"disk of {small_disk / 'store.db'} has room" in str(caught.value.hint)

    rest.unlink()
    assert store.artifacts(RUN) == (artifact("first"),)
    store.record_artifact(RUN, artifact("second"))
    assert store.artifacts(RUN) == (artifact("first"), artifact("second"))
