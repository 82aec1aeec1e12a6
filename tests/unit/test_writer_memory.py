from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests import writer_memory
from tests.writer_formats import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

#: What is held of each row shows as many times this.
_HELD = (writer_memory.LONG - writer_memory.SHORT) * writer_memory.LENGTH


def test_memory_of_writers_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    writer_memory.prepare(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.writer_memory", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {name: (arrow, process) for name, arrow, process in json.loads(done.stdout)}

    assert found.keys() >= FORMATS.keys()
    assert max(arrow for arrow, _ in found.values()) < _HELD / 20, found
    # DuckDB takes what it may have to sort inner rows, and spills beyond.
    del found["nested"]
    assert max(process for _, process in found.values()) < _HELD * 0.7, found
