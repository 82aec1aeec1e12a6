"""Provider information: how Airflow's own commands know of us and of our ``[openreg]`` options."""

from __future__ import annotations

from typing import Any

from openreg_airflow import __version__
from openreg_airflow.settings import SANDBOX_IMPORTS

SINCE = "0.1.0"


def _option(
    description: str, *, default: str = "", kind: str = "string", example: str | None = None
) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": SINCE,
        "type": kind,
        "example": example,
        "default": default,
    }


def get_provider_info() -> dict[str, Any]:
    """Describe this package to Airflow's providers manager."""
    store = _option(
        "SQLAlchemy URL of the product's own tables. SQLite below AIRFLOW_HOME when empty.",
        example="postgresql+psycopg2://user:password@host/openreg",
    )
    store["sensitive"] = True
    return {
        "package-name": "openreg-airflow",
        "name": "OpenReg",
        "description": "Regulatory reports as Airflow Dags.",
        "versions": [__version__],
        "config": {
            "openreg": {
                "description": "Options of OpenReg on Airflow.",
                "options": {
                    "spec_folders": _option(
                        "Folders that hold one folder a report, separated as in PATH. "
                        "AIRFLOW_HOME/report_specs when empty.",
                        example="/opt/reports:/opt/more-reports",
                    ),
                    "workspace": _option(
                        "Where the files of runs live: a folder or an object storage URI. "
                        "AIRFLOW_HOME/openreg/workspace when empty.",
                        example="s3://bucket/openreg",
                    ),
                    "workspace_conn_id": _option(
                        "Airflow connection for a workspace on object storage."
                    ),
                    "store_url": store,
                    "schema_folders": _option(
                        "Folders with the XSD files of authorities, separated as in PATH.",
                        example="/opt/schemas/iso20022",
                    ),
                    "sandbox": _option(
                        "Where transforms run: docker, or kubernetes with the extra of that name. "
                        "unsafe-subprocess has no fence at all and is for development only.",
                        default="docker",
                    ),
                    "sandbox_image": _option(
                        "Image in which transforms run; openreg sandbox build makes it.",
                        default="openreg-sandbox:latest",
                    ),
                    "docker_conn_id": _option(
                        "Airflow connection of the Docker engine; the local engine when empty."
                    ),
                    "kubernetes_conn_id": _option(
                        "Airflow connection of the cluster for sandbox = kubernetes. The cluster "
                        "that the worker runs in when empty."
                    ),
                    "kubernetes_namespace": _option(
                        "Namespace of the sandbox's pods, which needs the network policy and the "
                        "role of docker/kubernetes/sandbox.yaml.",
                        default="openreg-sandbox",
                    ),
                    "kubernetes_pod_template": _option(
                        "A pod template file that says where the sandbox's pods run: node "
                        "selector, tolerations, runtime class, pull secrets, labels. Nothing in it "
                        "loosens the fence.",
                        example="/opt/airflow/sandbox-pod.yaml",
                    ),
                    "kubernetes_seccomp_profile": _option(
                        "Seccomp profile on the nodes, relative to the kubelet's folder of them; "
                        "openreg sandbox seccomp prints one. The runtime's default when empty.",
                        example="profiles/openreg.json",
                    ),
                    "sandbox_imports": _option(
                        "Modules that a transform may import, separated by spaces. stdlib is the "
                        "standard library without what reaches out of a script; * is everything. "
                        "A policy, not the fence.",
                        default=SANDBOX_IMPORTS,
                    ),
                    "sandbox_packages": _option(
                        "Packages that a spec may ask for, each as NAME or NAME==VERSION, "
                        "separated by spaces. None when empty.",
                        example="openpyxl==3.1.5 et_xmlfile",
                    ),
                    "source_pool_slots": _option(
                        "How many tasks may read one source connection at a time: each connection "
                        "gets an Airflow pool of its own with as many slots, made when a scheduler "
                        "starts or by openreg connections pools --create. 0 leaves pools to the "
                        "specs.",
                        default="0",
                        kind="integer",
                    ),
                    "destination_pool_slots": _option(
                        "How many tasks may deliver over one connection at a time, in Airflow "
                        "pools made in the same way. 0 leaves pools to the specs.",
                        default="0",
                        kind="integer",
                    ),
                    "retention_days": _option(
                        "How many days files of artifacts are kept at least; older ones that were "
                        "delivered over all their routes are removed by openreg retention, their "
                        "records never. 0 keeps all files.",
                        default="0",
                        kind="integer",
                    ),
                    "artifact_threads": _option(
                        "How many files of one artifact that is split are written at a time. "
                        "Each takes memory of its own.",
                        default="1",
                        kind="integer",
                    ),
                    "source_folders": _option(
                        "Folders of the worker's own disk that sources with `file:` may read, "
                        "separated as in PATH. None when empty.",
                        example="/srv/reports/in",
                    ),
                    "max_memory_mb": _option(
                        "Most memory, in MiB, that a spec may give its transform or its rules.",
                        default="4096",
                        kind="integer",
                    ),
                    "max_cpus": _option(
                        "Most processors that a spec may give its transform or its rules.",
                        default="2",
                        kind="float",
                    ),
                    "max_seconds": _option(
                        "Longest time, in seconds, that a spec may give transform or rules.",
                        default="3600",
                        kind="integer",
                    ),
                    "max_processes": _option(
                        "Most processes and threads that a spec may give its transform.",
                        default="256",
                        kind="integer",
                    ),
                    "max_tmp_mb": _option(
                        "Largest /tmp, in MiB, that a spec may give its transform.",
                        default="1024",
                        kind="integer",
                    ),
                    "max_output_mb": _option(
                        "Most bytes of tables, in MiB, that a spec may let its transform return.",
                        default="8192",
                        kind="integer",
                    ),
                },
            }
        },
    }
