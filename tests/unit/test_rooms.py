"""The way the arrows run between the rooms; ARCHITECTURE.md says why."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).resolve().parents[2] / "openreg_airflow"
STAGES = {"extract", "transform", "validate", "artifacts", "deliver", "notify"}
#: Rooms that stages stand on.
FOUNDATIONS = {"store", "language", "exception_queue", "references", "calendars", "sftp"}
#: One command runs two stages: it tries a script on what an extraction gives.
ALLOWED = {("transform/trial.py", "extract"), ("validate/operator.py", "notify"),
           ("notify/message.py", "validate")}  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_no_stage_knows_another_and_no_foundation_a_stage() -> None:
    wrong = []
    for room in STAGES | FOUNDATIONS:
        for path in (PACKAGE / room).rglob("*.py"):
            place = str(path.relative_to(PACKAGE))
            for module in imports(path):
                parts = module.split(".")
                known = parts[1] if parts[0] == PACKAGE.name and len(parts) > 1 else ""
                if known in STAGES - {room} and (place, known) not in ALLOWED:
                    wrong.append(f"{place} imports {module}")
    assert wrong == []


def test_engines_do_not_know_airflow() -> None:
    wrong = []
    for room in STAGES | FOUNDATIONS | {"mappings"}:
        for path in (PACKAGE / room).rglob("*.py"):
            outer = ast.parse(path.read_text()).body
            for node in outer:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                if any(name.split(".")[0] == "airflow" for name in names):
                    wrong.append(str(path.relative_to(PACKAGE)))
    assert {Path(name).name for name in wrong} == {"operator.py", "connections.py"}, wrong
