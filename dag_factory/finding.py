"""One fault of a spec with its exact place, as people and editors read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, order=True)
class Finding:
    """A fault: where it is, what was expected there, and what to do.

    Attributes:
        file: the faulty file.
        line: 1-based line; 1 when the whole file is at fault.
        column: 1-based column.
        message: what is wrong.
        hint: what the author can do about it.
    """

    file: Path
    line: int
    column: int
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text

    def as_json(self) -> dict[str, Any]:
        """The finding as plain JSON data."""
        return {**asdict(self), "file": str(self.file)}


class InvalidSpecError(SpecError):
    """A report spec cannot be used; ``findings`` holds every fault of it, in order of lines."""

    def __init__(self, findings: Sequence[Finding], *, report: str | None = None) -> None:
        self.findings = tuple(sorted(findings, key=lambda f: (str(f.file), f.line, f.column)))
        count = len(self.findings)
        title = "1 error" if count == 1 else f"{count} errors"
        super().__init__(
            f"the report spec has {title}:\n" + "\n".join(f"  {f}" for f in self.findings),
            report=report,
        )
