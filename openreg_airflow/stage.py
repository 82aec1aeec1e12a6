"""What the operators of all stages have in common; the only Airflow code that engines share."""

from __future__ import annotations

import errno
import logging
from abc import abstractmethod
from datetime import UTC, date, datetime
from functools import cached_property
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, ObjectStoragePath

from openreg_airflow import settings
from openreg_airflow.errors import OpenRegError, SpecError, StorageError
from openreg_airflow.records import RunKey
from openreg_airflow.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from openreg_airflow.calendars.cut_off import Deadline

log = logging.getLogger(__name__)

#: Rendered by a macro that the Dag factory gives to every report's Dag.
BUSINESS_DATE = "{{ business_date(dag_run, params) }}"


def open_workspace(settings: settings.Settings) -> Workspace:
    """The workspace that the settings name."""
    return Workspace(ObjectStoragePath(settings.workspace, conn_id=settings.workspace_conn_id))


class StageMixin:
    """Run key, workspace and error edge of one stage of one report.

    A stage's operator inherits from this and from an Airflow operator, sets ``stage`` and
    implements :meth:`run_stage`.
    """

    stage: ClassVar[str]
    #: What to do about errors of a kind that bring no hint of their own; may name ``{report}`` and
    #: ``{date}``.
    advice: ClassVar[Mapping[type[OpenRegError], str]] = {}
    report_id: str
    business_date: str

    @abstractmethod
    def run_stage(self, context: Context, run: RunKey) -> Any:
        """Do the work; return what goes to XCom: records dumped as JSON, never rows."""

    def execute(self, context: Context) -> Any:
        """Run the stage; an error of ours leaves with the report and the stage named."""
        try:
            run = self.run_key(context)
            log.info(
                "Report %s, business date %s: %s", run.report_id, run.business_date, self.stage
            )
            return self.run_stage(context, run)
        except OpenRegError as error:
            if error.hint is None and (advice := self.advice.get(type(error))):
                error.hint = advice.format(report=self.report_id, date=self.business_date)
            raise error.at(report=self.report_id, stage=self.stage)  # noqa: B904
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            message = f"the disk is full: {error}"
            raise StorageError(
                message,
                # What writes temporary files seldom says where they are.
                hint=f"Free space in the workspace or in {gettempdir()}, then clear the task.",
                report=self.report_id,
                stage=self.stage,
            ) from error

    def run_key(self, context: Context) -> RunKey:
        """The run that this task belongs to.

        Raises:
            SpecError: the business date that the run was started with is not a date, or it was
                started with a parameter that there is not, which could be the misspelt date.
        """
        given, dag = getattr(context["dag_run"], "conf", None) or {}, context.get("dag")
        if dag is not None and (unknown := sorted(set(given) - set(dag.params))):
            message = f"the run was started with {', '.join(unknown)}, which is no parameter here"
            hint = f"Start a run anew; the parameters are {', '.join(sorted(dag.params))}."
            raise SpecError(message, hint=hint)
        try:
            day = date.fromisoformat(self.business_date)
        except ValueError as error:
            message = f"business date {self.business_date!r} is not a date"
            raise SpecError(message, hint="Write it as YYYY-MM-DD.") from error
        return RunKey(
            report_id=self.report_id, business_date=day, run_id=str(context["dag_run"].run_id)
        )

    @cached_property
    def settings(self) -> settings.Settings:
        """The installation's settings, read when a task first asks for them."""
        return settings.load()

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace that the settings name."""
        return open_workspace(self.settings)


class StageOperator(StageMixin, BaseOperator):
    """Base of the stages that run in the task's own process."""

    template_fields: Sequence[str] = ("business_date",)

    def __init__(
        self,
        *,
        report_id: str,
        business_date: str = BUSINESS_DATE,
        deadline: Deadline | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.report_id = report_id
        self.business_date = business_date
        self.deadline = deadline

    def standing(self, run: RunKey) -> str | None:
        """How the run stands now against the report's deadline; None when it has none."""
        if self.deadline is None:
            return None
        return self.deadline.standing(run.business_date, datetime.now(UTC))
