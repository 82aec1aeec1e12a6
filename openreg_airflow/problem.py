"""A fault that ``openreg check`` found in a report spec or in a file that it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One fault and where it is.

    Attributes:
        message: what is wrong and what was expected.
        hint: what the author can do about it.
        keys: the way to the faulty value inside ``report.yaml``, e.g. ``("artifacts", "returns",
            "filename")``; used to find its line when ``file`` is not given.
        inside: 1-based line and character in the text at ``keys``.
        file: the faulty file when it is not ``report.yaml`` itself.
        line: 1-based line in ``file``.
        column: 1-based column in ``file``.
    """

    message: str
    hint: str | None = None
    keys: tuple[str | int, ...] = field(default=())
    inside: tuple[int, int] | None = None
    file: Path | None = None
    line: int | None = None
    column: int | None = None
