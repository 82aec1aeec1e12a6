"""A SQLite store for a test, copied from one that was migrated once."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from openreg_airflow.store import schema


def new_store(folder: Path) -> str:
    """The URL of a new store in a folder."""
    file = folder / "store.db"
    file.write_bytes(_migrated())
    return f"sqlite:///{file}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "store.db"
        schema.upgrade(f"sqlite:///{file}")
        return file.read_bytes()
