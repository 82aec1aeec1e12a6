"""Writes XBRL report packages of CSV tables, and holds them against their taxonomy."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from openreg_airflow.artifacts.layouts.column_use import alike_titles, of_columns, of_lines
from openreg_airflow.artifacts.validity import schema_search
from openreg_airflow.artifacts.validity.schema_search import VALID
from openreg_airflow.errors import ArtifactError
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.artifacts.formats.xbrl_spec import TaxonomyFiles, XbrlCsvArtifact
    from openreg_airflow.artifacts.layouts.column_use import Use
    from openreg_airflow.artifacts.writer import Job

log = logging.getLogger(__name__)

_INSTALL = "Install Arelle where tasks run: the extra xbrl of this package brings it."


class XbrlCsvWriter:
    """The writer of ``format: xbrl-csv``."""

    def tables(self, spec: XbrlCsvArtifact, folder: Path) -> frozenset[str]:  # noqa: ARG002
        """The tables of the package."""
        return frozenset(table.table for table in spec.tables.values())

    def write(self, job: Job, target: Path) -> str:
        """Write the package and check it; see :class:`~openreg_airflow.artifacts.writer.Writer`."""
        from openreg_airflow.artifacts.formats import xbrl_check, xbrl_package

        spec: XbrlCsvArtifact = job.spec
        packages, outcome = _taxonomy(spec.taxonomy, job)
        tables = xbrl_package.write(job, target)
        if job.draft:
            return outcome
        if outcome != VALID:
            log.warning("%s: %s", job.filename, outcome)
        else:
            xbrl_check.validate(target, job.filename, packages, tables)
        return outcome

    def uses(self, spec: XbrlCsvArtifact, folder: Path) -> Iterator[Use]:  # noqa: ARG002
        """The columns that are written, and those of sums."""
        for file, table in spec.tables.items():
            yield from of_columns(table.table, table.columns, "tables", file)
        for name, line in spec.parameters.items():
            for use in of_lines(spec.table, [line]):
                yield replace(use, keys=("parameters", name))

    def check(self, spec: XbrlCsvArtifact, folder: Path) -> Iterator[Problem]:
        """Codes that would stand twice in a table, and taxonomy packages that are none."""
        for file, table in spec.tables.items():
            yield from alike_titles(table.columns, f"{file}.csv", "tables", file)
        if spec.taxonomy is None:
            return
        import zipfile

        for name in spec.taxonomy.packages:
            path = schema_search.find(name, schema_search.static_folders(folder))
            if path is not None and not zipfile.is_zipfile(path):
                message = f"taxonomy package {name} is not a zip file"
                yield Problem(message=message, keys=("taxonomy", "packages"))


def _taxonomy(spec: TaxonomyFiles | None, job: Job) -> tuple[list[Path], str]:
    """The taxonomy's packages, and what to say of the check: that it passed, or why there is none.

    Raises:
        ArtifactError: it is required, and a package is not there or Arelle is not installed.
    """
    from openreg_airflow.artifacts.formats import xbrl_check

    if spec is None:
        return [], "not checked: the spec names no taxonomy"
    found = [schema_search.look_up(name, job, required=spec.required) for name in spec.packages]
    missing = [outcome for path, outcome in found if path is None]
    if missing:
        return [], missing[0]
    if not xbrl_check.installed():
        message = "Arelle is not installed, so the report cannot be held against its taxonomy"
        if spec.required:
            raise ArtifactError(message, where=f"artifact {job.artifact}", hint=_INSTALL)
        log.warning("%s", _INSTALL)
        return [], "not checked: Arelle is not installed"
    return [path for path, _ in found if path is not None], VALID
