"""What all operators of the transform stage have in common."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from openreg_airflow.errors import TransformError
from openreg_airflow.stage import StageMixin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airflow.sdk import Context

    from openreg_airflow.errors import OpenRegError
    from openreg_airflow.mapping_records import MappingSnapshot, MappingUse
    from openreg_airflow.records import Dataset, RunKey
    from openreg_airflow.transform.fence import Fence
    from openreg_airflow.transform.job import Job
    from openreg_airflow.transform.spec import TransformSection
    from openreg_airflow.workspace import StageFolder

TEMPLATE_FIELDS = ("business_date", "inputs", "mappings")


class TransformStage(StageMixin):
    """One transform, wherever it runs; what all its operators have in common."""

    stage: ClassVar[str] = "transform"
    advice: ClassVar[Mapping[type[OpenRegError], str]] = {
        TransformError: "Mend the script or its input. "
        "`openreg transform {report} --business-date {date}` tries it on a sample."
    }
    folder: Path
    spec: TransformSection
    inputs: dict[str, Any]
    mappings: dict[str, Any]
    task_id: str
    _fence: Fence | None = None

    @abstractmethod
    def run_job(self, job: Job, folder: StageFolder, context: Context | None) -> dict[str, Dataset]:
        """Run a job behind this operator's fence."""

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """Run the script; see :func:`openreg_airflow.transform.execution.execute` for errors."""
        from openreg_airflow.records import Dataset
        from openreg_airflow.transform import evidence
        from openreg_airflow.transform.job import Job, MappingFile, read_script
        from openreg_airflow.transform.limits import check_bounds
        from openreg_airflow.transform.packages import check_allowed

        check_bounds(self.spec.limits, self.settings)
        check_allowed(self.spec.packages, self.settings.sandbox_packages)
        source = read_script(self.spec, self.folder)
        inputs = {name: Dataset.model_validate(record) for name, record in self.inputs.items()}
        folder = self.workspace.folder(run, self.stage)
        with ExitStack() as files:
            job = Job(
                run=run,
                key=self._key(context, run),
                spec=self.spec,
                source=source,
                imports=self.settings.sandbox_imports,
                inputs={
                    name: files.enter_context(self.workspace.open_local(dataset))
                    for name, dataset in inputs.items()
                },
                mappings={
                    name: MappingFile(one, files.enter_context(self.workspace.open_local(one)))
                    for name, one in self._snapshots().items()
                },
                looked_up=lambda uses: self._record(run, uses),
            )
            tables = self.run_job(job, folder, context)
        image = self._fence.image if self._fence else None
        evidence.write(folder, job, image=image, inputs=inputs, tables=tables)
        return {name: table.model_dump(mode="json") for name, table in tables.items()}

    def _snapshots(self) -> dict[str, MappingSnapshot]:
        from openreg_airflow.mapping_records import MappingSnapshot

        return {name: MappingSnapshot.model_validate(one) for name, one in self.mappings.items()}

    def _record(self, run: RunKey, uses: Sequence[MappingUse]) -> None:
        """Keep what the script has looked up in mapping sets, and not found."""
        if not self.mappings:
            return
        from openreg_airflow.store.mapping_runs import MappingRuns

        MappingRuns(self.settings.store_url).record_uses(run, uses, [self.stage])

    def _key(self, context: Context, run: RunKey) -> str:
        """Names this task among all tasks of all installations that share an engine."""
        index = getattr(context.get("ti"), "map_index", -1)
        parts = (self.settings.workspace, run.report_id, run.run_id, self.task_id, str(index))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    def _started(self, fence: Fence) -> None:
        self._fence = fence

    def on_kill(self) -> None:
        """Stop the script at once."""
        if self._fence is not None:
            self._fence.kill()
