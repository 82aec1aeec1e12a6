"""What ``openreg check`` finds in the ``artifacts`` section without Airflow and without data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.writer import writer
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.artifacts.spec import ArtifactSpec


def check(spec: Mapping[str, ArtifactSpec], folder: Path) -> Iterator[Problem]:
    """Faults of the artifacts and of the files that they name.

    Args:
        spec: the section: artifacts by name.
        folder: the report's folder.
    """
    names: dict[str, str] = {}
    for name, artifact in spec.items():
        for problem in writer(artifact.format).check(artifact, folder):
            yield replace(problem, keys=(name, *problem.keys))
        template = artifact.filename.replace("{artifact}", name)
        if template in names:
            message = f"artifacts {names[template]} and {name} would have the same file name"
            hint = "Put {artifact} into the name."
            yield Problem(message=message, hint=hint, keys=(name, "filename"))
        names.setdefault(template, name)
