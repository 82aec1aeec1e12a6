"""How the certificate of a server is checked: always, its name included.

The extra fields ``ca_file`` or ``ca_cert`` of a connection name the certificate authorities to
trust instead of the system's (a path, or their text); ``cert_file`` with ``key_file`` a certificate
of our own, where the server asks for one.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from openreg_airflow.errors import DeliveryRefusedError

if TYPE_CHECKING:
    from openreg_airflow.deliver.connection import Connection


def trust(connection: Connection) -> ssl.SSLContext:
    """The context for TLS to the connection's host.

    Raises:
        DeliveryRefusedError: a file of certificates or a key cannot be read.
    """
    extra = connection.extra
    try:
        context = ssl.create_default_context(
            cafile=extra.get("ca_file") or None, cadata=extra.get("ca_cert") or None
        )
        if extra.get("cert_file"):
            context.load_cert_chain(extra["cert_file"], extra.get("key_file") or None)
    except (OSError, ValueError) as error:
        # The text of such an error names no more than the reason: OpenSSL's or the system's.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise connection.refused(
            fault=f"names certificates or a key that cannot be read: {reason}",
            hint="Check ca_file, ca_cert, cert_file and key_file; files must be on every worker.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def untrusted(
    where: str, connection: Connection, error: ssl.SSLCertVerificationError
) -> DeliveryRefusedError:
    """The error for a server whose certificate does not hold."""
    return DeliveryRefusedError(
        f"the certificate of {where} is not trusted: {error.verify_message}",
        hint="Ask the authority for its certificate authority and put it into the extra field "
        f"ca_file or ca_cert of connection {connection.id}; check this machine's clock.",
    )
