"""The fence itself: every limit and denial that a container gets, in one place.

The engine is told each of them and asked afterwards whether it took it: an engine or a kernel
that cannot hold a limit resets it without failing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.transform import seccomp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker import APIClient
    from docker.types import Mount

    from openreg_airflow.transform.spec import Limits

log = logging.getLogger(__name__)

#: nobody and nogroup, by number: an image may name them otherwise.
USER = "65534:65534"
_MEBIBYTE = 1 << 20
_SHM = 16 * _MEBIBYTE
_FILES = 1024
#: Limits without which there is no fence. Swap is not among them: where the kernel does not count
#: it, the memory limit still holds.
_VITAL = (
    "Memory",
    "NanoCpus",
    "PidsLimit",
    "ReadonlyRootfs",
    "NetworkMode",
    "Privileged",
    "CapDrop",
    "SecurityOpt",
    "Tmpfs",
    "IpcMode",
    "Ulimits",
    "LogConfig",
)


def host_config(client: APIClient, limits: Limits, mounts: Sequence[Mount]) -> dict[str, Any]:
    """The engine's settings for one container.

    Args:
        client: the engine, for its version of the API.
        limits: from the spec, checked against the installation's.
        mounts: the inputs, read-only.
    """
    from docker.types import LogConfig, Ulimit

    memory = limits.memory_mb * _MEBIBYTE
    tmp = limits.tmp_mb * _MEBIBYTE
    config: dict[str, Any] = client.create_host_config(
        network_mode="none",
        read_only=True,
        privileged=False,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true", f"seccomp={seccomp.profile()}"],
        ipc_mode="private",
        shm_size=_SHM,
        mem_limit=memory,
        # Memory and swap together: the same number leaves nothing for swap.
        memswap_limit=memory,
        nano_cpus=round(limits.cpus * 1_000_000_000),
        pids_limit=limits.processes,
        ulimits=[
            Ulimit(name="nofile", soft=_FILES, hard=_FILES),
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="fsize", soft=tmp, hard=tmp),
            Ulimit(name="msgqueue", soft=0, hard=0),
        ],
        tmpfs={"/tmp": f"rw,noexec,nosuid,nodev,mode=1777,size={tmp}"},  # noqa: S108
        # Nothing is logged on the engine's disk; what is printed is counted and cut by the task.
        log_config=LogConfig(type=LogConfig.types.NONE),
        auto_remove=False,
        restart_policy={"Name": "no"},
        mounts=list(mounts),
    )
    return config


def check_accepted(asked: dict[str, Any], accepted: dict[str, Any]) -> None:
    """Refuse to run where the engine did not take a limit.

    Args:
        asked: what :func:`host_config` said.
        accepted: the ``HostConfig`` of the created container.

    Raises:
        SandboxUnavailableError: names the first limit that would not hold.
    """
    for key in _VITAL:
        if _plain(asked.get(key)) != _plain(accepted.get(key)):
            message = (
                f"the container engine does not hold the limit {key}: asked for "
                f"{asked.get(key)}, got {accepted.get(key)}"
            )
            hint = "Use an engine and a kernel that can; `docker info` shows its warnings."
            raise SandboxUnavailableError(message, hint=hint)
    if asked["MemorySwap"] != accepted.get("MemorySwap"):
        log.warning("the container engine cannot limit swap; the memory limit holds without it")


def _plain(value: Any) -> Any:
    """Values as both sides of the API spell them: order and empty values say nothing."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if part not in (None, {}, [])}
    if isinstance(value, list | tuple):
        return sorted((_plain(part) for part in value), key=repr)
    return value or None
