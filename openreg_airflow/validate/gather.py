"""What is kept of a rule's failing rows: some in the file, the first few in the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openreg_airflow.validate.message import MessageTemplate, shown
from openreg_airflow.validate.statement import BUSINESS_DATE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from openreg_airflow.validate.failures import FailureWriter
    from openreg_airflow.validate.job import Rule

#: Failing rows of one rule that go into its result, and rules of a run that may show any.
SAMPLES = 5
SAMPLED_RULES = 200
#: Columns of a sample when the rule names no fields.
SAMPLE_COLUMNS = 12


class Gatherer:
    """Writes failing rows, and picks the samples of the rules' results.

    Args:
        failures: where the rows are written.
        kept: most rows of one rule that are.
        business_date: for messages.
    """

    def __init__(self, failures: FailureWriter, kept: int, business_date: date) -> None:
        self._failures = failures
        self._kept = kept
        self._dated: dict[str, str | None] = {BUSINESS_DATE: business_date.isoformat()}
        self._sampled = 0

    def gather(
        self,
        rule: Rule,
        rows: Iterable[dict[str, str | None]],
        columns: tuple[str, ...],
        template: MessageTemplate,
    ) -> dict[str, Any]:
        """Write the failing rows that are kept; give the samples and messages of the first few.

        Args:
            rule: whose rows they are.
            rows: the first ones, at least as many as are kept.
            columns: their columns.
            template: of the rule's messages.
        """
        self._sampled += 1
        most_samples = SAMPLES if self._sampled <= SAMPLED_RULES else 0
        samples: list[dict[str, str | None]] = []
        messages: list[str] = []
        wanted = {name.casefold() for name in template.names}
        said = [column for column in columns if column.casefold() in wanted]
        for number, values in enumerate(rows, start=1):
            message = template.format(self._dated | {column: values[column] for column in said})
            if number <= SAMPLES:
                messages.append(message)
            if number <= most_samples:
                samples.append(_sample(rule, values))
            if number <= self._kept:
                self._failures.add(rule, number, message, values)
        return {
            "message": messages[0] if messages else "",
            "messages": tuple(messages[:most_samples]),
            "samples": tuple(samples),
        }


def _sample(rule: Rule, values: dict[str, str | None]) -> dict[str, str | None]:
    """The columns that the rule speaks of, or else the first few, fit for a log."""
    fields = {name.casefold() for name in rule.spec.fields}
    names = [name for name in values if name.casefold() in fields] or list(values)
    return {
        name: None if (value := values[name]) is None else shown(value)
        for name in names[:SAMPLE_COLUMNS]
    }
