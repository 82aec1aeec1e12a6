"""The container engine: where it is, and what its errors mean here."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import SandboxUnavailableError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import APIClient

_LOCAL = "unix:///var/run/docker.sock"
_NO_ENGINE = (
    "Start Docker, or name its engine by DOCKER_HOST or by [openreg] docker_conn_id; "
    "`openreg sandbox status` tells what is found."
)


@dataclass(frozen=True)
class EngineAddress:
    """Where an engine listens.

    Attributes:
        url: ``unix:///path`` or ``tcp://host:port``.
        ca_cert, client_cert, client_key: PEM files for TLS; all three or none.
    """

    url: str = _LOCAL
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    @property
    def local(self) -> bool:
        """Whether it may share this machine's files."""
        return self.url.startswith("unix:")


def address_from_environment(environment: Mapping[str, str] = os.environ) -> EngineAddress:
    """The engine that Docker's own variables name, or the local one.

    They are ``DOCKER_HOST``, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``, as for the
    ``docker`` command.
    """
    url = environment.get("DOCKER_HOST") or _LOCAL
    if not environment.get("DOCKER_TLS_VERIFY"):
        return EngineAddress(url)
    folder = Path(environment.get("DOCKER_CERT_PATH") or "~/.docker").expanduser()
    files = (str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    return EngineAddress(url, *files)


def address_from_connection(
    host: str | None, port: int | None, extra: Mapping[str, Any]
) -> EngineAddress:
    """The engine that an Airflow connection names.

    Args:
        host: a host name, or a whole URL.
        port: 2376 for TLS and 2375 without, when not given.
        extra: ``tls_ca_cert``, ``tls_client_cert`` and ``tls_client_key``: PEM files on the
            worker.

    Raises:
        SpecError: the connection names no host, or not all three files.
    """
    names = ("tls_ca_cert", "tls_client_cert", "tls_client_key")
    files = [str(extra[name]) for name in names if extra.get(name)]
    if not host:
        message = "the connection of the Docker engine names no host"
        raise SpecError(message, hint="Set its host, or a URL such as unix:///var/run/docker.sock.")
    if files and len(files) != len(names):
        message = f"the connection of the Docker engine needs all of {', '.join(names)}, or none"
        raise SpecError(message, hint="Give PEM files that exist on every worker.")
    url = host if "://" in host else f"tcp://{host}:{port or (2376 if files else 2375)}"
    return EngineAddress(url, *files)


def connect(address: EngineAddress) -> APIClient:
    """A client of an engine that answers.

    Raises:
        SandboxUnavailableError: it does not answer.
    """
    import docker

    class Client(docker.APIClient):
        def merge_environment_settings(
            self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> Any:
            # REQUESTS_CA_BUNDLE would otherwise win over the engine's own authority.
            own = self.verify if verify is None else verify
            return super().merge_environment_settings(url, proxies, stream, own, cert)

    with engine_errors(f"the container engine at {address.url}"):
        tls: Any = False
        url = address.url
        if address.ca_cert and address.client_cert and address.client_key:
            pair = (address.client_cert, address.client_key)
            tls = docker.TLSConfig(client_cert=pair, ca_cert=address.ca_cert, verify=True)
            url = url.replace("tcp://", "https://", 1)
        client = Client(base_url=url, tls=tls)
        client.ping()
        return client


@contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Name what failed when the engine refuses or cannot be reached.

    Raises:
        SandboxUnavailableError: in place of the client's own errors.
    """
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as error:
        message = f"{what}: {error.explanation or error}"
        raise SandboxUnavailableError(message, hint=_NO_ENGINE) from error
    except (DockerException, RequestException, OSError) as error:
        message = f"{what} does not answer: {error}"
        raise SandboxUnavailableError(message, hint=_NO_ENGINE) from error
