"""The real OpenSSH server, with SFTP alone, as a regulator would run it."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import psutil
import pytest

from openreg_airflow.deliver.connection import Connection
from openreg_airflow.demo.inbox import make_key_pair
from tests.services import files_below, free_port, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d {inbox} {options}
AllowTcpForwarding no
LogLevel VERBOSE
"""


@dataclass
class SshServer:
    """A running sshd; a client starts in ``inbox``."""

    folder: Path
    port: int
    login: str
    options: str = ""
    host: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = None

    @property
    def inbox(self) -> Path:
        """The folder that a login starts in."""
        return self.folder / "inbox"

    @property
    def key_file(self) -> Path:
        """A private key that may log in."""
        return self.folder / "client_key"

    @property
    def host_key(self) -> str:
        """The server's public key."""
        return (self.folder / "host_key.pub").read_text().strip()

    def connection(self, **changes: Any) -> Connection:
        """A connection that works; ``extra`` replaces single extra fields, None removes one."""
        extra = {"key_file": str(self.key_file), "host_key": self.host_key}
        extra |= changes.pop("extra", {})
        fields = {
            "id": "regulator_sftp",
            "type": "sftp",
            "host": self.host,
            "port": self.port,
            "login": self.login,
            "extra": {name: value for name, value in extra.items() if value is not None},
        }
        return Connection(**(fields | changes))

    def files(self) -> dict[str, bytes]:
        """Everything that lies in the inbox, by path, temporary files included."""
        return files_below(self.inbox)

    def start(self) -> None:
        """Start it and wait until it shows its host key."""
        (self.folder / "sshd_config").write_text(
            _CONFIG.format(
                folder=self.folder, inbox=self.inbox, port=self.port, options=self.options
            )
        )
        self._launch([_sshd_binary(), "-D", "-e", "-f", str(self.folder / "sshd_config")])

    def _launch(self, command: list[str]) -> None:
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log)
        end = time.monotonic() + 20
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                told = (self.folder / "sshd.log").read_text(errors="replace")
                self.stop()
                pytest.fail(f"sshd does not answer: {told}")

    def stop(self) -> None:
        """Stop it and every session of it, at once."""
        if self.process is None:
            return
        sessions = psutil.Process(self.process.pid).children(recursive=True)
        for process in sessions:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()
        self.process = None

    def _answers(self) -> bool:
        scan = subprocess.run(
            ["ssh-keyscan", "-T", "1", "-p", str(self.port), self.host],
            capture_output=True,
            check=False,
        )
        return b"ssh-ed25519" in scan.stdout


def _sshd_binary() -> str:
    return str(shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"))


@contextmanager
def running_sshd(options: str = "") -> Iterator[SshServer]:
    """Run an sshd; as root its login is ``nobody``, otherwise the one who runs the tests.

    Args:
        options: of ``internal-sftp``, for example ``-R`` for a server that writes nothing.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if not shutil.which("sshd", path=path) or not shutil.which("ssh-keyscan"):
        unavailable("OpenSSH's sshd is not installed: apt-get install openssh-server")
    root = os.geteuid() == 0
    if root:
        # Where sshd, started as root, locks its unprivileged half in.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    login = "nobody" if root else getpass.getuser()
    # Not below pytest's folder, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="openreg-sshd-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for key in ("host_key", "client_key", "other_key"):
            make_key_pair(folder / key, key)
        shutil.copy(folder / "client_key.pub", folder / "authorized_keys")
        server = SshServer(folder=folder, port=free_port(), login=login, options=options)
        server.inbox.mkdir()
        if root:
            account = pwd.getpwnam(login)
            os.chown(server.inbox, account.pw_uid, account.pw_gid)
        server.start()
        try:
            yield server
        finally:
            server.stop()


_JAIL_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile none
TrustedUserCAKeys {folder}/other_key.pub
PidFile none
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d /inbox
ChrootDirectory /mnt
AllowTcpForwarding no
LogLevel VERBOSE
"""
#: Logins and their words are known in the server's own view of the file system alone.
_JAIL_START = """\
set -e
mount --make-rprivate /
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
mount --bind "$1/jail" /mnt
exec "$2" -D -e -f "$1/sshd_config"
"""


class JailedSshServer(SshServer):
    """An sshd whose login is ``bank``, by password or certificate, shut into a folder."""

    word = "correct-horse-battery"

    @property
    def inbox(self) -> Path:
        """The folder that a login starts in."""
        return self.folder / "jail" / "inbox"

    def start(self) -> None:
        """Start it in a view of the file system of its own and wait for its host key."""
        owner = pwd.getpwnam("nobody")
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"],
            input=self.word.encode(),
            stdout=subprocess.PIPE,
            check=True,
        ).stdout.decode()
        passwd = Path("/etc/passwd").read_text()
        line = f"{self.login}:x:{owner.pw_uid}:{owner.pw_gid}::/inbox:/bin/false\n"
        (self.folder / "passwd").write_text(passwd + line)
        shadow = self.folder / "shadow"
        shadow.write_text(f"{self.login}:{hashed.strip()}:20000:0:99999:7:::\n")
        shadow.chmod(0o600)
        config = _JAIL_CONFIG.format(folder=self.folder, port=self.port)
        (self.folder / "sshd_config").write_text(config)
        command = ["unshare", "--mount", "sh", "-c", _JAIL_START, "sh", str(self.folder)]
        self._launch([*command, _sshd_binary()])


@contextmanager
def running_jailed_sshd() -> Iterator[JailedSshServer]:
    """Run an sshd for one jailed login; only root can."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        unavailable("a login of its own and a jail need root and CAP_SYS_ADMIN")
    with tempfile.TemporaryDirectory(prefix="openreg-sshd-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for key in ("host_key", "client_key", "other_key"):
            make_key_pair(folder / key, key)
        server = JailedSshServer(folder=folder, port=free_port(), login="bank")
        server.inbox.mkdir(parents=True)
        shutil.chown(server.inbox, "nobody", pwd.getpwnam("nobody").pw_gid)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def jailed_sshd() -> Iterator[JailedSshServer]:
    """A running sshd with one jailed login."""
    with running_jailed_sshd() as server:
        yield server


@pytest.fixture(scope="session")
def _sshd() -> Iterator[SshServer]:
    with running_sshd() as server:
        yield server


@pytest.fixture
def sshd(_sshd: SshServer) -> Iterator[SshServer]:
    """A running sshd with an empty inbox."""
    if _sshd.process is None:
        _sshd.start()
    yield _sshd
    for path in _sshd.inbox.iterdir():
        path.chmod(0o755)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.fixture(scope="session")
def read_only_sshd() -> Iterator[SshServer]:
    """A running sshd that lets nobody write."""
    with running_sshd("-R") as server:
        yield server


def other_host_key() -> str:
    """A public host key that no server has."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    return key.export_public_key().decode()
