"""Bringing a file to a server on this machine: our channels, the providers' hooks, and clients.

``python -m benchmarks.deliver`` starts a private OpenSSH server and private ProFTPD servers, makes
a file of 1 GiB (``--rows`` MiB) of random bytes, and measures each way in a process of its own,
interleaved; the hook for SFTP once, since it takes a minute. Where memory has room, files are kept
in it, so that the line is measured and no disk. Memory is the sum over a way's process and all that
it starts.

Ours writes under a temporary name, compares the size and renames; the others write at once. The
provider's hook for FTPS is left out: the server, as it comes, refuses its data connections, which
begin a TLS session of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.table import Row, arguments, measure, show
from tests.services.ftpd import running_ftpd
from tests.services.sshd import running_sshd

if TYPE_CHECKING:
    from openreg_airflow.deliver.connection import Connection

_MIB = 1 << 20
_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system of the benchmark's own files
_MOST_MEMORY_MB = 200
#: For each channel the client that nothing can be faster than, the share of its speed that ours
#: has at least, the hook, and how many times as fast as it ours is at least.
_CLIENT = {"sftp": ("OpenSSH sftp", 0.6), "ftp": ("curl", 0.8), "ftps": ("curl", 0.8)}
#: Measured once.
_SLOW = ("SFTPHook.store_file",)
_HOOK = {"sftp": ("SFTPHook.store_file", 4.0), "ftp": ("FTPHook.store_file", None)}


def _make_file(path: Path, mib: int) -> str:
    """Write random bytes, which nothing on the way can make smaller, and hash them."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(mib):
            block = os.urandom(_MIB)
            digest.update(block)
            file.write(block)
    path.chmod(0o644)
    return digest.hexdigest()


def _rows(channel: str, mib: int, found: dict[str, tuple[float, float]]) -> list[Row]:
    """The table's rows for one channel; ratios are speeds against the client's."""
    client, share = _CLIENT[channel]
    hook, times = _HOOK.get(channel, (None, None))
    seconds, memory = found["ours"]
    wanted = [f">= {share:g} of {client}", f"<= {_MOST_MEMORY_MB} MB"]
    met = found[client][0] >= share * seconds and memory <= _MOST_MEMORY_MB
    if hook is not None and times is not None:
        wanted.insert(1, f">= {times:g}x {hook}")
        met = met and found[hook][0] >= times * seconds
    return [
        Row(
            work=f"{channel.upper()}, {mib:,} MiB",
            way=way,
            seconds=taken,
            rate=mib * _MIB / 1e6 / taken,
            unit="MB/s",
            peak_rss_mb=peak,
            ratio=found[client][0] / taken,
            target=", ".join(wanted) if way == "ours" else None,
            meets_target=met if way == "ours" else None,
        )
        for way, (taken, peak) in found.items()
    ]


def _plain(connection: Connection) -> dict[str, Any]:
    fields = asdict(connection)
    del fields["s3"]
    return fields


def main() -> None:
    """Measure, print, and write JSON when asked."""
    given = arguments(__doc__ or "", rows=1024)
    size = given.rows * _MIB
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 4 * size:
        tempfile.tempdir = str(_MEMORY)
    shown: list[Row] = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openreg-bench-")))
        environment = dict(os.environ) | {"AIRFLOW_HOME": str(scratch)}
        file = scratch / "artifact"
        described = {
            "file": str(file),
            "folder": str(scratch),
            "bytes": size,
            "sha256": _make_file(file, given.rows),
        }
        sshd = stack.enter_context(running_sshd())
        ftpd = stack.enter_context(running_ftpd())
        ftpsd = stack.enter_context(running_ftpd(tls="explicit"))
        for channel, server in (("sftp", sshd), ("ftp", ftpd), ("ftps", ftpsd)):
            job = scratch / f"{channel}.json"
            connection = _plain(server.connection())
            inbox = str(server.inbox)
            job.write_text(
                json.dumps(
                    described | {"channel": channel, "connection": connection, "inbox": inbox}
                )
            )
            ways = ["ours", _CLIENT[channel][0]]
            ways += [_HOOK[channel][0]] if channel in _HOOK else []
            commands = {way: ["-m", "benchmarks.deliver_ways", way, str(job)] for way in ways}
            found = measure(commands, repeats=given.repeats, environment=environment, once=_SLOW)
            shown += _rows(channel, given.rows, found)
    show("Delivery on this machine; ratio of speeds to the client", shown, given.json)


if __name__ == "__main__":
    main()
