"""The extract stage as Airflow operators: one Parquet file a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from openreg_airflow.errors import SourceError
from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow.sdk import Context

    from openreg_airflow.errors import OpenRegError
    from openreg_airflow.extract.cache import SharedResults
    from openreg_airflow.extract.engine import Extraction
    from openreg_airflow.extract.extracted import Extracted
    from openreg_airflow.extract.files.extraction import FileExtraction
    from openreg_airflow.extract.reader import Reader, SourceConnection
    from openreg_airflow.extract.spec import SourceSpec
    from openreg_airflow.records import RunKey


class SourceOperator(StageOperator):
    """Base of the tasks that read sources: one source into the run's workspace, on record.

    Args:
        folder: the report's folder.
    """

    stage: ClassVar[str] = "extract"
    advice: ClassVar[Mapping[type[OpenRegError], str]] = {
        SourceError: "Mend the query or the source. "
        "`openreg extract {report} --business-date {date}` tries it without a run."
    }
    ui_color = "#d8e8f5"

    def __init__(self, *, folder: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self._extraction: Extraction | FileExtraction | None = None
        self._shared: SharedResults | None = None

    def read_source(
        self,
        context: Context,
        run: RunKey,
        source: tuple[str, SourceSpec],
        connection: SourceConnection | None,
        reader: Reader | None = None,
    ) -> dict[str, Any]:
        """Extract a source and record where its table came from; return the dumped dataset.

        A source of files has no ``connection`` here.
        """
        from openreg_airflow.extract.engine import Extraction
        from openreg_airflow.extract.sources import file_extraction
        from openreg_airflow.records import Dataset
        from openreg_airflow.store import Store

        name, spec = source
        store = Store(self.settings.store_url)
        if connection is None:
            folders = self.settings.source_folders
            self._extraction = file_extraction(spec, run.business_date, source_folders=folders)
        else:
            self._extraction = Extraction(
                spec,
                self.folder,
                connection,
                run.business_date,
                reader=reader,
                window=store.window(run, name) if spec.incremental else (None, None),
            )
        with self.workspace.folder(run, self.stage, name).writing(f"{name}.parquet") as pending:
            if connection is None or spec.cache is None:
                done = self._extraction.run(pending.path)
            else:
                done = self._cached(run, source, connection, pending.path)
        attempt = int(getattr(context.get("ti"), "try_number", 1))
        store.record_extract(run, done.evidence(pending.ref, source=name, attempt=attempt))
        dataset = Dataset(**pending.ref.model_dump(), rows=done.rows, columns=done.columns)
        self.log.info("Wrote %s, SHA-256 %s", dataset.uri, dataset.sha256)
        return dataset.model_dump(mode="json")

    def _cached(
        self,
        run: RunKey,
        source: tuple[str, SourceSpec],
        connection: SourceConnection,
        path: Path,
    ) -> Extracted:
        """The rows of a source from the cache, or read and shared."""
        from openreg_airflow.extract.cache import SharedResults, Wanted, key_of
        from openreg_airflow.extract.engine import Extraction
        from openreg_airflow.store.source_cache import SourceCache

        name, spec = source
        assert isinstance(self._extraction, Extraction)  # noqa: S101 - only queries are cached
        key = key_of(connection, self._extraction.query, spec, run.business_date)
        self._shared = SharedResults(SourceCache(self.settings.store_url), self.workspace)
        wanted = Wanted(run=run, source=name, spec=spec, key=key)
        return self._shared.obtain(wanted, self._extraction, path)

    def on_kill(self) -> None:
        """Cancel the query on the server when the task is killed or runs out of time."""
        if self._shared is not None:
            self._shared.cancel()
        if self._extraction is not None:
            self._extraction.cancel()


class ExtractOperator(SourceOperator):
    """Run one source's query, or read its files, and hand on the result as a dataset.

    Args:
        source: the source's name in the spec; the table's name from here on.
        spec: the source's section of the spec.
    """

    def __init__(self, *, source: str, spec: SourceSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.spec = spec

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """Extract into the run's workspace; return the dataset."""
        from openreg_airflow.extract.connections import source_connection

        named = self.spec.connection
        connection = source_connection(named) if named is not None else None
        return self.read_source(context, run, (self.source, self.spec), connection)


class SnapshotOperator(SourceOperator):
    """Run the queries of several sources on one connection over one state of the database.

    Hands on the datasets by source, each under a key of its own. A retry reads all of them again:
    tables of two states are never mixed.

    Args:
        sources: the sources' sections of the spec by name, all of one connection.
    """

    def __init__(self, *, sources: Mapping[str, SourceSpec], **kwargs: Any) -> None:
        super().__init__(**{"multiple_outputs": True} | kwargs)
        self.sources = dict(sources)

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """Extract one source after the other; return the datasets by source."""
        from openreg_airflow.extract.connections import source_connection
        from openreg_airflow.extract.shared_session import snapshot

        specs = self.sources.values()
        connection = source_connection(str(next(iter(specs)).connection))
        longest = max(spec.timeout_seconds for spec in specs)
        with snapshot(connection, timeout_seconds=longest) as reader:
            return {
                source[0]: self.read_source(context, run, source, connection, reader)
                for source in self.sources.items()
            }


class MoveMarksOperator(StageOperator):
    """The last task of a report with incremental sources: the next run begins where this one ended.

    It runs when everything before it succeeded, so a failed run leaves the marks where they were.
    """

    stage: ClassVar[str] = "extract"

    def run_stage(self, context: Context, run: RunKey) -> dict[str, str]:  # noqa: ARG002
        """Record the windows that the run read; return the marks by source."""
        from openreg_airflow.errors import SourceError
        from openreg_airflow.extract.spec import SINCE
        from openreg_airflow.store import Store
        from openreg_airflow.store_records import Window

        store = Store(self.settings.store_url)
        windows = [
            Window(source=found.source, since=str(found.parameters[SINCE]), mark=found.mark)
            for found in store.extracts(run)
            if found.mark is not None
        ]
        for window in windows:
            since, _ = store.window(run, window.source)
            if since is not None and since != window.since:
                message = (
                    f"{window.source} was read after {window.since}, but a run that has succeeded "
                    f"since then ended at {since}: rows between were read by both"
                )
                hint = "Compare the two runs, then clear extract to read this run's own window."
                raise SourceError(message, hint=hint)
        store.record_windows(run, windows)
        for window in windows:
            self.log.info("%s was read after %s, up to %s", *window.model_dump().values())
        return {window.source: window.mark for window in windows}
