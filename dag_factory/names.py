"""Names by which a spec speaks of its other parts: tables, artifacts, routes, references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openreg_airflow.validate.history import HISTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dag_factory.report import ReportSpec


@dataclass(frozen=True)
class UnknownName:
    """A name that nothing in the spec goes by.

    Attributes:
        keys: where it is used.
        kind: ``table``, ``source``, ``artifact`` or ``route``.
        known: the names that there are, for the hint.
    """

    keys: tuple[str | int, ...]
    kind: str
    name: str
    known: str


@dataclass(frozen=True)
class OtherNames:
    """An answer that names records otherwise than the artifact that it answers.

    Attributes:
        keys: where the answer says by what.
        fault: what does not fit.
        hint: what to do.
    """

    keys: tuple[str, ...]
    fault: str
    hint: str


def other_names(spec: ReportSpec) -> list[OtherNames]:
    """Every answer that does not name records as the ``references`` of its artifact do.

    By another column, by one that is not there, or by fewer or more values than there are columns.
    """
    found = []
    declared = spec.columns() or {}
    for route, wanted in (spec.deliver.routes if spec.deliver else {}).items():
        answer = wanted.acknowledgement
        if answer is None:
            continue
        keys = ("deliver", "routes", route, "acknowledgement")
        for name in wanted.artifacts or spec.artifacts:
            about = spec.artifacts[name].references
            columns = answer.named_by(about)
            by = ", ".join(columns)
            wrong = about is not None and columns not in {(about.column,), about.names}
            if about is not None and wrong and wanted.reports:
                known = " nor ".join(dict.fromkeys((about.column, ", ".join(about.names))))
                fault = f"{by} is not {known}, by which artifacts.{name}.references names records"
                hint = "Name them alike, or leave `reference` out: it is that of `references` then."
                found.append(OtherNames((*keys, "reference"), fault, hint))
                continue
            there = declared.get(spec.artifacts[name].table)
            if there and about is None and (lost := [c for c in columns if c not in there]):
                fault = f"table {spec.artifacts[name].table} of artifacts.{name} has no column "
                fault += lost[0]
                hint = f"Its columns are {', '.join(there)}."
                found.append(OtherNames((*keys, "reference"), fault, hint))
            elif len(columns) > 1 and answer.parser == "auth031":
                fault = f"an auth.031 names a record by one value, artifacts.{name} by {by}"
                hint = "Give each row a record id in a column of its own, and name that."
                found.append(OtherNames((*keys, "parser"), fault, hint))
            elif columns and answer.form is not None and len(answer.form.names) != len(columns):
                fault = f"the form has {len(answer.form.names)} of {len(columns)} values that "
                fault += f"name a record of artifacts.{name}: {by}"
                hint = "Say for each of these columns where the answer has it, in their order."
                found.append(OtherNames((*keys, "form", "reference"), fault, hint))
    return found


def unknown_names(spec: ReportSpec) -> list[UnknownName]:
    """Every use of a table, a source, an artifact or a route that the spec does not have.

    Tables are known when the spec declares them, or when there is no transform.
    """
    return [
        *_unknown_sources(spec),
        *_unknown_tables(spec),
        *_unknown_mapped(spec),
        *_unknown_records(spec),
        *_unknown_artifacts(spec),
        *_unknown_routes(spec),
    ]


def _unknown_sources(spec: ReportSpec) -> Iterator[UnknownName]:
    if spec.validate_ is None:
        return
    sources = spec.extract.sources
    known = ", ".join(sources)
    for index, name in enumerate(spec.validate_.sources):
        if name not in sources:
            yield UnknownName(("validate", "sources", index), "source", name, known)
    for rule_id, rule in spec.validate_.rules.items():
        if rule.phase == "source" and rule.table not in sources:
            yield UnknownName(("validate", "rules", rule_id, "table"), "source", rule.table, known)


def _unknown_tables(spec: ReportSpec) -> Iterator[UnknownName]:
    tables = spec.tables()
    if tables is None:
        return
    known = ", ".join(tables)
    for rule_id, rule in (spec.validate_.rules if spec.validate_ else {}).items():
        if rule.phase == "transformed" and rule.table not in (*tables, HISTORY):
            yield UnknownName(("validate", "rules", rule_id, "table"), "table", rule.table, known)
    for name, artifact in spec.artifacts.items():
        if artifact.table not in tables:
            yield UnknownName(("artifacts", name, "table"), "table", artifact.table, known)


def _unknown_mapped(spec: ReportSpec) -> Iterator[UnknownName]:
    tables = {"source": tuple(spec.extract.sources), "transformed": spec.tables()}
    for name, step in spec.map_.items():
        known = tables[step.phase]
        if known is not None and step.table not in known:
            kind = "source" if step.phase == "source" else "table"
            yield UnknownName(("map", name, "table"), kind, step.table, ", ".join(known))


def _unknown_records(spec: ReportSpec) -> Iterator[UnknownName]:
    tables = spec.tables()
    for name in spec.records:
        if tables is not None and name not in tables:
            yield UnknownName(("records", name), "table", name, ", ".join(tables))


def _unknown_artifacts(spec: ReportSpec) -> Iterator[UnknownName]:
    known = ", ".join(spec.artifacts)
    for route, wanted in (spec.deliver.routes if spec.deliver else {}).items():
        for index, name in enumerate(wanted.artifacts or ()):
            if name not in spec.artifacts:
                keys = ("deliver", "routes", route, "artifacts", index)
                yield UnknownName(keys, "artifact", name, known)


def _unknown_routes(spec: ReportSpec) -> Iterator[UnknownName]:
    routes = spec.deliver.routes if spec.deliver else {}
    for route, wanted in routes.items():
        places: dict[tuple[str | int, ...], str] = {
            ("after", index): name for index, name in enumerate(wanted.after)
        }
        if wanted.instead_of is not None:
            places["instead_of",] = wanted.instead_of
        for keys, name in places.items():
            if name not in routes:
                known = ", ".join(routes)
                yield UnknownName(("deliver", "routes", route, *keys), "route", name, known)
