"""One way of bringing a file to a server, in a process of its own; see deliver.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.memory import PeakMemory

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "report.xml"


def ours(given: dict[str, Any]) -> None:
    """The package's own channel, as a delivery uses it: temporary name, size, rename."""
    from openreg_airflow.deliver.channel import Parcel
    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.deliver.registry import load_channel

    parcel = Parcel(
        path=Path(given["file"]), filename=NAME, bytes=given["bytes"], sha256=given["sha256"]
    )
    connection = Connection(**given["connection"])
    channel = load_channel(given["channel"])
    with channel.open(connection, timeout_seconds=60) as session:
        session.deliver(parcel, ".", "size")


def hook(given: dict[str, Any]) -> None:
    """The provider's hook; it writes under the final name at once and checks less."""
    if given["channel"] == "sftp":
        from airflow.providers.sftp.hooks.sftp import SFTPHook

        SFTPHook(ssh_conn_id="bench").store_file(NAME, given["file"])
    else:
        from airflow.providers.ftp.hooks.ftp import FTPHook

        FTPHook(ftp_conn_id="bench").store_file(NAME, given["file"])


def openssh(given: dict[str, Any]) -> None:
    """OpenSSH's own client with the cipher that processors do fastest: nothing can be faster."""
    connection = given["connection"]
    known = Path(given["folder"]) / "known_hosts"
    address = f"[{connection['host']}]:{connection['port']}"
    known.write_text(f"{address} {connection['extra']['host_key']}\n")
    options = [
        *("-F", "none", "-b", "-", "-c", "aes128-gcm@openssh.com", "-P", str(connection["port"])),
        *("-i", connection["extra"]["key_file"]),
        *("-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={known}"),
    ]
    subprocess.run(
        ["sftp", "-q", *options, f"{connection['login']}@{connection['host']}"],
        input=f"put {given['file']} {NAME}\n".encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )


def curl(given: dict[str, Any]) -> None:
    """curl, with TLS where the channel has it."""
    connection = given["connection"]
    options = ["--disable", "--silent", "--show-error", "--upload-file", given["file"]]
    if given["channel"] == "ftps":
        options += ["--ssl-reqd", "--cacert", connection["extra"]["ca_file"]]
    # What a command line says everybody can read; so the login comes another way.
    login = f'user = "{connection["login"]}:{connection["password"]}"\n'
    address = f"ftp://{connection['host']}:{connection['port']}/{NAME}"
    subprocess.run(["curl", *options, "--config", "-", address], input=login.encode(), check=True)


WAYS: dict[str, Callable[[dict[str, Any]], None]] = {
    "ours": ours,
    "SFTPHook.store_file": hook,
    "FTPHook.store_file": hook,
    "OpenSSH sftp": openssh,
    "curl": curl,
}


def _import(way: str, given: dict[str, Any]) -> None:
    """Import what a way needs, which a worker has done before a task starts its work."""
    if way == "ours":
        from openreg_airflow.deliver.registry import load_channel

        load_channel(given["channel"])
    elif way == "SFTPHook.store_file":
        import airflow.providers.sftp.hooks.sftp
    elif way == "FTPHook.store_file":
        import airflow.providers.ftp.hooks.ftp  # noqa: F401


def main() -> None:
    """Go the way named by the first argument with what the second one's file describes."""
    way = sys.argv[1]
    given = json.loads(Path(sys.argv[2]).read_text())
    fields = {name: value for name, value in given["connection"].items() if name != "id"}
    fields["conn_type"] = fields.pop("type")
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(fields)
    _import(way, given)
    with PeakMemory() as memory:
        started = time.monotonic()
        WAYS[way](given)
        seconds = time.monotonic() - started
    arrived = Path(given["inbox"]) / NAME
    if arrived.stat().st_size != given["bytes"]:
        sys.exit(f"{way}: {arrived.stat().st_size} bytes arrived instead of {given['bytes']}")
    arrived.unlink()
    print(json.dumps({"seconds": seconds, "peak_rss_mb": memory.peak / (1 << 20)}))


if __name__ == "__main__":
    main()
