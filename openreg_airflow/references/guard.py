"""Stands between a finished artifact and its delivery: no reference goes out twice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import ArtifactError, OpenRegError
from openreg_airflow.records import Dataset
from openreg_airflow.references.spec import ReferencesSpec
from openreg_airflow.store.deliveries import content_of
from openreg_airflow.store.references import References, Submission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openreg_airflow.records import Artifact, RunKey
    from openreg_airflow.store.store import Store
    from openreg_airflow.workspace import Workspace

log = logging.getLogger(__name__)

#: Where an artifact's metadata tells of its references.
KEY = "references"


def told(
    spec: ReferencesSpec,
    *,
    written: Dataset,
    inner: Mapping[str, Dataset],
    records: Dataset,
    target: str,
    resubmission: int,
) -> dict[str, Any]:
    """What an artifact's metadata tells of its references.

    Args:
        spec: the artifact's section.
        written: the table whose rows are written.
        inner: the tables inside its records, as they are written.
        records: its records as they are staged.
        target: hash of what the authority is to have in the end.
        resubmission: its number; 0 in a run that reads the source.
    """
    return {
        "spec": spec.model_dump(mode="json"),
        "written": written.model_dump(mode="json"),
        "inner": {name: table.model_dump(mode="json") for name, table in sorted(inner.items())},
        "records": records.model_dump(mode="json"),
        "target": target,
        "resubmission": resubmission,
    }


def scope_of(spec: ReferencesSpec, report_id: str) -> str:
    """Whose references an artifact uses."""
    return spec.scope or f"report {report_id}"


def references_of(artifact: Artifact) -> ReferencesSpec | None:
    """An artifact's section of references as it was when it was made; None where it has none."""
    found = artifact.metadata.get(KEY)
    return ReferencesSpec.model_validate(found["spec"]) if found else None


def written_table(artifact: Artifact) -> Dataset | None:
    """The table whose rows stand in an artifact's files, where its references are known."""
    found = artifact.metadata.get(KEY)
    return Dataset.model_validate(found["written"]) if found else None


def sent_tables(artifact: Artifact) -> dict[str, Dataset]:
    """The tables that a correction was made of, by name; none where all records are sent."""
    about = references_of(artifact)
    if about is None or not about.derived:
        return {}
    found = artifact.metadata[KEY]
    tables = {artifact.metadata["table"]: found["written"], **found["inner"]}
    return {name: Dataset.model_validate(table) for name, table in tables.items()}


def submission_of(run: RunKey, artifact: Artifact) -> Submission | None:
    """An artifact as a submission; None when its records have no references.

    Raises:
        ArtifactError: an earlier version of this software made it, and did not list its records.
    """
    found = artifact.metadata.get(KEY)
    if not found or not artifact.files:
        return None
    if "records" not in found:
        message = f"artifact {artifact.name} does not say which records it has"
        raise ArtifactError(message, hint="An earlier version made it: run the report anew.")
    spec = ReferencesSpec.model_validate(found["spec"])
    return Submission(
        scope=scope_of(spec, run.report_id),
        report_id=run.report_id,
        business_date=run.business_date,
        run_id=run.run_id,
        artifact=artifact.name,
        version=artifact.version,
        content=artifact.content,
        target=found["target"],
        resubmission=found["resubmission"],
        written=Dataset.model_validate(found["written"]),
        inner_tables={
            name: Dataset.model_validate(table) for name, table in found["inner"].items()
        },
        records=Dataset.model_validate(found["records"]),
    )


class ReferenceGuard:
    """Holds the references of one delivery against what was reported before.

    Args:
        run: the run that made the artifact.
        artifact: what is delivered; None where it does not count as reported.
        workspace: where its table lies.
        store: anything in the store's database.
        again: it is sent again on purpose.
    """

    def __init__(
        self,
        run: RunKey,
        artifact: Artifact | None,
        workspace: Workspace,
        store: Store,
        *,
        again: bool,
    ) -> None:
        self._submission = submission_of(run, artifact) if artifact is not None else None
        self._run = run
        self._artifact = artifact
        self._workspace = workspace
        self._store = References(store.url)
        self._again = again

    def reserve(self) -> None:
        """Put the references on record before anything is sent.

        Raises:
            ReferenceReuseError: one stands already, or one is spoken of that does not stand.
        """
        self._hold(look=False)

    def look(self) -> None:
        """Say whether they could be, and leave everything as it is.

        Raises:
            ReferenceReuseError: as :meth:`reserve`.
        """
        self._hold(look=True)

    def _hold(self, *, look: bool) -> None:
        wanted = self._submission
        if wanted is None or wanted.records is None:
            return
        from openreg_airflow.references.rows import read_records

        with self._workspace.open_local(wanted.records) as records:
            if look:
                self._store.look(wanted, read_records(records))
            else:
                self._store.reserve(wanted, read_records(records), again=self._again)

    def delivered(self) -> None:
        """Note that all files are there."""
        wanted = self._submission
        if wanted is not None and not self._store.finish(wanted):
            # Another route to which nothing was sent gave them free meanwhile.
            self.reserve()
            self._store.finish(wanted)

    def ended(self, kind: object, error: BaseException | None, _where: object) -> None:  # noqa: ARG002
        """Give the references free after a failure with which nothing can have left the house."""
        wanted, artifact = self._submission, self._artifact
        if wanted is None or artifact is None or error is None:
            return
        files = [
            content_of(
                self._run,
                artifact.name,
                artifact.content or file.document_sha256 or file.sha256,
                file.part,
                file.role,
            )
            for file in artifact.files
        ]
        try:
            if self._store.release(wanted, files):
                log.info("nothing was sent, so the references of this delivery are free again")
        except OpenRegError:
            # The delivery's own error is the one that the task must fail with.
            log.exception("the references of this delivery could not be given free")
