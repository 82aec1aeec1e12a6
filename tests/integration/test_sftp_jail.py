"""A login by password or certificate, shut into its folder, as authorities give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from openreg_airflow.deliver.channels.sftp import SftpChannel
from openreg_airflow.errors import DeliveryRefusedError
from tests.integration.test_channel_contract import WRONG, make_parcel

if TYPE_CHECKING:
    from pathlib import Path

    from openreg_airflow.deliver.connection import Connection
    from tests.services.sshd import JailedSshServer


def deliver(connection: Connection, folder: Path, name: str, to: str = "in") -> None:
    with SftpChannel().open(connection, timeout_seconds=20) as session:
        session.deliver(make_parcel(folder, name=name), to, "content")


def by_password(server: JailedSshServer, word: str) -> Connection:
    return server.connection(password=word, extra={"key_file": None})


def test_a_jailed_login_delivers_by_password(jailed_sshd: JailedSshServer, tmp_path: Path) -> None:
    deliver(by_password(jailed_sshd, jailed_sshd.word), tmp_path, "password.xml")
    assert jailed_sshd.files()["in/password.xml"] == (tmp_path / "artifact").read_bytes()


def test_a_wrong_password_is_refused_and_told_nowhere(
    jailed_sshd: JailedSshServer, tmp_path: Path
) -> None:
    with pytest.raises(DeliveryRefusedError, match="refuses the login of bank") as caught:
        deliver(by_password(jailed_sshd, WRONG), tmp_path, "wrong.xml")
    assert WRONG not in str(caught.value)
    assert "in/wrong.xml" not in jailed_sshd.files()


def test_nothing_outside_the_jail_can_be_written(
    jailed_sshd: JailedSshServer, tmp_path: Path
) -> None:
    connection = by_password(jailed_sshd, jailed_sshd.word)
    with pytest.raises(DeliveryRefusedError, match="Permission denied"):
        deliver(connection, tmp_path, "escaped.xml", to="/elsewhere")
    assert not (jailed_sshd.folder / "jail" / "elsewhere").exists()


def certificate(server: JailedSshServer, principal: str) -> dict[str, Any]:
    """A key of the bank's, certified for a login by the authority that the server trusts."""
    authority = asyncssh.read_private_key(str(server.folder / "other_key"))
    key = asyncssh.read_private_key(str(server.key_file))
    signed = authority.generate_user_certificate(key, "the bank", principals=[principal])
    return {"certificate": signed.export_certificate().decode()}


def test_a_certificate_lets_in_where_a_key_alone_does_not(
    jailed_sshd: JailedSshServer, tmp_path: Path
) -> None:
    with pytest.raises(DeliveryRefusedError, match="refuses the login"):
        deliver(jailed_sshd.connection(), tmp_path, "key.xml")
    extra = certificate(jailed_sshd, "bank")
    deliver(jailed_sshd.connection(extra=extra), tmp_path, "certificate.xml")
    file = tmp_path / "bank-cert.pub"
    file.write_text(extra["certificate"])
    again = {"certificate_file": str(file)}
    deliver(jailed_sshd.connection(extra=again), tmp_path, "certificate_file.xml")
    arrived = jailed_sshd.files()
    assert "in/certificate.xml" in arrived
    assert "in/certificate_file.xml" in arrived
    assert "in/key.xml" not in arrived


def test_a_certificate_for_another_login_is_refused(
    jailed_sshd: JailedSshServer, tmp_path: Path
) -> None:
    connection = jailed_sshd.connection(extra=certificate(jailed_sshd, "somebody-else"))
    with pytest.raises(DeliveryRefusedError, match="refuses the login"):
        deliver(connection, tmp_path, "other.xml")


@pytest.mark.parametrize(
    "extra", [{"certificate": "no certificate"}, {"certificate_file": "/nowhere-cert.pub"}]
)
def test_a_certificate_that_cannot_be_read_is_named(
    jailed_sshd: JailedSshServer, tmp_path: Path, extra: dict[str, Any]
) -> None:
    with pytest.raises(DeliveryRefusedError, match=r"certificate.*cannot be read"):
        deliver(jailed_sshd.connection(extra=extra), tmp_path, "bad.xml")
