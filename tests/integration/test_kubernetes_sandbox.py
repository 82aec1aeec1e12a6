"""The transform stage in pods: what the cluster is asked for, and the way of the data.

The operator, the client and the runner are the real ones; see tests/services/cluster.py for what
stands in for the cluster.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from kubernetes.client import ApiClient
from typer.testing import CliRunner

from dag_factory.load import load
from openreg_airflow import settings
from openreg_airflow.cli import app
from openreg_airflow.errors import (
    SandboxLimitError,
    SandboxUnavailableError,
    SpecError,
    TransformError,
)
from openreg_airflow.records import Dataset, RunKey
from openreg_airflow.settings import Settings
from openreg_airflow.transform import handover
from openreg_airflow.transform.kubernetes.operator import KubernetesTransformOperator
from openreg_airflow.transform.operator import transform_operator
from openreg_airflow.transform.spec import TransformSection
from openreg_airflow.transform.trial import try_out
from openreg_airflow.workspace import Workspace
from tests.integration.test_transform_mappings import VENUES
from tests.services.cluster import cluster
from tests.transform_bench import REPORT, SLEEP, TRADES, Bench, on_line, terminated
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services.cluster import Cluster

MANIFESTS = Path(__file__).parents[2] / "docker" / "kubernetes" / "sandbox.yaml"
RUN_ID = "scheduled__2026-03-02T20:00:00+00:00"
DAY = "2026-03-02"
DOUBLE = """
def transform(inputs, context):
    print("doubling")
    trades = inputs["trades"]
    trades["doubled"] = trades["price"] * 2
    return trades
"""


@pytest.fixture
def api_server(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "node").mkdir()
    with cluster(tmp_path / "node") as found:
        yield found


@pytest.fixture
def environment(
    tmp_path: Path, api_server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """An installation that runs transforms in that cluster."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": api_server.url}}],
        "users": [{"name": "worker", "user": {"token": "a-token"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "worker"}}],
    }
    connection = {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(config)}}
    for name, value in {
        "AIRFLOW_CONN_CLUSTER": json.dumps(connection),
        "AIRFLOW__OPENREG__SANDBOX": "kubernetes",
        "AIRFLOW__OPENREG__KUBERNETES_CONN_ID": "cluster",
        "AIRFLOW__OPENREG__SANDBOX_IMAGE": "registry.example/openreg-sandbox:1",
        "AIRFLOW__OPENREG__WORKSPACE": str(tmp_path / "workspace"),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr(handover, "FOLDER", str(tmp_path / "volume"))
    return monkeypatch


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report_specs" / "demo_report"
    folder.mkdir(parents=True)
    (folder / "transform.py").write_text(DOUBLE)
    return folder


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "openreg_airflow")


@pytest.fixture
def operator(
    report: Path, tmp_path: Path, environment: pytest.MonkeyPatch
) -> Callable[..., KubernetesTransformOperator]:
    run_key = RunKey(report_id="demo_report", business_date=DAY, run_id=RUN_ID)
    folder = Workspace(tmp_path / "workspace").folder(run_key, "extract")
    with folder.writing("trades.parquet") as pending:
        pq.write_table(TRADES, pending.path)
    dataset = Dataset(**pending.ref.model_dump(), rows=3, columns=())

    def make(**spec: Any) -> KubernetesTransformOperator:
        task = transform_operator("kubernetes")(
            task_id="transform",
            report_id="demo_report",
            business_date=DAY,
            folder=report,
            spec=TransformSection.model_validate(spec),
            inputs={"trades": dataset.model_dump(mode="json")},
        )
        assert isinstance(task, KubernetesTransformOperator)
        return task

    return make


def run(operator: KubernetesTransformOperator) -> dict[str, Any]:
    instance = SimpleNamespace(
        dag_id="demo_report", task_id="transform", run_id=RUN_ID, try_number=1, map_index=-1
    )
    dag_run = SimpleNamespace(run_id=RUN_ID)
    dag = SimpleNamespace(parent_dag=None, params={})
    context: Any = {"dag_run": dag_run, "ti": instance, "run_id": RUN_ID, "dag": dag}
    result: dict[str, Any] = operator.execute(context)
    return result


def test_tables_come_back_through_the_lines_of_a_pod(
    operator: Callable[..., KubernetesTransformOperator],
    api_server: Cluster,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    returned = run(operator(tables={"transactions": {}}))

    dataset = Dataset.model_validate(returned["transactions"])
    with Workspace(tmp_path / "workspace").open_local(dataset) as path:
        table = pq.read_table(path)
    assert table["doubled"].type == pa.decimal128(38, 5)
    assert dataset.rows == 3
    assert "doubling" in caplog.messages
    assert not api_server.pods
    wait_until(lambda: not api_server.running())
    evidence = json.loads(next((tmp_path / "workspace").rglob("sandbox.json")).read_text())
    assert evidence["image"].startswith("registry.example/openreg-sandbox@sha256:")


def test_large_tables_go_both_ways_and_a_retry_gives_the_same_bytes(
    operator: Callable[..., KubernetesTransformOperator],
    report: Path,
    api_server: Cluster,
    tmp_path: Path,
) -> None:
    (report / "transform.py").write_text(
        "import pandas as pd, numpy as np\n"
        "def transform(inputs, context):\n"
        "    seed = np.random.default_rng(1)\n"
        "    return pd.DataFrame({'a': seed.random(400_000), 'b': seed.random(400_000)})\n"
    )
    first = run(operator())
    next((tmp_path / "volume").iterdir()).unlink()
    assert first["trades"]["bytes"] > 5_000_000
    assert run(operator()) == first


def test_pod_holds_every_limit_and_no_right(
    operator: Callable[..., KubernetesTransformOperator], api_server: Cluster
) -> None:
    limits = {"memory_mb": 512, "cpus": 0.5, "seconds": 60, "tmp_mb": 32}
    run(operator(limits=limits))

    (pod,) = api_server.created
    spec = pod["spec"]
    assert pod["metadata"]["namespace"] == "openreg-sandbox"
    assert pod["metadata"]["labels"]["openreg.org/sandbox"] == "true"
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["dnsPolicy"] == "None"
    assert spec["activeDeadlineSeconds"] == 60 + 900
    assert not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    assert [*spec["volumes"][0]] == [*spec["volumes"][1]] == ["emptyDir", "name"]
    assert spec["volumes"][1]["emptyDir"] == {"medium": "Memory", "sizeLimit": "32Mi"}
    (script,) = spec["containers"]
    (intake,) = spec["initContainers"]
    assert script["resources"]["limits"]["memory"] == "512Mi"
    assert script["resources"]["limits"]["cpu"] == "500m"
    assert script["resources"]["requests"] == script["resources"]["limits"]
    assert script["volumeMounts"][0]["readOnly"] is True
    assert script["stdinOnce"] is True
    for container in (script, intake):
        security = container["securityContext"]
        assert security.pop("runAsUser") >= 1_000_000
        assert security == {
            "runAsNonRoot": True,
            "runAsGroup": 65534,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert "envFrom" not in container
        assert not any("TOKEN" in one["name"] for one in container["env"])


def test_template_places_the_pod_and_cannot_loosen_the_fence(
    operator: Callable[..., KubernetesTransformOperator],
    api_server: Cluster,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    template = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"team": "reporting"}},
        "spec": {
            "nodeSelector": {"pool": "sandbox"},
            "runtimeClassName": "gvisor",
            "hostUsers": False,
            "hostNetwork": True,
            "serviceAccountName": "admin",
            "automountServiceAccountToken": True,
            "containers": [
                {"name": "base", "securityContext": {"privileged": True}},
                {"name": "another", "image": "another"},
            ],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        },
    }
    (tmp_path / "template.yaml").write_text(json.dumps(template))
    path = str(tmp_path / "template.yaml")
    environment.setenv("AIRFLOW__OPENREG__KUBERNETES_POD_TEMPLATE", path)
    environment.setenv("AIRFLOW__OPENREG__KUBERNETES_SECCOMP_PROFILE", "profiles/openreg.json")

    run(operator())

    spec = api_server.created[0]["spec"]
    assert api_server.created[0]["metadata"]["labels"]["team"] == "reporting"
    assert spec["nodeSelector"] == {"pool": "sandbox"}
    assert spec["runtimeClassName"] == "gvisor"
    assert spec["hostUsers"] is False
    assert spec["hostNetwork"] is False
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec
    (script,) = spec["containers"]
    assert script["securityContext"]["privileged"] is False
    # With users of its own the pod has only the first 65536.
    assert script["securityContext"]["runAsUser"] == 65534
    profile = {"type": "Localhost", "localhostProfile": "profiles/openreg.json"}
    assert script["securityContext"]["seccompProfile"] == profile
    assert [volume["name"] for volume in spec["volumes"]] == ["inputs", "tmp"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: p["spec"]["containers"].append({"name": "mesh", "image": "mesh"}), "containers"),
        (lambda p: p["spec"].update(automountServiceAccountToken=True), "automount"),
        (lambda p: p["spec"]["volumes"].append({"name": "token", "secret": {}}), "volumes"),
        (lambda p: p["spec"]["containers"][0]["resources"]["limits"].pop("memory"), "resources"),
        (
            lambda p: p["spec"]["containers"][0]["env"].append({"name": "PASSWORD", "value": "x"}),
            "base env",
        ),
        (
            lambda p: p["spec"]["containers"][0]["securityContext"].update(
                readOnlyRootFilesystem=False
            ),
            "security_context",
        ),
        (lambda p: p["spec"].update(hostNetwork=True), "host_network"),
        (lambda p: p["spec"].pop("activeDeadlineSeconds"), "active_deadline_seconds"),
    ],
)
def test_pod_that_admission_changed_is_not_used(
    operator: Callable[..., KubernetesTransformOperator],
    api_server: Cluster,
    change: Callable[[dict[str, Any]], None],
    expected: str,
) -> None:
    api_server.admit = change
    with pytest.raises(SandboxUnavailableError, match=rf"changed the sandbox pod's .*{expected}"):
        run(operator())
    assert not api_server.pods


def test_amounts_that_the_cluster_spells_otherwise_are_the_same(
    operator: Callable[..., KubernetesTransformOperator], api_server: Cluster
) -> None:
    def spell(pod: dict[str, Any]) -> None:
        pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi"
        pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "1"

    api_server.admit = spell
    assert run(operator(limits={"memory_mb": 1024, "cpus": 1}))["trades"]["rows"] == 3


def test_pod_whose_network_is_open_is_not_used(
    operator: Callable[..., KubernetesTransformOperator],
    api_server: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api_server.shut = False
    monkeypatch.setattr("openreg_airflow.transform.kubernetes.pod._SHUT_WITHIN_SECONDS", 0.5)
    with pytest.raises(SandboxUnavailableError, match="network of the sandbox pod is open"):
        run(operator())
    wait_until(lambda: not api_server.running())


def test_image_of_another_version_is_refused(
    operator: Callable[..., KubernetesTransformOperator],
    api_server: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openreg_airflow.transform.kubernetes.pod.runner_digest", lambda: "another")
    with pytest.raises(SandboxUnavailableError, match="another version's runner"):
        run(operator())


def test_cluster_that_refuses_is_quoted(
    operator: Callable[..., KubernetesTransformOperator], api_server: Cluster
) -> None:
    api_server.refuse = 'pods is forbidden: User "worker" cannot create resource "pods"'
    with pytest.raises(SandboxUnavailableError, match="cannot create resource"):
        run(operator())


def test_cluster_that_does_not_answer_is_a_transient_error(
    operator: Callable[..., KubernetesTransformOperator],
    api_server: Cluster,
    environment: pytest.MonkeyPatch,
) -> None:
    config = os.environ["AIRFLOW_CONN_CLUSTER"].replace(api_server.url, "http://127.0.0.1:9")
    environment.setenv("AIRFLOW_CONN_CLUSTER", config)
    with pytest.raises(SandboxUnavailableError, match="does not answer"):
        run(operator())


def test_error_of_a_script_is_its_author_s(
    operator: Callable[..., KubernetesTransformOperator], report: Path, api_server: Cluster
) -> None:
    (report / "transform.py").write_text("def transform(inputs, context):\n    return 1 / 0\n")
    with pytest.raises(TransformError, match="division by zero") as raised:
        run(operator())
    assert raised.value.where == "transform.py line 2"
    assert not api_server.pods


def test_memory_limit_is_named(
    operator: Callable[..., KubernetesTransformOperator], report: Path, api_server: Cluster
) -> None:
    api_server.out_of_memory = True
    (report / "transform.py").write_text(SLEEP)
    task = operator()

    def end_container() -> None:
        """As the kernel of a cluster does: the first process goes, and all others with it."""
        for _, keeper, *_ in api_server.processes.values():
            keeper.kill()

    with (
        on_line("ready", end_container),
        pytest.raises(SandboxLimitError, match="memory limit of 1024 MiB"),
    ):
        run(task)


def test_time_limit_is_named(
    operator: Callable[..., KubernetesTransformOperator], report: Path, api_server: Cluster
) -> None:
    (report / "transform.py").write_text(SLEEP)
    with pytest.raises(SandboxLimitError, match="time limit of 1 s"):
        run(operator(limits={"seconds": 1}))
    wait_until(lambda: not api_server.running())


def test_killed_task_deletes_its_pod(
    operator: Callable[..., KubernetesTransformOperator], report: Path, api_server: Cluster
) -> None:
    (report / "transform.py").write_text(SLEEP)
    task = operator()
    with terminated(task), pytest.raises(SandboxUnavailableError, match="its task was killed"):
        run(task)
    assert not api_server.pods
    wait_until(lambda: not api_server.running())


def test_pod_whose_lines_break_ends_by_itself_and_is_deleted_by_the_next_try(
    operator: Callable[..., KubernetesTransformOperator],
    report: Path,
    api_server: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """As when the worker is killed: nobody deletes the pod."""
    (report / "transform.py").write_text(SLEEP)
    task = operator()
    with monkeypatch.context() as patch:
        patch.setattr("openreg_airflow.transform.kubernetes.pod._delete", lambda *_: None)
        with (
            on_line("ready", task.on_kill),
            pytest.raises(SandboxUnavailableError),
        ):
            run(task)
    wait_until(lambda: not api_server.running())
    assert len(api_server.pods) == 1

    (report / "transform.py").write_text(DOUBLE)
    next((tmp_path / "volume").iterdir()).unlink()
    run(operator())
    assert not api_server.pods


def test_limit_above_the_admin_s_is_refused(
    operator: Callable[..., KubernetesTransformOperator], api_server: Cluster
) -> None:
    with pytest.raises(SpecError, match="allows at most 2"):
        run(operator(limits={"cpus": 3}))
    assert not api_server.created


def test_manifests_are_what_the_cluster_s_model_takes_and_fit_the_settings() -> None:
    found = {}
    for document in yaml.safe_load_all(MANIFESTS.read_text()):
        kind, group = document["kind"], document["apiVersion"]
        model = ("V1" if group.endswith("v1") else "") + kind
        holder = SimpleNamespace(data=json.dumps(document))
        parsed = ApiClient().deserialize(holder, model)
        # Whatever the model does not know would be missing after the way back.
        assert ApiClient().sanitize_for_serialization(parsed) == document
        found[kind] = parsed

    assert found["Namespace"].metadata.name == Settings.kubernetes_namespace
    policy = found["NetworkPolicy"].spec
    assert policy.policy_types == ["Ingress", "Egress"]
    assert not policy.ingress
    assert not policy.egress
    assert policy.pod_selector.match_labels is None
    verbs = {tuple(rule.resources): set(rule.verbs) for rule in found["Role"].rules}
    assert verbs == {
        ("pods",): {"create", "get", "list", "delete"},
        ("pods/attach", "pods/exec"): {"create", "get"},
    }
    assert found["ServiceAccount"].automount_service_account_token is False


def test_status_names_the_cluster(environment: pytest.MonkeyPatch, api_server: Cluster) -> None:
    shown = CliRunner().invoke(app, ["sandbox", "status"])
    assert shown.exit_code == 0, shown.output
    assert api_server.url in shown.output
    assert "openreg-sandbox" in shown.output


def test_a_script_can_be_tried_in_a_pod(
    operator: Callable[..., KubernetesTransformOperator],
    report: Path,
    api_server: Cluster,
    tmp_path: Path,
) -> None:
    (report / "report.yaml").write_text(REPORT)
    source = tmp_path / "trades.parquet"
    pq.write_table(TRADES, source)
    trial = try_out(
        load(report),
        report,
        date.fromisoformat(DAY),
        {"trades": source},
        settings=settings.load(),
        into=tmp_path / "trial",
    )
    assert trial.tables["trades"].rows == 3
    assert len(api_server.created) == 1
    assert not api_server.pods


def test_mapping_sets_go_into_the_pod_beside_the_inputs(
    operator: Callable[..., KubernetesTransformOperator],
    report: Path,
    api_server: Cluster,
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, "subprocess")
    bench.source("trades", TRADES)
    bench.mapping("venues", VENUES, {"code": "string"}, mic="string")
    job = bench.job(
        """
        def transform(inputs, context):
            trades = inputs["trades"]
            trades["mic"] = context.mapping("venues").map(trades["trade_id"], unmapped="none")
            return trades
        """
    )
    tables = operator().run_job(job, bench.output, None)
    assert tables["trades"].rows == 3
    assert {path.name for path in (tmp_path / "volume").iterdir()} == {
        "trades.parquet",
        "mapping-venues.parquet",
    }
    assert [use.name for use in bench.looked_up] == ["venues"]
