"""ftplib with what regulators' servers ask for and the standard library leaves out.

Data connections of FTPS resume the TLS session of the control connection, which ProFTPD and
vsftpd demand by default: it proves that both belong to the same client. Implicit TLS speaks TLS
from the first byte. In active mode the client listens on the address of its control connection
alone, and takes a data connection from its server alone.
"""

from __future__ import annotations

import ftplib
import socket
import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openreg_airflow.deliver.channels.ftp_login import FtpLogin


class _OnOneAddress(ftplib.FTP):
    """Active mode on the control connection's own address."""

    def makeport(self) -> socket.socket:
        """Listen for the server's data connection and tell it where."""
        control = self._control
        host = control.getsockname()[0]
        listener = _OnePeer.listen(host, control.getpeername()[0], self.af)
        listener.settimeout(control.gettimeout())
        port = listener.getsockname()[1]
        if self.af == socket.AF_INET:
            self.sendport(host, port)
        else:
            self.sendeprt(host, port)
        return listener

    @property
    def _control(self) -> socket.socket:
        if self.sock is None:
            message = "not connected"
            raise EOFError(message)
        return self.sock


class _OnePeer(socket.socket):
    """A listening socket that takes a connection from one host alone."""

    peer: str

    @classmethod
    def listen(cls, host: str, peer: str, family: int) -> _OnePeer:  # type: ignore[override]
        """Listen on a free port of ``host`` for a connection from ``peer``."""
        listener = cls(family, socket.SOCK_STREAM)
        try:
            listener.bind((host, 0))
            socket.socket.listen(listener, 1)
        except OSError:
            listener.close()
            raise
        listener.peer = peer
        return listener

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept; a stranger's connection is closed and the next one awaited."""
        while True:
            connection, address = super().accept()
            if address[0] == self.peer:
                return connection, address
            connection.close()


class PlainClient(_OnOneAddress):
    """FTP without TLS."""

    def enter(self, login: FtpLogin) -> None:
        """Log in."""
        self.login(login.login, login.password or "")


class TlsClient(_OnOneAddress, ftplib.FTP_TLS):
    """FTPS, explicit or implicit; nothing goes over an open line but the wish for TLS."""

    implicit = False

    def connect(self, *args: Any, **kwargs: Any) -> str:
        """Connect; with implicit TLS the handshake comes before the server's greeting."""
        if not self.implicit:
            return super().connect(*args, **kwargs)
        host, port, timeout = (*args, *kwargs.values())
        self.host, self.port, self.timeout = host, port, timeout
        line = socket.create_connection((host, port), timeout)
        try:
            self.sock = self.context.wrap_socket(line, server_hostname=host)
        except BaseException:
            line.close()
            raise
        self.af = self.sock.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def enter(self, login: FtpLogin) -> None:
        """Log in over TLS, and encrypt the data connections too."""
        # FTP_TLS asks for TLS by itself before it sends the login, unless TLS is there.
        self.login(login.login, login.password or "")
        self.prot_p()

    def ntransfercmd(
        self, cmd: str, rest: int | str | None = None
    ) -> tuple[socket.socket, int | None]:
        """Begin a transfer whose TLS resumes the control connection's session."""
        # Not FTP_TLS's own: it begins a new TLS session for each data connection.
        line, size = ftplib.FTP.ntransfercmd(self, cmd, rest)  # noqa: S321 - TLS follows
        control = self._control
        session = control.session if isinstance(control, ssl.SSLSocket) else None
        try:
            secured = self.context.wrap_socket(line, server_hostname=self.host, session=session)
        except BaseException:
            line.close()
            raise
        return secured, size
