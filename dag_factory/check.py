"""What ``openreg check`` does: every fault of every spec at once, without a network.

Only a report that uses mapping sets asks the store about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dag_factory import mapping_check, read_back
from dag_factory.finding import Finding, InvalidSpecError
from dag_factory.load import FILE_NAME, load, report_folders
from openreg_airflow.yaml_source import Places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dag_factory.report import ReportSpec
    from openreg_airflow.problem import Problem


def find_reports(path: Path) -> list[Path]:
    """The report folders that ``path`` stands for.

    Args:
        path: a report's folder, its ``report.yaml``, or a folder of reports.

    Raises:
        FileNotFoundError: there is nothing at ``path``.
    """
    if path.name == FILE_NAME:
        return [path.parent]
    if not path.is_dir():
        raise FileNotFoundError(path)
    if (path / FILE_NAME).exists():
        return [path]
    return list(report_folders(path))


def check(folder: Path) -> list[Finding]:
    """Every fault of one report: of its spec and of the files that the spec names.

    Args:
        folder: the report's folder.

    Returns:
        The faults in order of file and line; empty when the report is right.
    """
    try:
        spec = load(folder.resolve())
    except InvalidSpecError as error:
        return [_relative(finding, folder) for finding in error.findings]
    places = Places((folder / FILE_NAME).read_text(encoding="utf-8-sig"))
    problems = _problems(spec, folder.resolve())
    return sorted({_place(problem, folder, places) for problem in problems})


def _problems(spec: ReportSpec, folder: Path) -> Iterator[Problem]:
    from dag_factory.record_check import check as check_records
    from openreg_airflow.artifacts.check import check as check_artifacts
    from openreg_airflow.deliver.check import check as check_deliver
    from openreg_airflow.extract.check import check as check_extract
    from openreg_airflow.transform.check import check as check_transform
    from openreg_airflow.validate.check import check as check_validate

    sets = mapping_check.stored_sets(spec)
    yield from _below("extract", check_extract(spec.extract, folder))
    if spec.transform is not None:
        yield from _below("transform", check_transform(spec.transform, folder))
    if spec.validate_ is not None:
        found = check_validate(
            spec.validate_,
            folder,
            spec.columns(),
            records=spec.records,
            sets=mapping_check.code_sets(sets),
        )
        yield from _below("validate", found)
    yield from mapping_check.check(spec, folder, sets)
    yield from read_back.check(spec)
    if spec.records:
        yield from _below("records", check_records(spec, folder))
    yield from _below("artifacts", check_artifacts(spec.artifacts, folder, spec.columns()))
    if spec.deliver is not None:
        yield from _below("deliver", check_deliver(spec.deliver, folder))


def _below(section: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    from dataclasses import replace

    for problem in problems:
        yield replace(problem, keys=(section, *problem.keys))


def _place(problem: Problem, folder: Path, places: Places) -> Finding:
    if problem.file is not None:
        file = problem.file if problem.file.is_absolute() else folder / problem.file
        line, column = problem.line or 1, problem.column or 1
        return _relative(Finding(file, line, column, problem.message, problem.hint), folder)
    place = places.of(problem.keys)
    if problem.inside is not None:
        place = places.inside(problem.keys, *problem.inside)
    return Finding(folder / FILE_NAME, place.line, place.column, problem.message, problem.hint)


def _relative(finding: Finding, folder: Path) -> Finding:
    """Spell the file as the caller spelled the folder."""
    from dataclasses import replace

    try:
        inside = finding.file.relative_to(folder.resolve())
    except ValueError:
        return finding
    return replace(finding, file=folder / inside)


def as_json(reports: Sequence[Path], findings: Sequence[Finding]) -> dict[str, Any]:
    """The outcome of a check as plain JSON data, for CI."""
    return {
        "reports": [str(folder) for folder in reports],
        "errors": [finding.as_json() for finding in findings],
        "valid": not findings,
    }
