"""The transform stage as an Airflow operator that runs scripts in a Kubernetes cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

from openreg_airflow.stage import BUSINESS_DATE
from openreg_airflow.transform.stage import TEMPLATE_FIELDS, TransformStage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow.sdk import Context
    from kubernetes.client import V1Pod

    from openreg_airflow.records import Dataset
    from openreg_airflow.transform.job import Job
    from openreg_airflow.transform.spec import TransformSection
    from openreg_airflow.workspace import StageFolder


class KubernetesTransformOperator(TransformStage, KubernetesPodOperator):
    """Run a report's script in the sandbox, as a pod.

    It has KubernetesPodOperator's way to a cluster and its way of naming, labelling and placing a
    pod, with the admin's template and pod policy. What the pod may do is set by
    :mod:`openreg_airflow.transform.kubernetes.rendering`, and its tables come back through the same
    receiving code as a container's: there is no XCom sidecar.

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
        # The pod ends with its task; no later try takes it over.
        super().__init__(name=f"openreg-{report_id[:40]}", durable=False, **kwargs)
        # The result goes to XCom as any task's does, not through a container beside the script's.
        self.do_xcom_push = True
        self.report_id = report_id
        self.folder = folder
        self.spec = spec
        self.inputs = inputs
        self.mappings = mappings or {}
        self.business_date = business_date

    def run_job(self, job: Job, folder: StageFolder, context: Context | None) -> dict[str, Dataset]:
        """Run a job in a pod.

        Raises:
            TransformError, SandboxLimitError, SandboxUnavailableError: as
                :func:`openreg_airflow.transform.execution.execute`.
        """
        from openreg_airflow.transform.execution import execute
        from openreg_airflow.transform.kubernetes.line import cluster_errors
        from openreg_airflow.transform.kubernetes.pod import Pod

        self._take_settings()
        with cluster_errors("the Kubernetes cluster"):
            pod = self.sandbox_pod(job, context)
            fence = Pod(self.client, pod, job)
        self._started(fence)
        return execute(fence, job, folder)

    def sandbox_pod(self, job: Job, context: Context | None = None) -> V1Pod:
        """The pod for a job, as it is given to the cluster."""
        from openreg_airflow.transform.kubernetes.rendering import render
        from openreg_airflow.transform.packages import image_name

        self._take_settings()
        self.name = self._set_name(str(self.name).replace("_", "-"))
        self.do_xcom_push = False
        try:
            base = self.build_pod_request_obj(context)
        finally:
            self.do_xcom_push = True
        image = image_name(self.settings.sandbox_image, job.spec.packages)
        return render(base, image, job, seccomp_profile=self.settings.kubernetes_seccomp_profile)

    def _take_settings(self) -> None:
        """Where the installation wants its pods."""
        self.namespace = self.settings.kubernetes_namespace
        self.pod_template_file = self.settings.kubernetes_pod_template
        if self.settings.kubernetes_conn_id:
            self.kubernetes_conn_id = self.settings.kubernetes_conn_id
