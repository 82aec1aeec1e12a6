"""The mapping sets that a spec names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dag_factory.report import ReportSpec
    from openreg_airflow.validate.spec import RuleSpec

_CALLED = re.compile(r"""\bmapping\(\s*["']([a-z][a-z0-9_]{0,62})["']""")
_TABLE = re.compile(r"\bmapping_([a-z][a-z0-9_]{0,62})\b", re.IGNORECASE)


def used_sets(spec: ReportSpec) -> tuple[str, ...]:
    """The sets that a spec names, in the order of the spec and each once.

    These are the listed ones, those of the map steps, and those of the rules that the spec itself
    holds. Other files are not read here: this runs whenever Airflow parses Dags.
    """
    listed = spec.mappings.sets if spec.mappings else ()
    steps = (step.set_ for step in spec.map_.values())
    rules = spec.validate_.rules.values() if spec.validate_ else ()
    tables = {*spec.extract.sources, *(spec.tables() or ())}
    named = (name for rule in rules for name in _of_rule(rule, tables))
    return tuple(dict.fromkeys((*listed, *steps, *named)))


def _of_rule(rule: RuleSpec, tables: set[str]) -> Iterator[str]:
    for text in (rule.condition, rule.when):
        yield from _CALLED.findall(text or "")
    for name in _TABLE.findall(rule.sql or ""):
        # A report may have a table of its own that is called so.
        if f"mapping_{name}".casefold() not in tables:
            yield name.casefold().removesuffix("_dated")
    if rule.references is not None and rule.references.mapping is not None:
        yield rule.references.mapping
