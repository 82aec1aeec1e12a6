"""What ``openreg check`` finds about the mapping sets of a report."""

from __future__ import annotations

import ast
import logging
import os
from typing import TYPE_CHECKING

from dag_factory.mapping_sets import listed_rule, sets_in_sql, tenant_of, used_sets
from openreg_airflow import settings
from openreg_airflow.errors import OpenRegError
from openreg_airflow.mappings.spec import steps_of
from openreg_airflow.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from dag_factory.report import ReportSpec
    from openreg_airflow.language.scope import CodeSet
    from openreg_airflow.mappings.model import MappingSet

    Known = Mapping[str, MappingSet] | None

log = logging.getLogger(__name__)

_LIST_IT = "List it in the spec:  mappings: {{sets: [{0}]}}"


def stored_sets(spec: ReportSpec) -> dict[str, MappingSet] | None:
    """The sets of the installation's store, when the report uses any and the store is reachable.

    None when it is not, which is told: what they are is then known only in a run.
    """
    if not used_sets(spec):
        return None
    from openreg_airflow.mappings.sets import Sets
    from openreg_airflow.store.actor import Actor

    try:
        # The rest, commands and secrets backends too, only Airflow can read: that takes a second.
        url = os.environ.get("AIRFLOW__OPENREG__STORE_URL") or settings.load().store_url
        return {
            one.name: one
            for tenant in dict.fromkeys(("", tenant_of(spec)))
            for one in Sets(url, Actor.of_command_line(), tenant).list(archived=True)
        }
    except OpenRegError as error:
        log.warning("%s: its mapping sets are not checked: %s", spec.id, error.message)
        return None


def code_sets(known: Known) -> dict[str, CodeSet] | None:
    """The sets as conditions of rules know them."""
    if known is None:
        return None
    from openreg_airflow.language.scope import CodeSet, columns_of

    return {
        name: CodeSet(
            name,
            columns_of({column.name: column.type for column in one.keys}),
            columns_of({column.name: column.type for column in one.values}),
        )
        for name, one in known.items()
    }


def check(spec: ReportSpec, folder: Path, known: Known) -> Iterator[Problem]:
    """Sets that do not exist, steps that do not fit theirs, and sets that nothing names.

    Args:
        spec: the report.
        folder: its folder.
        known: the sets that there are; None when the store cannot be asked.
    """
    if known is not None:
        yield from _missing(spec, known)
        yield from _misfits(spec, known)
    yield from _no_columns(spec)
    yield from _cannot_set_aside(spec)
    used = used_sets(spec)
    yield from _in_script(spec, folder, used)
    yield from _in_rules(spec, folder, used)


def _no_columns(spec: ReportSpec) -> Iterator[Problem]:
    """Columns to look up by that a table of declared columns does not have, nor an earlier step."""
    tables = spec.transform.tables if spec.transform is not None else {}
    there = {name: list(table.columns) for name, table in tables.items() if table.columns}
    for name, step in steps_of(spec.map_, "transformed"):
        columns = there.get(step.table)
        if columns is None:
            continue
        places: dict[tuple[str | int, ...], str] = {
            ("map", name, "key", index): column for index, column in enumerate(step.key)
        }
        if step.as_of is not None:
            places["map", name, "as_of"] = step.as_of
        for keys, column in places.items():
            if column not in columns:
                message = f"map.{name}: table {step.table} has no column {column!r}"
                near = _near(column, columns)
                hint = f"{near}Its columns here are {', '.join(columns)}."
                yield Problem(message=message, hint=hint, keys=keys)
        columns += [column for column in step.fill if column not in columns]


def _cannot_set_aside(spec: ReportSpec) -> Iterator[Problem]:
    """Rows can be set aside only of a table of the report whose records have a name."""
    for name, step in spec.map_.items():
        if step.unmapped != "set_aside":
            continue
        if step.phase == "source":
            message = "rows of an extracted table cannot be set aside"
            hint = "Fill the report's table, with phase: transformed."
        elif step.table not in spec.records:
            message = f"nothing names a record of {step.table}, so no row can be set aside"
            hint = f"Add at the top: records: {{{step.table}: {{key: [column]}}}}."
        else:
            continue
        yield Problem(message=message, hint=hint, keys=("map", name, "unmapped"))


def _missing(spec: ReportSpec, known: Mapping[str, MappingSet]) -> Iterator[Problem]:
    places: dict[tuple[str | int, ...], str] = {}
    for index, name in enumerate(spec.mappings.sets if spec.mappings else ()):
        places["mappings", "sets", index] = name
    for step_name, step in spec.map_.items():
        places["map", step_name, "set"] = step.set_
    for rule_id, rule in (spec.validate_.rules if spec.validate_ else {}).items():
        # The checks of conditions and references name a missing set themselves.
        if rule.sql is not None:
            for name in listed_rule(rule, spec):
                places["validate", "rules", rule_id, "sql"] = name
    for keys, name in places.items():
        if name not in known:
            near = _near(name, known)
            hint = f"{near}`openreg mappings list` shows the sets, "
            hint += "`openreg mappings create` makes one."
            yield Problem(message=f"there is no mapping set {name!r}", hint=hint, keys=keys)


def _near(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), 3, 0.6)
    return f"Did you mean {' or '.join(close)}? " if close else ""


def _misfits(spec: ReportSpec, known: Mapping[str, MappingSet]) -> Iterator[Problem]:
    """Steps whose keys or values their set does not have."""
    for name, step in spec.map_.items():
        found = known.get(step.set_)
        if found is None:
            continue
        if len(step.key) != len(found.keys):
            keys = ", ".join(column.name for column in found.keys)
            message = f"set {step.set_} has the keys {keys}, but key names {len(step.key)} columns"
            yield Problem(message=message, keys=("map", name, "key"))
        values = [column.name for column in found.values]
        for column, value in step.fill.items():
            if value not in values:
                message = f"set {step.set_} has no value {value!r}"
                hint = f"Its values are: {', '.join(values)}."
                yield Problem(message=message, hint=hint, keys=("map", name, "fill", column))


def _in_script(spec: ReportSpec, folder: Path, used: tuple[str, ...]) -> Iterator[Problem]:
    """Sets that the script asks for by a written name, and that the spec does not list."""
    if spec.transform is None:
        return
    path = folder / spec.transform.script
    try:
        module = ast.parse(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, SyntaxError):
        return  # It is told of already.
    for node in ast.walk(module):
        name = _asked(node)
        if name is not None and name not in used:
            yield Problem(
                message=f"the spec does not list the mapping set {name!r}",
                hint=_LIST_IT.format(name),
                file=path,
                line=getattr(node, "lineno", 1),
                column=getattr(node, "col_offset", 0) + 1,
            )


def _asked(node: ast.AST) -> str | None:
    """The name in ``context.mapping("name")``; None for everything else."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return None
    owner, [name, *_] = node.func.value, node.args
    if node.func.attr != "mapping" or not isinstance(owner, ast.Name) or owner.id != "context":
        return None
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None


def _in_rules(spec: ReportSpec, folder: Path, used: tuple[str, ...]) -> Iterator[Problem]:
    """Sets that rules in other files name, and that the spec does not list."""
    if spec.validate_ is None:
        return
    for name, keys in _elsewhere(spec, folder):
        if name not in used:
            yield Problem(
                message=f"the spec does not list the mapping set {name!r}, which a rule uses",
                hint=_LIST_IT.format(name),
                keys=keys,
            )


def _elsewhere(spec: ReportSpec, folder: Path) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    from openreg_airflow.validate.check import read_sql
    from openreg_airflow.validate.pack import PackError, shared_rules

    assert spec.validate_ is not None  # noqa: S101 - seen by the caller
    for rule_id, rule in spec.validate_.rules.items():
        if rule.sql_file is not None:
            try:
                text = read_sql(rule, folder)
            except (OSError, UnicodeDecodeError):
                continue  # It is told of already.
            for name in sets_in_sql(text, spec):
                yield name, ("validate", "rules", rule_id, "sql_file")
    try:
        shared = shared_rules(spec.validate_, folder)
    except PackError:
        return  # It is told of already.
    for shared_rule in shared.values():
        for name in listed_rule(shared_rule.spec, spec):
            yield name, ("validate", "include", shared_rule.include)
