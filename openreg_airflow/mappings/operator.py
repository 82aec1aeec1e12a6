"""Mapping sets as Airflow tasks: their snapshots at the start of a run, and the map steps."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from airflow.sdk import Context

    from openreg_airflow.exception_queue.spec import RecordTable
    from openreg_airflow.mapping_records import MappingSnapshot
    from openreg_airflow.mappings.fill import Filling
    from openreg_airflow.mappings.spec import MapStep
    from openreg_airflow.mappings.stored_sets import StoredSets
    from openreg_airflow.records import Dataset, RunKey
    from openreg_airflow.workspace import Pending

#: The Dag's parameter that says up to when entries must have been recorded to be seen.
KNOWN_AT = "mappings_known_at"
#: What it says for: as the first run of this business date knew.
FIRST_RUN = "first"


class SnapshotSetsOperator(StageOperator):
    """Snapshots the mapping sets of a report for one run.

    A run sees the entries that were known when it began, however often its tasks are tried or
    cleared. The Dag's parameter ``mappings_known_at`` lets a new run see what was known at
    another time.

    Args:
        report_id: the report.
        sets: the names of the sets.
        tenant: whose sets they are; those without a tenant count where it has none of a name.
        known_at: the parameter: a date and time with a zone, ``first``, or nothing.

    Returns (to XCom):
        The dumped :class:`~openreg_airflow.mapping_records.MappingSnapshot` of each set by name.

    Raises:
        MappingError: there is no such set.
        IntegrityError: what was known then is no longer what the run saw before.
    """

    stage: ClassVar[str] = "mappings"
    template_fields: Sequence[str] = (*StageOperator.template_fields, "known_at")
    ui_color = "#e9e2f3"

    def __init__(
        self,
        *,
        report_id: str,
        sets: Sequence[str],
        tenant: str = "",
        known_at: str = "{{ params." + KNOWN_AT + " or '' }}",
        **kwargs: Any,
    ) -> None:
        super().__init__(report_id=report_id, **kwargs)
        self.sets = tuple(sets)
        self.tenant = tenant
        self.known_at = known_at

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """Take the snapshots and record them."""
        del context
        from openreg_airflow.mappings.snapshot import take
        from openreg_airflow.mappings.stored_sets import StoredSets
        from openreg_airflow.store.mapping_runs import MappingRuns

        runs = MappingRuns(self.settings.store_url)
        earlier = runs.snapshots(run)
        if not earlier and self.known_at == FIRST_RUN:
            first = runs.first_run(run.report_id, run.business_date)
            earlier = runs.snapshots(first) if first else ()
        reader = StoredSets(self.settings.store_url, self.tenant)
        known_at = earlier[0].known_at if earlier else self._known_at(reader)
        snapshots = take(
            self.sets,
            known_at,
            reader=reader,
            known=runs,
            workspace=self.workspace,
            earlier={one.name: one for one in earlier},
        )
        runs.record_snapshots(run, snapshots.values())
        self.log.info("mapping sets as they were known at %s", known_at.isoformat())
        return {name: one.model_dump(mode="json") for name, one in snapshots.items()}

    def _known_at(self, reader: StoredSets) -> datetime:
        from datetime import UTC, datetime

        from openreg_airflow.errors import SpecError

        if self.known_at in ("", FIRST_RUN):
            return reader.known_now(self.sets)
        hint = f"Write it as 2026-03-31T18:00:00Z, or as {FIRST_RUN}."
        try:
            instant = datetime.fromisoformat(self.known_at)
        except ValueError as error:
            message = f"{KNOWN_AT} is {self.known_at!r}, which is no date and time"
            raise SpecError(message, hint=hint) from error
        if instant.tzinfo is None:
            message = f"{KNOWN_AT} is {self.known_at!r}, which has no time zone"
            raise SpecError(message, hint=hint)
        if instant > datetime.now(UTC):
            message = f"{KNOWN_AT} is {self.known_at!r}, which is yet to come"
            raise SpecError(message, hint="Leave it out to see what is known now.")
        return instant.astimezone(UTC)


class FillOperator(StageOperator):
    """Fills columns of tables from mapping sets, as the map steps of a spec say.

    Args:
        report_id: the report.
        steps: the steps of one phase, by name and in order.
        tables: the tables of the stage before, as dumped datasets by name.
        snapshots: what the task of the snapshots returned.
        records: the report's section ``records``; steps that set rows aside need it.

    Returns (to XCom):
        All tables as dumped datasets by name, those that no step fills as they came.

    Raises:
        UnmappedError: a value has no entry and must have one; all such values are on record.
        SpecError: a step does not fit its set or table.
    """

    stage: ClassVar[str] = "map"
    template_fields: Sequence[str] = (*StageOperator.template_fields, "tables", "snapshots")
    ui_color = "#e9e2f3"

    def __init__(
        self,
        *,
        report_id: str,
        steps: Mapping[str, MapStep],
        tables: Any,
        snapshots: Any,
        records: Mapping[str, RecordTable] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(report_id=report_id, **kwargs)
        self.records = dict(records or {})
        self.steps = dict(steps)
        self.tables = tables
        self.snapshots = snapshots

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:
        """Run the steps; raise when a value must have an entry and has none."""
        del context
        started = time.perf_counter()
        from openreg_airflow.exception_queue.reasons import ReasonWriter
        from openreg_airflow.mapping_records import MappingSnapshot
        from openreg_airflow.mappings import fill
        from openreg_airflow.records import Dataset
        from openreg_airflow.store.mapping_runs import MappingRuns

        tables = {name: Dataset.model_validate(one) for name, one in self.tables.items()}
        snapshots = {
            name: MappingSnapshot.model_validate(one) for name, one in self.snapshots.items()
        }
        done: dict[str, tuple[Pending, int, list[Filling]]] = {}
        with self.workspace.scratch_folder() as scratch, ExitStack() as files:
            reasons_file = scratch.absolute() / "reasons.parquet"
            with ReasonWriter(reasons_file) as reasons:
                for table, steps in fill.by_table(self.steps).items():
                    source = files.enter_context(self.workspace.open_local(_table(tables, table)))
                    fillings = self._fillings(steps, source, snapshots, run)
                    folder = self.workspace.folder(run, self.stage, self.task_id)
                    pending = files.enter_context(folder.writing(f"{table}.parquet"))
                    rows = fill.fill(source, pending.path, fillings, reasons)
                    done[table] = pending, rows, fillings
            uses = [one.use() for _, _, fillings in done.values() for one in fillings]
            fill.report(uses)
            places = [f"map.{name}" for name in self.steps]
            MappingRuns(self.settings.store_url).record_uses(run, uses, places)
            if error := fill.unmapped_error(uses, run.report_id):
                raise error
            files.close()
            tables |= {
                table: fill.dataset(pending.ref, rows, fillings[-1].schema)
                for table, (pending, rows, fillings) in done.items()
            }
            seconds = time.perf_counter() - started
            for table in done:
                made = tables[table]
                self.log.info("%s: %s rows, %s bytes", table, f"{made.rows:,}", f"{made.bytes:,}")
            self.log.info("map steps done in %.1f s", seconds)
            if any(step.unmapped == "set_aside" for step in self.steps.values()):
                tables = self._without_set_aside(run, tables, reasons_file)
        return {name: one.model_dump(mode="json") for name, one in tables.items()}

    def _without_set_aside(
        self, run: RunKey, tables: dict[str, Dataset], reasons: Path
    ) -> dict[str, Dataset]:
        """Put the records whose values are unmapped into the exception queue."""
        from openreg_airflow.errors import SpecError
        from openreg_airflow.exception_queue.set_aside import set_aside

        for name, step in self.steps.items():
            if step.unmapped == "set_aside" and step.table not in self.records:
                message = f"nothing names a record of {step.table}, so no row can be set aside"
                hint = f"Add at the top: records: {{{step.table}: {{key: [column]}}}}."
                raise SpecError(message, hint=hint, where=f"map.{name}")
        done = set_aside(
            run=run,
            stage=self.stage,
            origin="mapping",
            records=self.records,
            tables=tables,
            reasons=reasons,
            workspace=self.workspace,
            store_url=self.settings.store_url,
        )
        return done.tables

    def _fillings(
        self,
        steps: Mapping[str, MapStep],
        source: Path,
        snapshots: Mapping[str, MappingSnapshot],
        run: RunKey,
    ) -> list[Filling]:
        import pyarrow.parquet as pq

        from openreg_airflow.mappings.fill import Filling
        from openreg_airflow.mappings.needed import entries_for

        schema = pq.read_schema(source).remove_metadata()
        fillings: list[Filling] = []
        for name, step in steps.items():
            snapshot = snapshots[step.set_]
            with self.workspace.open_local(snapshot) as path:
                earlier = [one.step for one in fillings]
                entries = entries_for(step, snapshot, path, source, earlier)
            fillings.append(Filling(name, step, entries, schema, run.business_date))
            schema = fillings[-1].schema
        return fillings


def _table(tables: Mapping[str, Dataset], name: str) -> Dataset:
    from openreg_airflow.errors import SpecError

    if name not in tables:
        message = f"a map step fills table {name!r}, which this run does not have"
        raise SpecError(message, hint=f"Its tables are: {', '.join(tables)}.")
    return tables[name]
