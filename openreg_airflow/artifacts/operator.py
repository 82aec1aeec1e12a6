"""The Airflow operator that writes one artifact of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from openreg_airflow.records import Dataset, Verdict
from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airflow.sdk import Context

    from openreg_airflow.artifacts.spec import ArtifactSpec
    from openreg_airflow.records import RunKey


class ArtifactOperator(StageOperator):
    """Write the file for the authority, hold it against its schema, and record it.

    Args:
        folder: the report's folder.
        artifact: the artifact's name in the spec.
        spec: its section of the spec.
        tables: the tables of the run: :class:`~openreg_airflow.records.Dataset` by name.
        verdict: the :class:`~openreg_airflow.records.Verdict` of the validation, or None when the
            report has no rules. Nothing is written when a blocking rule failed, whatever
            became of the task that should have stopped the run.
    """

    stage: ClassVar[str] = "artifact"
    template_fields: Sequence[str] = (*StageOperator.template_fields, "tables", "verdict")

    def __init__(
        self,
        *,
        folder: Path,
        artifact: str,
        spec: ArtifactSpec,
        tables: Mapping[str, Any],
        verdict: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.artifact = artifact
        self.spec = spec
        self.tables = tables
        self.verdict = verdict

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:  # noqa: ARG002
        """Give the :class:`~openreg_airflow.records.Artifact`."""
        from openreg_airflow.artifacts.produce import produce, refuse_blocked
        from openreg_airflow.store import Store

        if self.verdict is not None:
            refuse_blocked(Verdict.model_validate(self.verdict))
        artifact = produce(
            name=self.artifact,
            spec=self.spec,
            folder=self.folder,
            run=run,
            tables={name: Dataset.model_validate(table) for name, table in self.tables.items()},
            workspace=self.workspace,
            schema_folders=self.settings.schema_folders,
        )
        Store(self.settings.store_url).record_artifact(run, artifact)
        return artifact.model_dump(mode="json")
