"""Names by which one section of a spec speaks of another: tables and artifacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dag_factory.report import ReportSpec


@dataclass(frozen=True)
class UnknownName:
    """A name that nothing in the spec goes by.

    Attributes:
        keys: where it is used.
        kind: ``table`` or ``artifact``.
        known: the names that there are, for the hint.
    """

    keys: tuple[str | int, ...]
    kind: str
    name: str
    known: str


def unknown_names(spec: ReportSpec) -> list[UnknownName]:
    """Every use of a table or an artifact that the spec does not have.

    Tables are known when the spec declares them, or when there is no transform.
    """
    return [*_unknown_tables(spec), *_unknown_artifacts(spec)]


def _unknown_tables(spec: ReportSpec) -> Iterator[UnknownName]:
    tables = spec.tables()
    if tables is None:
        return
    known = ", ".join(tables)
    for rule_id, rule in (spec.validate_.rules if spec.validate_ else {}).items():
        if rule.table not in tables:
            yield UnknownName(("validate", "rules", rule_id, "table"), "table", rule.table, known)
    for name, artifact in spec.artifacts.items():
        if artifact.table not in tables:
            yield UnknownName(("artifacts", name, "table"), "table", artifact.table, known)


def _unknown_artifacts(spec: ReportSpec) -> Iterator[UnknownName]:
    known = ", ".join(spec.artifacts)
    for route, wanted in (spec.deliver.routes if spec.deliver else {}).items():
        for index, name in enumerate(wanted.artifacts or ()):
            if name not in spec.artifacts:
                keys = ("deliver", "routes", route, "artifacts", index)
                yield UnknownName(keys, "artifact", name, known)
