"""The transform stage as an Airflow operator."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.docker.operators.docker import DockerOperator

from openreg_airflow.stage import BUSINESS_DATE
from openreg_airflow.transform.stage import TEMPLATE_FIELDS, TransformStage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from airflow.sdk import BaseOperator, Context
    from docker import APIClient

    from openreg_airflow.records import Dataset
    from openreg_airflow.settings import SandboxKind, Settings
    from openreg_airflow.transform.engine import EngineAddress
    from openreg_airflow.transform.job import Job
    from openreg_airflow.transform.spec import TransformSection
    from openreg_airflow.workspace import StageFolder


class TransformOperator(TransformStage, DockerOperator):
    """Run a report's script in the sandbox.

    It has DockerOperator's way to an engine, with none of its ways around a fence: the container
    is made by :mod:`openreg_airflow.transform.container`, nothing is pulled at run time, and
    nothing that comes back is ever unpickled.

    Args:
        report_id: the report.
        folder: the report's folder, which holds the script.
        spec: the report's transform section.
        inputs: the extracted tables by source, as :class:`Dataset` records.
        mappings: the snapshots of mapping sets by name, as :class:`MappingSnapshot` records.
        business_date: the day to report, as ``YYYY-MM-DD``.

    Returns, in XCom, the transformed tables by name, as :class:`Dataset` records.
    """

    template_fields: Sequence[str] = TEMPLATE_FIELDS
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json"}

    def __init__(
        self,
        *,
        report_id: str,
        folder: Path,
        spec: TransformSection,
        inputs: dict[str, Any],
        mappings: Any = None,
        business_date: str = BUSINESS_DATE,
        **kwargs: Any,
    ) -> None:
        super().__init__(image="", **kwargs)
        self.report_id = report_id
        self.folder = folder
        self.spec = spec
        self.inputs = inputs
        self.mappings = mappings or {}
        self.business_date = business_date

    def run_job(self, job: Job, folder: StageFolder, context: Context | None) -> dict[str, Dataset]:
        """Run a job in a container, or without a fence where the settings say so."""
        del context
        if self.settings.sandbox == "unsafe-subprocess":
            from openreg_airflow.transform.execution import execute
            from openreg_airflow.transform.unfenced import UnfencedProcess

            fence = UnfencedProcess(job)
            self._started(fence)
            return execute(fence, job, folder)
        from openreg_airflow.transform.container import run_in_container

        return run_in_container(
            self.cli,
            self.settings.sandbox_image,
            job,
            folder,
            local=self._address.local,
            starting=self._started,
        )

    @cached_property
    def _address(self) -> EngineAddress:
        return engine_address(self.settings.docker_conn_id)

    @cached_property
    def cli(self) -> APIClient:
        """A client of the installation's engine."""
        from openreg_airflow.transform.engine import connect

        return connect(self._address)


def transform_operator(sandbox: SandboxKind) -> Callable[..., BaseOperator]:
    """The operator for an installation's kind of sandbox.

    Raises:
        SpecError: the extra that it needs is not installed.
    """
    if sandbox != "kubernetes":
        return TransformOperator
    try:
        from openreg_airflow.transform.kubernetes.operator import KubernetesTransformOperator
    except ModuleNotFoundError as error:
        from openreg_airflow.errors import SpecError

        message = f"[openreg] sandbox = kubernetes, but {error.name} is not installed"
        hint = 'Install the extra:  pip install "openreg-airflow[kubernetes]"'
        raise SpecError(message, hint=hint) from error
    return KubernetesTransformOperator


def cluster_client(settings: Settings) -> Any:
    """A client of the installation's Kubernetes cluster."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    conn_id = settings.kubernetes_conn_id or KubernetesHook.default_conn_name
    return KubernetesHook(conn_id=conn_id).core_v1_client


def engine_address(conn_id: str | None) -> EngineAddress:
    """The engine of the installation.

    Args:
        conn_id: an Airflow connection; Docker's own environment variables count when None.

    Raises:
        SpecError: the connection says too little.
    """
    from openreg_airflow.transform.engine import address_from_connection, address_from_environment

    if conn_id is None:
        return address_from_environment()
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection(conn_id)
    return address_from_connection(connection.host, connection.port, connection.extra_dejson)
