"""Static check of the ``validate`` section: every rule's SQL is one SELECT that rules may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.problem import Problem
from openreg_airflow.validate.statement import RuleSqlError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.validate.spec import RuleSpec, ValidateSection

_EMPTY_HINT = "A rule is one SELECT that returns the failing rows."


def check(spec: ValidateSection, folder: Path) -> Iterator[Problem]:
    """Faults in the rules' SQL, each with its place; tables and columns are known only in a run."""
    for rule_id, rule in spec.rules.items():
        yield from _check_rule(rule_id, rule, folder)


def read_sql(rule: RuleSpec, folder: Path) -> str:
    """A rule's SQL, from the spec or from its file.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: the file is not UTF-8.
    """
    if rule.sql_file is None:
        return rule.sql or ""
    return (folder / rule.sql_file).read_text(encoding="utf-8-sig")


def _check_rule(rule_id: str, rule: RuleSpec, folder: Path) -> Iterator[Problem]:
    keys = ("rules", rule_id, "sql" if rule.sql_file is None else "sql_file")
    try:
        sql = read_sql(rule, folder)
    except OSError as error:
        message = f"rule {rule_id}: {rule.sql_file} cannot be read: {error.strerror}"
        yield Problem(message=message, hint=f"It is looked for in {folder}.", keys=keys)
        return
    except UnicodeDecodeError as error:
        message = f"rule {rule_id}: {rule.sql_file} is not UTF-8: {error.reason}"
        yield Problem(message=message, hint="Save it as UTF-8.", keys=keys)
        return
    if not sql.strip():
        message = f"rule {rule_id}: {rule.sql_file} is empty"
        yield Problem(message=message, hint=_EMPTY_HINT, keys=keys)
        return
    try:
        parse(sql)
    except RuleSqlError as error:
        yield _problem(rule_id, rule, folder, keys, error)


def _problem(
    rule_id: str, rule: RuleSpec, folder: Path, keys: tuple[str, ...], error: RuleSqlError
) -> Problem:
    if rule.sql_file is not None:
        return Problem(
            message=f"rule {rule_id}: {error.message}",
            hint=error.hint,
            keys=keys,
            file=folder / rule.sql_file,
            line=error.line,
            column=error.column,
        )
    place = f" ({error.where})" if error.where else ""
    return Problem(message=f"rule {rule_id}: {error.message}{place}", hint=error.hint, keys=keys)
