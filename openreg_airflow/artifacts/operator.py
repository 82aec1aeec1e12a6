"""The Airflow operator that writes one artifact of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from openreg_airflow.records import Dataset, Verdict
from openreg_airflow.stage import StageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airflow.sdk import Context

    from openreg_airflow.artifacts.publishing.pgp import PgpKey
    from openreg_airflow.artifacts.spec import ArtifactSpec
    from openreg_airflow.records import RunKey
    from openreg_airflow.store.sequences import Numbers


class ArtifactOperator(StageOperator):
    """Write the file for the authority, hold it against its schema, and record it.

    Args:
        folder: the report's folder.
        artifact: the artifact's name in the spec.
        spec: its section of the spec.
        tables: the tables of the run: :class:`~openreg_airflow.records.Dataset` by name.
        verdict: the :class:`~openreg_airflow.records.Verdict` of the validation, or None when the
            report has no rules. Its tables, if it has any, are the ones that are written. Nothing
            is written when a blocking rule failed, or when the validation left no verdict,
            whatever became of the task that should have stopped the run.
        routes: the routes that its files go over; each with its condition as ``when``, the route
            that it stands in for as ``instead_of``, and as ``acknowledged`` whether an
            acknowledgement is awaited. The retention policy goes by them.
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
        routes: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.routes = dict(routes or {})
        self.folder = folder
        self.artifact = artifact
        self.spec = spec
        self.tables = tables
        self.verdict = verdict
        #: Known before the verdict is: somebody may mark the validation as succeeded.
        self.has_rules = verdict is not None

    def run_stage(self, context: Context, run: RunKey) -> dict[str, Any]:  # noqa: ARG002
        """Give the :class:`~openreg_airflow.records.Artifact`."""
        from openreg_airflow.artifacts.produce import (
            produce,
            refuse_blocked,
            refuse_unvalidated,
        )
        from openreg_airflow.store.numbering import Numbering
        from openreg_airflow.store.references import References

        verdict = None if self.verdict is None else Verdict.model_validate(self.verdict)
        if verdict is not None:
            refuse_blocked(verdict)
        elif self.has_rules:
            refuse_unvalidated()
        numbering = Numbering(self.settings.store_url)
        artifact = produce(
            name=self.artifact,
            spec=self.spec,
            folder=self.folder,
            run=run,
            tables=self._tables(verdict),
            workspace=self.workspace,
            schema_folders=self.settings.schema_folders,
            verdict=verdict,
            routes=self.routes,
            allocate=lambda begun, parts: numbering.allocate(
                run,
                begun,
                parts,
                self._numbers(run, parts),
                chained=self.spec.references is not None and self.spec.references.derived,
            ),
            keys=pgp_key,
            threads=self.settings.artifact_threads,
            reported=References(self.settings.store_url),
        )
        if artifact.version:
            numbering.finish(run, artifact)
        else:
            numbering.record_artifact(run, artifact)
        return artifact.model_dump(mode="json")

    def _tables(self, verdict: Verdict | None) -> dict[str, Dataset]:
        """The tables without the records that the validation set aside."""
        if verdict is not None and verdict.tables:
            return verdict.tables
        return {name: Dataset.model_validate(table) for name, table in self.tables.items()}

    def _numbers(self, run: RunKey, parts: int) -> Numbers | None:
        """What the artifact asks of its sequence."""
        from openreg_airflow.store.sequences import Numbers

        sequence = self.spec.sequence
        if sequence is None:
            return None
        return Numbers(
            sequence=sequence.name,
            period=str(run.business_date.year) if sequence.reset == "year" else "",
            start=sequence.start,
            count=parts if sequence.per == "file" else 1,
            most=10**sequence.digits - 1 if sequence.digits else None,
        )


def pgp_key(name: str) -> PgpKey:
    """The PGP key of an Airflow connection.

    Its extra holds the armored key as ``public_key`` or ``private_key``; its password is the pass
    phrase of a private one.

    Raises:
        ArtifactError: there is no such connection, or it holds no key.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    from openreg_airflow.artifacts.publishing.pgp import PgpKey
    from openreg_airflow.errors import ArtifactError

    try:
        found = BaseHook.get_connection(name)
    except AirflowNotFoundException as error:
        message = f"there is no Airflow connection {name}"
        raise ArtifactError(
            message, hint="Make it with the PGP key in its extra as public_key or private_key."
        ) from error
    extra = found.extra_dejson
    key = extra.get("private_key") or extra.get("public_key")
    if not isinstance(key, str) or not key.strip():
        message = f"the extra of connection {name} has neither public_key nor private_key"
        raise ArtifactError(message, hint="Put the armored PGP key there.")
    return PgpKey(connection=name, key=key, pass_phrase=found.password or "")
