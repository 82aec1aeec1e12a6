from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from openreg_airflow.deliver.channels.sftp import FAULTS, SftpChannel
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.errors import DeliveryRefusedError
from openreg_airflow.sftp.login import SftpLogin

if TYPE_CHECKING:
    from pathlib import Path

WORD = "never-to-be-seen"
KEY = asyncssh.generate_private_key("ssh-ed25519")
HOST_KEY = KEY.export_public_key().decode().strip()


def connection(*, extra: dict[str, Any] | None = None, **changes: Any) -> Connection:
    fields: dict[str, Any] = {
        "id": "regulator_sftp",
        "type": "sftp",
        "host": "inbox.example",
        "login": "bank",
        "password": WORD,
        "extra": {"host_key": HOST_KEY} if extra is None else extra,
    }
    return Connection(**(fields | changes))


def test_password_and_pinned_key_make_a_login() -> None:
    login = SftpLogin.of(connection(port=2222), FAULTS)

    assert (login.where, login.login, login.client_keys()) == ("inbox.example:2222", "bank", None)
    known = login.known_hosts()
    assert isinstance(known, tuple)
    assert known[0][0].export_public_key() == KEY.export_public_key()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"host": None}, "has no host"),
        ({"login": ""}, "has no login"),
        ({"password": None}, "neither a password nor a key"),
        ({"extra": {}}, "pins no host key"),
        ({"extra": {"host_key": ""}}, "pins no host key"),
        ({"extra": {"host_key": HOST_KEY, "no_host_key_check": True}}, "sets no_host_key_check"),
        ({"extra": {"host_key": HOST_KEY, "no_host_key_check": "True"}}, "sets no_host_key_check"),
        ({"extra": {"no_host_key_check": "true"}}, "sets no_host_key_check"),
        ({"extra": {"host_key": HOST_KEY, "allow_host_key_change": True}}, "never accepted"),
    ],
)
def test_connection_that_cannot_be_trusted_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(DeliveryRefusedError, match=said) as caught:
        SftpLogin.of(connection(**wrong), FAULTS)
    assert caught.value.hint
    assert "regulator_sftp" in str(caught.value)


def test_host_key_check_that_is_switched_on_is_fine() -> None:
    extra = {"host_key": HOST_KEY, "no_host_key_check": "false"}
    assert SftpLogin.of(connection(extra=extra), FAULTS).host_key == HOST_KEY


@pytest.mark.parametrize("text", ["ssh-ed25519 AAAA", "not a key", "  ", "ssh-ed25519"])
def test_host_key_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(DeliveryRefusedError, match=r"host.key"):
        SftpLogin.of(connection(extra={"host_key": text}), FAULTS).known_hosts()


def test_pinned_type_is_asked_for_first() -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key().decode()

    asked = SftpLogin.of(connection(extra={"host_key": rsa}), FAULTS).host_key_algorithms()

    assert asked[:2] == ("rsa-sha2-512", "rsa-sha2-256")
    assert "ssh-ed25519" in asked


@pytest.mark.parametrize("name", ["key_file", "known_hosts"])
def test_file_that_is_missing_is_refused_by_its_path(name: str, tmp_path: Path) -> None:
    extra = {name: str(tmp_path / "missing")}
    if name == "key_file":
        extra["host_key"] = HOST_KEY
    login = SftpLogin.of(connection(extra=extra), FAULTS)

    with pytest.raises(DeliveryRefusedError, match=str(tmp_path / "missing")):
        login.client_keys() if name == "key_file" else login.known_hosts()


def test_private_key_that_is_no_key_is_refused_without_its_text() -> None:
    login = SftpLogin.of(
        connection(extra={"host_key": HOST_KEY, "private_key": f"x{WORD}"}), FAULTS
    )

    with pytest.raises(DeliveryRefusedError, match="private_key that cannot be read") as caught:
        login.client_keys()
    assert WORD not in str(caught.value)


def test_encrypted_key_without_passphrase_is_refused() -> None:
    text = KEY.export_private_key(passphrase=WORD).decode()
    login = SftpLogin.of(connection(extra={"host_key": HOST_KEY, "private_key": text}), FAULTS)

    with pytest.raises(DeliveryRefusedError, match="private_key that cannot be read"):
        login.client_keys()


def test_secrets_stay_out_of_repr() -> None:
    extra = {"host_key": HOST_KEY, "private_key": WORD, "private_key_passphrase": WORD}
    used = connection(extra=extra)

    assert WORD not in repr(used)
    assert WORD not in repr(SftpLogin.of(used, FAULTS))


@pytest.mark.parametrize(
    ("changes", "folder", "url"),
    [
        ({}, ".", "sftp://inbox.example:22/a.xml"),
        ({"port": 2222}, "in/mifir/", "sftp://inbox.example:2222/in/mifir/a.xml"),
        ({"host": "::1"}, "/in", "sftp://[::1]:22/in/a.xml"),
    ],
)
def test_destination_is_a_url_without_credentials(
    changes: dict[str, Any], folder: str, url: str
) -> None:
    assert SftpChannel().destination(connection(**changes), folder, "a.xml") == url
