"""The extract stage as an Airflow operator: one source, one Parquet file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import Context

    from openreg_airflow.extract.engine import Extraction
    from openreg_airflow.extract.spec import SourceSpec
    from openreg_airflow.records import RunKey


class ExtractOperator(StageOperator):
    """Run one source's query and hand on the result as a dataset.

    Args:
        folder: the report's folder.
        source: the source's name in the spec; the table's name from here on.
        spec: the source's section of the spec.
    """

    stage: ClassVar[str] = "extract"
    ui_color = "#d8e8f5"

    def __init__(self, *, folder: Path, source: str, spec: SourceSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.source = source
        self.spec = spec
        self._extraction: Extraction | None = None

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """Extract into the run's workspace and record where it came from; return the dataset."""
        from openreg_airflow.extract.connections import source_connection
        from openreg_airflow.extract.engine import Extraction
        from openreg_airflow.records import Dataset
        from openreg_airflow.store import Store

        self._extraction = Extraction(
            self.spec, self.folder, source_connection(self.spec.connection), run.business_date
        )
        folder = self.workspace.folder(run, self.stage, self.source)
        with folder.writing(f"{self.source}.parquet") as pending:
            done = self._extraction.run(pending.path)
        attempt = int(getattr(context.get("ti"), "try_number", 1))
        Store(self.settings.store_url).record_extract(
            run, done.evidence(pending.ref, source=self.source, attempt=attempt)
        )
        dataset = Dataset(**pending.ref.model_dump(), rows=done.rows, columns=done.columns)
        self.log.info("Wrote %s, SHA-256 %s", dataset.uri, dataset.sha256)
        return dataset.model_dump(mode="json")

    def on_kill(self) -> None:
        """Cancel the query on the server when the task is killed or runs out of time."""
        if self._extraction is not None:
            self._extraction.cancel()
