"""Static check of the ``validate`` section: every rule can be read, and fits what is declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow.problem import Problem
from openreg_airflow.validate.language.scope import Scope, columns_of
from openreg_airflow.validate.statement import RuleSqlError, parse
from openreg_airflow.validate.written import RuleFaultError, failing_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.validate.spec import RuleSpec, ValidateSection

_EMPTY_HINT = "A rule is one SELECT that returns the failing rows."


def check(
    spec: ValidateSection,
    folder: Path,
    tables: Mapping[str, Mapping[str, str] | None] | None = None,
) -> Iterator[Problem]:
    """Faults in the rules, each with its place.

    Args:
        spec: the section.
        folder: the report's folder.
        tables: the declared types of the columns by table; None where they are not declared.
            What is not declared is known only in a run.
    """
    known = {
        name: None if columns is None else columns_of(columns)
        for name, columns in (tables or {}).items()
    }
    for rule_id, rule in spec.rules.items():
        if rule.in_sql:
            yield from _check_rule(rule_id, rule, folder)
        else:
            yield from _check_written(rule_id, rule, Scope(rule.table, known, tables is not None))


def _check_written(rule_id: str, rule: RuleSpec, scope: Scope) -> Iterator[Problem]:
    try:
        parse(failing_rows(rule, scope))
    except RuleFaultError as fault:
        yield Problem(
            message=f"rule {rule_id}: {fault}",
            hint=fault.hint,
            keys=("rules", rule_id, fault.key),
            inside=(fault.line, fault.column) if fault.line else None,
        )


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
