"""The real ProFTPD, as a regulator would run it: plain, or with explicit or implicit TLS."""

from __future__ import annotations

import grp
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from openreg_airflow.deliver.connection import Connection
from tests.services import files_below, free_port, unavailable
from tests.services.account import account
from tests.services.certificates import Authority
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN = "bank"
#: Never to be read anywhere but here.
PASSWORD = "correct-horse-battery"  # noqa: S105
MODULES = Path("/usr/lib/proftpd")

_CONFIG = """\
ModulePath {modules}
LoadModule mod_digest.c
{tls}
ServerType standalone
DefaultServer on
DefaultAddress 127.0.0.1
SocketBindTight on
UseIPv6 off
Port {port}
{account}
ServerIdent off
UseReverseDNS off
RequireValidShell off
AuthOrder mod_auth_file.c
AuthUserFile {folder}/users
DefaultRoot {inbox}
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
DelayTable none
SystemLog {folder}/ftpd.log
TransferLog none
WtmpLog off
AllowOverwrite on
AllowStoreRestart on
{options}
"""

_TLS = """\
LoadModule mod_tls.c
TLSEngine on
TLSRequired on
TLSProtocol TLSv1.2 TLSv1.3
TLSLog {folder}/tls.log
TLSECCertificateFile {certificate}
TLSECCertificateKeyFile {key}
TLSOptions {tls_options}
"""


@dataclass
class FtpServer:
    """A running ProFTPD; a login starts in ``inbox`` and sees nothing else.

    Attributes:
        tls: ``explicit``, ``implicit`` or None.
        options: more lines of its configuration.
        data_sessions: what its TLS log says of the sessions of data connections.
    """

    folder: Path
    port: int
    tls: str | None = None
    options: str = ""
    authority: Authority | None = None
    host: str = "localhost"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def inbox(self) -> Path:
        """The folder that a login starts in."""
        return self.folder / "inbox"

    def connection(self, **changes: Any) -> Connection:
        """A connection that works; ``extra`` replaces single extra fields, None removes one."""
        extra: dict[str, Any] = {}
        if self.authority is not None:
            extra["ca_file"] = str(self.authority.certificate)
        if self.tls == "implicit":
            extra["implicit"] = True
        extra |= changes.pop("extra", {})
        fields = {
            "id": "regulator_ftp",
            "type": "ftp",
            "host": self.host,
            "port": self.port,
            "login": LOGIN,
            "password": PASSWORD,
            "extra": {name: value for name, value in extra.items() if value is not None},
        }
        return Connection(**(fields | changes))

    def files(self) -> dict[str, bytes]:
        """Everything that lies in the inbox, by path, temporary files included."""
        return files_below(self.inbox)

    def start(self, *, host: str = "localhost", **certificate: Any) -> None:
        """Start it and wait until it greets."""
        owner = account("nobody")
        tls = ""
        if self.tls is not None:
            self.authority = Authority(self.folder)
            pair = self.authority.pair("server", host=host, **certificate)
            tls = _TLS.format(
                folder=self.folder,
                certificate=pair.certificate,
                key=pair.key,
                # The default, without NoSessionReuseRequired: data connections must resume.
                tls_options="UseImplicitSSL" if self.tls == "implicit" else "StdEnvVars",
            )
        word = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"],
            input=PASSWORD.encode(),
            stdout=subprocess.PIPE,
            check=True,
        ).stdout.decode()
        uid, gid = (owner.pw_uid, owner.pw_gid) if owner else (os.getuid(), os.getgid())
        users = self.folder / "users"
        users.write_text(f"{LOGIN}:{word.strip()}:{uid}:{gid}::{self.inbox}:/bin/false\n")
        users.chmod(0o600)
        config = self.folder / "proftpd.conf"
        config.write_text(
            _CONFIG.format(
                modules=MODULES,
                tls=tls,
                port=self.port,
                account=f"User {owner.pw_name}\nGroup {grp.getgrgid(gid).gr_name}" if owner else "",
                folder=self.folder,
                inbox=self.inbox,
                options=self.options,
            )
        )
        with (self.folder / "stderr.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/proftpd", "--nodaemon", "--config", str(config)],
                stdout=log,
                stderr=log,
            )
        wait_until(self._greets, seconds=20)

    def stop(self) -> None:
        """Stop it and every login of it, at once."""
        if self.process is None:
            return
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()
        self.process = None

    def _greets(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            pytest.fail(f"proftpd ended: {(self.folder / 'stderr.log').read_text()}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as line:
            line.settimeout(5)
            # With implicit TLS the client speaks first.
            return self.tls == "implicit" or line.recv(3) == b"220"
        return False


@contextmanager
def running_ftpd(
    *, tls: str | None = None, options: str = "", host: str = "localhost", **certificate: Any
) -> Iterator[FtpServer]:
    """Run a ProFTPD.

    Args:
        tls: ``explicit``, ``implicit`` or None.
        options: more lines of its configuration.
        host: the name in its certificate.
        certificate: of :meth:`tests.services.certificates.Authority.pair`.
    """
    if not Path("/usr/sbin/proftpd").exists() or not (MODULES / "mod_tls.so").exists():
        unavailable("ProFTPD is not installed: apt-get install proftpd-core proftpd-mod-crypto")
    owner = account("nobody")
    # Not below pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="openreg-ftpd-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = FtpServer(folder, free_port(), tls, options)
        server.inbox.mkdir()
        if owner is not None:
            shutil.chown(server.inbox, owner.pw_uid, owner.pw_gid)
        server.start(host=host, **certificate)
        try:
            yield server
        finally:
            server.stop()
