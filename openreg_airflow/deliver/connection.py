"""An Airflow connection as a plain object, so that channels know no Airflow."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from openreg_airflow.errors import DeliveryRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where to deliver and with which credentials; secrets stay out of its ``repr``.

    Attributes:
        id: the Airflow connection's id.
        type: its type, such as ``sftp``.
        schema: of an ``http`` connection: ``https`` or ``http``.
        extra: its extra fields.
        s3: for type ``aws``: makes a boto3 client with everything that the connection says; it
            takes the longest silence in seconds.
    """

    id: str
    type: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    s3: Callable[[float], Any] | None = field(default=None, repr=False)

    @property
    def account(self) -> str:
        """What tells two destinations of the same address apart: whose folder is meant.

        An access key of S3 is not: keys change, and a bucket is the same for all of them.
        """
        if self.type == "aws":
            return str(self.extra.get("endpoint_url") or "")
        return self.login or ""

    def refuse_unsound(self) -> None:
        """See that no secret stands where it would be shown, and none breaks a protocol's line.

        Raises:
            DeliveryRefusedError: the host has more than a host, or a secret a control character.
        """
        hint = "Put login and password into their own fields, a token into the extra's headers."
        if any(not c.isprintable() or c in "@?# " for c in self.host or ""):
            raise self.refused(fault="has more than a host in its host", hint=hint)
        endpoint = str(self.extra.get("endpoint_url") or "")
        if any(mark in endpoint for mark in "@?#"):
            raise self.refused(fault="has more than an address in its endpoint_url", hint=hint)
        for name, value in (("login", self.login), ("password", self.password)):
            if any(ord(c) < 32 or ord(c) == 127 for c in value or ""):
                raise self.refused(
                    fault=f"has a line break or another control character in its {name}",
                    hint="It was perhaps copied with the end of its line: type it in again.",
                )

    def unsaid(self, text: str) -> str:
        """A server's words without the password, which some repeat as they were given it."""
        password, login = self.password or "", self.login or ""
        if not password:
            return text
        given = (f"\0{login}\0{password}", f"{login}:{password}", password)
        packed = (base64.b64encode(each.encode()).decode() for each in given)
        for form in (*packed, quote(password, safe=""), password):
            text = text.replace(form, "***")
        return text

    def refused(self, *, fault: str, hint: str) -> DeliveryRefusedError:
        """The error for a connection that cannot be used as it is.

        Args:
            fault: the rest of the sentence that begins with the connection's name.
            hint: what to do about it.
        """
        return DeliveryRefusedError(f"connection {self.id} {fault}", hint=hint)
