"""The mapping sets that a spec names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dag_factory.report import ReportSpec
    from openreg_airflow.validate.spec import RuleSpec

_CALLED = re.compile(r"""\bmapping\(\s*["']([a-z][a-z0-9_]{0,62})["']""")
#: After FROM and JOIN only: a column may be called so as well.
_TABLE = re.compile(
    r"""\b(?:from|join)\s+"?((?:dated_)?mapping_([a-z][a-z0-9_]{0,62}))\b""", re.IGNORECASE
)


def used_sets(spec: ReportSpec) -> tuple[str, ...]:
    """The sets that a spec names, in the order of the spec and each once.

    These are the listed ones, those of the map steps, and those of the rules that the spec itself
    holds. Other files are not read here: this runs whenever Airflow parses Dags.
    """
    listed = spec.mappings.sets if spec.mappings else ()
    steps = (step.set_ for step in spec.map_.values())
    rules = spec.validate_.rules.values() if spec.validate_ else ()
    named = (name for rule in rules for name in listed_rule(rule, spec))
    return tuple(dict.fromkeys((*listed, *steps, *named)))


def tenant_of(spec: ReportSpec) -> str:
    """The tenant whose mapping sets a report uses; empty where the installation has none."""
    return spec.mappings.tenant if spec.mappings else ""


def listed_rule(rule: RuleSpec, spec: ReportSpec) -> Iterator[str]:
    """The sets that a rule names, without those of its SQL file."""
    for text in (rule.condition, rule.when):
        yield from _CALLED.findall(text or "")
    yield from sets_in_sql(rule.sql or "", spec)
    if rule.references is not None and rule.references.mapping is not None:
        yield rule.references.mapping


def sets_in_sql(sql: str, spec: ReportSpec) -> Iterator[str]:
    """The sets whose tables a statement names; a report may have a table that is called so."""
    tables = {*spec.extract.sources, *(spec.tables() or ())}
    for table, name in _TABLE.findall(sql):
        if table.lower() not in tables:
            yield name.lower()
