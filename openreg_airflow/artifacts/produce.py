"""Makes one artifact of a run: the engine behind the operator, which knows no Airflow."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from openreg_airflow.artifacts import parts
from openreg_airflow.artifacts.correct import corrected, told_of
from openreg_airflow.artifacts.order import Order, name_of, page_of
from openreg_airflow.artifacts.publishing import metadata, publish
from openreg_airflow.artifacts.slices import Slices
from openreg_airflow.artifacts.writer import Job, Page, relations, unsplittable, writer
from openreg_airflow.errors import ArtifactError, BlockingRulesError, StorageError
from openreg_airflow.records import Artifact
from openreg_airflow.references.guard import KEY
from openreg_airflow.references.names import refuse_alike

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from openreg_airflow.artifacts.parts import Part
    from openreg_airflow.artifacts.publishing.digest import Digest
    from openreg_airflow.artifacts.writer import Writer
    from openreg_airflow.records import Dataset, Verdict

log = logging.getLogger(__name__)


def refuse_blocked(verdict: Verdict) -> None:
    """Make sure that nothing is written for a run whose blocking rules failed.

    Raises:
        BlockingRulesError: at least one blocking rule failed.
    """
    if failed := verdict.blocking:
        rules = ", ".join(f"{result.rule_id} ({result.failed} rows)" for result in failed)
        message = f"blocking rules failed: {rules}"
        raise BlockingRulesError(message, hint="Mend the data and run the report again.")


def refuse_unvalidated() -> NoReturn:
    """Make sure that nothing is written for a run whose rules were not evaluated to the end.

    Raises:
        BlockingRulesError: always.
    """
    message = "the validation left no verdict: it failed, or somebody marked it as succeeded"
    raise BlockingRulesError(message, hint="Clear the task validate; nobody can stand in for it.")


def produce(**order: Any) -> Artifact:
    """Write, check, pack and publish one artifact.

    All its files are published after the last one was written: one that fails leaves none behind.

    Args:
        **order: the fields of :class:`Order`.

    Raises:
        ArtifactError: a table is missing or empty, a value cannot be written, the finished file
            is invalid, or it cannot be packed. Nothing is published then.
        StorageError: a disk is full or read-only, that of temporary files too.
    """
    wanted = Order(**order)
    try:
        return _produce(wanted)
    except OSError as error:
        message = f"cannot write artifact {wanted.name}: {error}"
        hint = "Free space for temporary files, or mend permissions, then clear the task."
        raise StorageError(message, hint=hint) from error


def _produce(order: Order) -> Artifact:
    begun = time.monotonic()
    spec, name = order.spec, order.name
    if (about := spec.references) and about.derived and order.reported:
        order = corrected(order, order.reported)
    writes = writer(order.format)
    with ExitStack() as stack:
        wanted = sorted(writes.tables(spec, order.folder) | {spec.table})
        inputs = {table: _dataset(table, order) for table in wanted}
        _refuse_columns_alike(inputs, name)
        local = {
            table: stack.enter_context(order.workspace.open_local(dataset))
            for table, dataset in inputs.items()
        }
        records = inputs[spec.table].rows
        told = metadata.about(spec, order.folder, order.run, inputs, order.verdict)
        told["routes"] = dict(order.routes)
        nothing = records == 0 and (spec.when_empty != "write" or bool(order.after))
        scratch = stack.enter_context(order.workspace.scratch_folder())
        if spec.references is not None and (order.records is not None or not nothing):
            told[KEY] = told_of(order, spec.references, local, scratch)
        _refuse_alike(order, local[spec.table], scratch)
        artifact = Artifact(
            name=name,
            format=order.format,
            records=records,
            schema_check="",
            files=(),
            metadata=told,
        )
        if nothing:
            return _nothing(artifact, order)
        work = _Work(order, writes, local, records, scratch)
        stack.callback(work.close)
        planned = work.plan()
        content = metadata.content(
            spec, order.folder, order.run, inputs, planned, after=order.after
        )
        if keys := publish.keys_of(order):
            told["keys"] = keys
        artifact = artifact.model_copy(update={"content": content, "metadata": told})
        given = order.allocate(artifact, len(planned))
        made = publish.earlier(order, given, keys)
        if made is None:
            pages = [(part, page_of(order, part, len(planned), given)) for part in planned]
            made = publish.files(order, given, artifact, pages, write=work.write, scratch=scratch)
    _tell(made, time.monotonic() - begun)
    return made


def _refuse_alike(order: Order, table: Path, scratch: Path) -> None:
    """See that the rows can be told apart in answers, before the file gets a number.

    Raises:
        ArtifactError: they cannot.
    """
    about = order.spec.references
    wanted = {tuple(route.get("names") or ()) for route in order.routes.values()}
    if about is not None and about.record is not None:
        wanted.add(about.names)
    for names in sorted(wanted - {()}):
        refuse_alike(table, names, about, scratch)


def _nothing(artifact: Artifact, order: Order) -> Artifact:
    spec = order.spec
    # A resubmission may be of another artifact's records.
    if spec.when_empty == "fail" and not order.resubmission and order.target is None:
        message = f"table {spec.table} has no rows, so there is nothing to report"
        hint = "If an empty file is right, set when_empty: write; if none is, when_empty: skip."
        raise ArtifactError(message, where=f"artifact {artifact.name}", hint=hint)
    log.info("table %s has no rows, so there is no file", spec.table)
    check = "not checked: there is no file"
    return artifact.model_copy(update={"schema_check": check, "version": 0})


class _Work:
    """The tables of an artifact and its parts."""

    def __init__(
        self, order: Order, writes: Writer, local: dict[str, Path], records: int, scratch: Path
    ) -> None:
        self._order = order
        self._writes = writes
        self._local = local
        self._records = records
        self._scratch = scratch
        self._slices: Slices | None = None
        spec = order.spec
        if spec.split is None:
            return
        if loose := unsplittable(writes, spec, order.folder):
            message = f"nothing says into which file the rows of {', '.join(loose)} go"
            hint = "List tables that stand whole in every file in split.repeat."
            raise ArtifactError(message, where=f"artifact {order.name}", hint=hint)
        if spec.split.bytes is not None or records > (spec.split.records or 0):
            inner = scratch / "inner"
            inner.mkdir()
            found = relations(writes, spec, order.folder)
            found = tuple(r for r in found if r.table not in spec.split.repeat)
            self._slices = Slices(local, spec.table, found, inner)

    def close(self) -> None:
        """Let go of what was needed for cutting."""
        if self._slices is not None:
            self._slices.close()

    def plan(self) -> tuple[Part, ...]:
        """Which records go into which file."""
        split = self._order.spec.split
        if split is None:
            return (parts.Part(1, 0, self._records),)
        if split.bytes is None:
            return parts.by_records(self._records, split.records or 1)
        planned = parts.by_bytes(self._records, split.bytes, self._measure, split.records)
        log.info("%s records go into %d files", f"{self._records:,}", len(planned))
        return planned

    def write(self, part: Part, page: Page, folder: Path, target: Path, digest: Digest) -> str:
        """Write one file; see :meth:`~openreg_airflow.artifacts.writer.Writer.write`."""
        job = replace(self._job(part, page, folder), written=digest)
        log.info("writing %s from %s records", job.filename, f"{part.records:,}")
        outcome = self._writes.write(job, target)
        if digest.bytes != target.stat().st_size:
            digest.read(target)
        if (split := self._order.spec.split) is not None and split.bytes is not None:
            parts.refuse_too_long(part, digest.bytes, split.bytes)
        return outcome

    def _measure(self, first: int, records: int) -> int:
        """The bytes of a file with some of the records, and numbers as long as they can be."""
        order, total = self._order, self._records
        last = first + records == total
        long = "9" * (order.spec.sequence.digits or 12 if order.spec.sequence else 0)
        page = Page(
            number=total if last else max(total - 1, 1),
            count=max(total, 1),
            total_records=total,
            first_record=first + 1,
            sequence=long or None,
            version=9999,
            replaces=long,
        )
        page = replace(page, replaces_file=name_of(order, page))
        folder = self._scratch / "trial"
        folder.mkdir(exist_ok=True)
        target = folder / "trial"
        part = parts.Part(page.number, first, records)
        self._writes.write(self._job(part, page, folder, draft=True), target)
        return target.stat().st_size

    def _job(self, part: Part, page: Page, folder: Path, *, draft: bool = False) -> Job:
        order = self._order
        tables, rows = self._local, {name: order.tables[name].rows for name in self._local}
        if self._slices is not None:
            tables, rows = self._slices.cut(part, folder)
        return Job(
            artifact=order.name,
            spec=order.spec,
            filename=name_of(order, page),
            folder=order.folder,
            run=order.run,
            tables=tables,
            rows=rows,
            schema_folders=order.schema_folders,
            page=page,
            draft=draft,
        )


def _tell(made: Artifact, seconds: float) -> None:
    for file in made.files:
        log.info("%s: %s bytes, SHA-256 %s", file.filename, f"{file.bytes:,}", file.sha256)
    count = len(made.reports)
    log.info(
        "artifact %s: %s records in %s, %s bytes, version %d, schema check: %s, %.1f s",
        made.name,
        f"{made.records:,}",
        "1 file" if count == 1 else f"{count:,} files",
        f"{made.bytes:,}",
        made.version,
        made.schema_check,
        seconds,
    )


def _refuse_columns_alike(inputs: Mapping[str, Dataset], artifact: str) -> None:
    """Make sure that a column's name says which one is meant.

    Raises:
        ArtifactError: a table has several columns of one name.
    """
    for table, dataset in inputs.items():
        names = [column.name for column in dataset.columns]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            message = f"table {table} has several columns named {', '.join(twice)}"
            hint = "Give each column a name of its own where the table is made."
            raise ArtifactError(message, where=f"artifact {artifact}", hint=hint)


def _dataset(table: str, order: Order) -> Dataset:
    if table in order.tables:
        return order.tables[table]
    message = f"there is no table {table}"
    raise ArtifactError(
        message,
        where=f"artifact {order.name}",
        hint=f"The tables of this run are {', '.join(sorted(order.tables)) or 'none'}.",
    )
