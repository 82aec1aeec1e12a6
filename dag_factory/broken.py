"""A spec that cannot be used stays visible: a Dag under its own id that says what is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from dag_factory.finding import InvalidSpecError
from dag_factory.frame import TAG
from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from airflow.sdk import Context

#: The tag by which the UI lists all broken specs.
BROKEN_TAG = "openreg-broken"


class SpecErrorOperator(BaseOperator):
    """Fails with the errors of a report's spec.

    Args:
        report_id: the report whose spec is broken.
        message: every error, with file, line and column.
    """

    ui_color = "#f8d7da"

    def __init__(self, *, report_id: str, message: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report_id = report_id
        self.message = message

    def execute(self, context: Context) -> None:
        """Raise what is wrong with the spec."""
        del context
        raise SpecError(
            self.message,
            report=self.report_id,
            hint="Correct the spec; `openreg check` shows the same errors. Nothing was run.",
        )


def broken_dag(dag_id: str, error: Exception) -> DAG:
    """An unscheduled Dag that shows ``error`` in the UI and fails with it when it is run.

    Args:
        dag_id: the report's id, or the nearest that Airflow allows to its folder's name.
        error: why the spec cannot be used.
    """
    message = error.message if isinstance(error, SpecError) else f"{type(error).__name__}: {error}"
    first = error.findings[0] if isinstance(error, InvalidSpecError) and error.findings else message
    with DAG(
        dag_id=dag_id,
        dag_display_name=f"{dag_id} (spec has errors)",
        description=f"Broken spec: {first}"[:1000],
        doc_md=f"## This report's spec cannot be used\n\n{_documentation(error, message)}\n",
        schedule=None,
        tags={TAG, BROKEN_TAG},
    ) as dag:
        SpecErrorOperator(
            task_id="spec_error",
            report_id=dag_id,
            message=message,
            retries=0,
            doc_md=_documentation(error, message),
        )
    return dag


def _documentation(error: Exception, message: str) -> str:
    """What is wrong, as Markdown that the UI's narrow windows wrap."""
    if not isinstance(error, InvalidSpecError) or not error.findings:
        return "\n\n".join(map(_escaped, message.splitlines()))
    folder = error.findings[0].file.parent
    items = [
        f"- **{_escaped(found.file.name)}, line {found.line}, column {found.column}**: "
        + _escaped(found.message)
        + (f" ({_escaped(found.hint)})" if found.hint else "")
        for found in error.findings
    ]
    return "\n".join([f"In {_escaped(str(folder))}:", "", *items])


def _escaped(text: str) -> str:
    """A text in which nothing is Markdown, nor HTML."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", " ".join(text.split()))


def allowed_id(folder_name: str) -> str:
    """A folder's name as an id that Airflow accepts; most are left as they are."""
    return re.sub(r"[^\w.-]", "_", folder_name, flags=re.ASCII)[:200] or "_"
