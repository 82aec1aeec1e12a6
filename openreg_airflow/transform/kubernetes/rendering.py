"""The pod of one run: every limit and denial that it gets, in one place.

An admin's template and policies may say where pods run and what they are called. What the fence is
made of is set here, over whatever they say, and the cluster is asked afterwards whether it kept it:
admission may add containers, volumes and variables to any pod.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kubernetes.client import models as k8s
from kubernetes.utils.quantity import parse_quantity

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.transform.fence import ENVIRONMENT, PYTHON_OPTIONS
from openreg_airflow.transform.handover import FOLDER
from openreg_airflow.transform.image_contract import PYTHON, RUNNER

if TYPE_CHECKING:
    from openreg_airflow.transform.job import Job

#: The container that takes the inputs, and the one in which the script runs.
INTAKE, SCRIPT = "intake", "base"
#: Labels of every pod of the sandbox; the network policy selects the first.
SANDBOX, TASK = "openreg.org/sandbox", "openreg.org/task"
_ANNOTATIONS = "openreg.org/"
EXPIRES = f"{_ANNOTATIONS}expires"
_TMP = "/tmp"  # noqa: S108
_GROUP = 65534
_NOBODY = 65534
#: Users of pods that share the node's numbers: one a task, so that a limit on a user's processes
#: is a limit on a pod's.
_FIRST_USER, _USERS = 1_000_000, 1 << 28
_MEBIBYTE = 1 << 20
#: Seconds that pulling the image, handing over inputs and cleaning up may take beside a script.
GRACE = 900
_PLACEMENT = (
    "node_selector",
    "affinity",
    "tolerations",
    "topology_spread_constraints",
    "runtime_class_name",
    "image_pull_secrets",
    "priority_class_name",
    "scheduler_name",
    "host_users",
)


def render(base: k8s.V1Pod, image: str, job: Job, *, seccomp_profile: str | None) -> k8s.V1Pod:
    """The pod for a job.

    Args:
        base: a pod with name, namespace, labels and annotations; of its specification only what
            says where it runs is taken.
        image: the sandbox image, as the cluster can pull it.
        job: what runs.
        seccomp_profile: a profile on the nodes, relative to the kubelet's folder of them; the
            runtime's own when None.
    """
    limits = job.spec.limits
    data = sum(path.stat().st_size for path in job.files.values())
    disk = data // _MEBIBYTE + 64
    placement = {name: getattr(base.spec, name, None) for name in _PLACEMENT}
    user = _NOBODY if placement["host_users"] is False else user_of(job.key)
    runtime = k8s.V1SeccompProfile(type="RuntimeDefault")
    profile = runtime
    if seccomp_profile is not None:
        profile = k8s.V1SeccompProfile(type="Localhost", localhost_profile=seccomp_profile)
    inputs, tmp = "inputs", "tmp"
    intake = _container(
        INTAKE,
        image,
        "intake",
        security=_security(user, runtime),
        resources=_resources("500m", "256Mi", f"{disk}Mi"),
        mounts=[k8s.V1VolumeMount(name=inputs, mount_path=FOLDER)],
    )
    script = _container(
        SCRIPT,
        image,
        "keeper",
        security=_security(user, profile),
        resources=_resources(f"{round(limits.cpus * 1000)}m", f"{limits.memory_mb}Mi", f"{disk}Mi"),
        mounts=[
            k8s.V1VolumeMount(name=inputs, mount_path=FOLDER, read_only=True),
            k8s.V1VolumeMount(name=tmp, mount_path=_TMP),
        ],
    )
    spec = k8s.V1PodSpec(
        init_containers=[intake],
        containers=[script],
        volumes=[
            k8s.V1Volume(
                name=inputs,
                empty_dir=k8s.V1EmptyDirVolumeSource(size_limit=f"{disk - 32}Mi"),
            ),
            k8s.V1Volume(
                name=tmp,
                empty_dir=k8s.V1EmptyDirVolumeSource(
                    medium="Memory", size_limit=f"{limits.tmp_mb}Mi"
                ),
            ),
        ],
        restart_policy="Never",
        active_deadline_seconds=limits.seconds + GRACE,
        termination_grace_period_seconds=0,
        automount_service_account_token=False,
        enable_service_links=False,
        host_network=False,
        host_pid=False,
        host_ipc=False,
        share_process_namespace=False,
        hostname="sandbox",
        # No name server: a script learns nothing of the cluster.
        dns_policy="None",
        dns_config=k8s.V1PodDNSConfig(nameservers=["127.0.0.1"]),
        security_context=k8s.V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=user,
            run_as_group=_GROUP,
            seccomp_profile=runtime,
        ),
        **placement,
    )
    return k8s.V1Pod(api_version="v1", kind="Pod", metadata=_metadata(base, job), spec=spec)


def user_of(key: str) -> int:
    """The number of the user that a task's pod runs as, where it shares the node's numbers."""
    return _FIRST_USER + int(key.encode().hex()[:64], 16) % _USERS


def rlimits(job: Job) -> dict[str, int]:
    """Limits that Kubernetes cannot set; the runner sets them before the script starts."""
    limits = job.spec.limits
    return {
        "CORE": 0,
        "NOFILE": 1024,
        "FSIZE": limits.tmp_mb * _MEBIBYTE,
        "MSGQUEUE": 0,
        "NPROC": limits.processes,
    }


def check_accepted(asked: k8s.V1Pod, accepted: k8s.V1Pod) -> None:
    """Refuse to run in a pod that is not the one that was asked for.

    Args:
        asked: what :func:`render` made.
        accepted: what the cluster created of it.

    Raises:
        SandboxUnavailableError: names what differs.
    """
    for what, want, have in _vital(asked, accepted):
        if want != have:
            message = f"the cluster changed the sandbox pod's {what}: asked for {want}, got {have}"
            hint = (
                "Keep admission webhooks away from the sandbox's namespace, and compare the nodes "
                "with what docs/sandbox.md asks of a cluster."
            )
            raise SandboxUnavailableError(message, hint=hint)


def _vital(asked: k8s.V1Pod, accepted: k8s.V1Pod) -> Any:
    want, have = asked.spec, accepted.spec
    for name in (
        "automount_service_account_token",
        "active_deadline_seconds",
        "restart_policy",
        "dns_policy",
        "enable_service_links",
    ):
        yield name, getattr(want, name), getattr(have, name)
    for name in ("host_network", "host_pid", "host_ipc", "share_process_namespace"):
        yield name, False, bool(getattr(have, name))
    if want.host_users is False:
        yield "host_users", False, have.host_users
    if want.runtime_class_name:
        yield "runtime_class_name", want.runtime_class_name, have.runtime_class_name
    yield "security_context", _plain(want.security_context), _plain(have.security_context)
    yield "volumes", _plain(want.volumes), _plain(have.volumes)
    yield "ephemeral_containers", None, have.ephemeral_containers or None
    for kind in ("init_containers", "containers"):
        wanted, had = getattr(want, kind), getattr(have, kind) or []
        yield kind, [c.name for c in wanted], [c.name for c in had]
        for ours, theirs in zip(wanted, had, strict=True):
            for name in (
                "image", "command", "args", "env", "env_from", "volume_mounts", "volume_devices",
                "security_context", "lifecycle", "stdin", "stdin_once", "tty",
            ):  # fmt: skip
                want_part, have_part = _plain(getattr(ours, name)), _plain(getattr(theirs, name))
                yield f"{ours.name} {name}", want_part, have_part
            have_resources = _quantities(theirs.resources)
            yield f"{ours.name} resources", _quantities(ours.resources), have_resources


def _plain(value: Any) -> Any:
    """A model as plain values, without those that say nothing."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, dict):
        parts = {key: _plain(part) for key, part in value.items()}
        if size := parts.get("size_limit"):
            parts["size_limit"] = parse_quantity(size)
        return {key: part for key, part in parts.items() if part not in (None, {}, [], False)}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value] or None
    return value or None


def _quantities(resources: k8s.V1ResourceRequirements | None) -> dict[str, Any]:
    limits = (resources.limits if resources else None) or {}
    return {name: parse_quantity(limits[name]) for name in sorted(limits)}


def _metadata(base: k8s.V1Pod, job: Job) -> k8s.V1ObjectMeta:
    found = base.metadata
    return k8s.V1ObjectMeta(
        name=found.name,
        namespace=found.namespace,
        labels={**(found.labels or {}), SANDBOX: "true", TASK: job.key},
        annotations={
            **(found.annotations or {}),
            f"{_ANNOTATIONS}report": job.run.report_id,
            f"{_ANNOTATIONS}run": job.run.run_id,
            f"{_ANNOTATIONS}business-date": job.run.business_date.isoformat(),
            EXPIRES: str(int(time.time()) + job.spec.limits.seconds + GRACE),
            # A mesh would add a container with a network and a token of its own.
            "sidecar.istio.io/inject": "false",
            "linkerd.io/inject": "disabled",
        },
    )


def _container(
    name: str,
    image: str,
    module: str,
    *,
    security: k8s.V1SecurityContext,
    resources: k8s.V1ResourceRequirements,
    mounts: list[k8s.V1VolumeMount],
) -> k8s.V1Container:
    environment = {**ENVIRONMENT, "HOME": _TMP, "TMPDIR": _TMP}
    return k8s.V1Container(
        name=name,
        image=image,
        command=[PYTHON, *PYTHON_OPTIONS, "-m", f"{RUNNER}.{module}"],
        env=[k8s.V1EnvVar(name=key, value=value) for key, value in environment.items()],
        working_dir=_TMP,
        stdin=True,
        # When the line of the task breaks, so does standard input, and the container ends.
        stdin_once=True,
        tty=False,
        security_context=security,
        resources=resources,
        volume_mounts=mounts,
        termination_message_policy="File",
    )


def _security(user: int, profile: k8s.V1SeccompProfile) -> k8s.V1SecurityContext:
    return k8s.V1SecurityContext(
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=_GROUP,
        read_only_root_filesystem=True,
        allow_privilege_escalation=False,
        privileged=False,
        capabilities=k8s.V1Capabilities(drop=["ALL"]),
        seccomp_profile=profile,
    )


def _resources(cpu: str, memory: str, disk: str) -> k8s.V1ResourceRequirements:
    """Limits, and the same as requests: a script has what its spec says, and no more."""
    amounts = {"cpu": cpu, "memory": memory, "ephemeral-storage": disk}
    return k8s.V1ResourceRequirements(limits=dict(amounts), requests=dict(amounts))
