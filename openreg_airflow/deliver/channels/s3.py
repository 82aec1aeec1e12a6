"""S3, or what speaks its API.

A route's folder is ``bucket`` or ``bucket/prefix``. An object is there when its upload is
complete and not before, so there is no temporary name. Every upload goes in parts, also a small
one: its id, noted before the last step, tells afterwards whether that step was done, as a temporary
name does elsewhere. That step is conditional (``If-None-Match: *``), so that the store itself
refuses to overwrite. The store checks the SHA-256 that goes with each part.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import posixpath
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from openreg_airflow.deliver import faults
from openreg_airflow.deliver.channel import NameTakenError
from openreg_airflow.deliver.placing import look_for, put
from openreg_airflow.deliver.progress import Progress
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError, OpenRegError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from openreg_airflow.deliver.channel import Outcome, Parcel, Verify
    from openreg_airflow.deliver.connection import Connection

#: The API wants parts of at least 5 MiB, but for the last one.
_PART = 16 << 20
_SMALLEST_PART = 5 << 20
_READ = 4 << 20
_MISSING = ("404", "NoSuchKey", "NotFound")
#: Not ``ConditionalRequestConflict``: another request is under way then, and it is tried again.
_TAKEN = ("412", "PreconditionFailed")
_DENIED = ("403", "AccessDenied", "AllAccessDisabled")
_LOGIN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken")
_CLOCK = ("RequestTimeTooSkewed", "RequestExpired")
_NO_BUCKET = ("NoSuchBucket", "InvalidBucketName")
_UNKNOWN = ("NotImplemented", "MethodNotAllowed")

log = logging.getLogger(__name__)


class S3Channel:
    """Delivery into a bucket."""

    connection_types: ClassVar[tuple[str, ...]] = ("aws",)

    def destination(self, connection: Connection, folder: str, filename: str) -> str:  # noqa: ARG002
        """The place as a URL."""
        return f"s3://{'/'.join([*_parts(folder), filename])}"

    @contextmanager
    def open(self, connection: Connection, *, timeout_seconds: float) -> Iterator[S3Session]:
        """Make a client of the connection; nothing is sent yet."""
        if connection.s3 is None:
            raise connection.refused(fault="is not of type aws", hint="Use type aws.")
        try:
            client = connection.s3(timeout_seconds)
        except (ClientError, BotoCoreError, ValueError) as error:
            raise connection.refused(
                fault=f"cannot be used: {said(error)}", hint="Check credentials, region and role."
            ) from error
        try:
            yield S3Session(client, connection, timeout_seconds)
        finally:
            client.close()


class S3Session:
    """The buckets that one client reaches.

    Args:
        client: of boto3.
        connection: for messages.
        timeout_seconds: longest time without an answer; the client keeps it.
    """

    #: A store that tells nothing of its objects refuses with an error of its own.
    blind = False

    def __init__(self, client: Any, connection: Connection, timeout_seconds: float) -> None:
        self._client = client
        self._connection = connection
        self._timeout = timeout_seconds
        self._where = client.meta.endpoint_url

    def deliver(self, parcel: Parcel, folder: str, verify: Verify) -> Outcome:
        """Bring one parcel to a bucket."""
        return put(self, parcel, posixpath.join(*_parts(folder), parcel.filename), verify)

    def look(self, parcel: Parcel, folder: str) -> str:
        """Say what delivering it would find and do."""
        return look_for(self, parcel, posixpath.join(*_parts(folder), parcel.filename))

    def names(self, folder: str) -> list[str] | None:
        """The names right below a prefix; None when listing is not allowed."""
        bucket, prefix = self._split("/".join([*_parts(folder), ""]))
        with self._doing(f"listing {folder}"):
            try:
                pages = self._client.get_paginator("list_objects_v2").paginate(
                    Bucket=bucket, Prefix=prefix, Delimiter="/"
                )
                found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
            except ClientError as error:
                if code(error) in _DENIED:
                    return None
                raise
        return [name for key in found if (name := key.removeprefix(prefix))]

    def fetch(self, path: str, target: Path) -> None:
        """Copy an object to a new local file."""
        bucket, key = self._split("/".join(_parts(path)))
        with self._doing(f"fetching {path}"), target.open("xb") as file:
            answer = self._client.get_object(Bucket=bucket, Key=key)
            progress = Progress(f"fetched {path}", answer["ContentLength"])
            for block in answer["Body"].iter_chunks(_READ):
                file.write(block)
                progress.reached(file.tell())

    def size(self, path: str) -> int | None:
        """The size of an object; None when there is none."""
        bucket, key = self._split(path)
        with self._doing(f"looking for {path}"):
            try:
                return int(self._client.head_object(Bucket=bucket, Key=key)["ContentLength"])
            except ClientError as error:
                if code(error) not in _MISSING:
                    raise
            # HEAD answers the same for a missing bucket.
            self._client.head_bucket(Bucket=bucket)
            return None

    def changed(self, path: str) -> str:
        """When an object was last written, and its tag; empty when there is none."""
        bucket, key = self._split(path)
        with self._doing(f"looking for {path}"):
            try:
                found = self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if code(error) not in _MISSING:
                    raise
                return ""
            return f"{found['LastModified'].isoformat()} {found['ETag']}"

    def sha256(self, path: str) -> str | None:
        """Read an object and hash it; None when reading is not allowed."""
        bucket, key = self._split(path)
        digest = hashlib.sha256()
        with self._doing(f"reading {path}"):
            try:
                answer = self._client.get_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if code(error) in _DENIED:
                    return None
                raise
            progress, done = Progress(f"read back {path}", answer["ContentLength"]), 0
            for block in answer["Body"].iter_chunks(_READ):
                digest.update(block)
                done += len(block)
                progress.reached(done)
        return digest.hexdigest()

    def undone(self, temporary: str | None, path: str) -> bool:
        """Whether the upload of an id was never completed; it is there until it is."""
        if temporary is None:
            return False
        bucket, key = self._split(path)
        with self._doing(f"looking for an earlier upload of {path}"):
            try:
                self._client.list_parts(Bucket=bucket, Key=key, UploadId=temporary, MaxParts=1)
            except ClientError as error:
                if code(error) in (*_MISSING, *_DENIED, *_UNKNOWN, "NoSuchUpload"):
                    return False
                raise
        return True

    def put(self, parcel: Parcel, path: str) -> None:
        """Upload without overwriting."""
        bucket, key = self._split(path)
        with self._doing(f"sending {parcel.filename} as {path}"):
            try:
                self._upload(parcel, bucket, key)
            except ClientError as error:
                if code(error) in _TAKEN:
                    message = f"s3://{path} appeared while this artifact was being sent"
                    hint = "It was not overwritten. Find out what else delivers there."
                    raise NameTakenError(message, hint=hint) from error
                raise

    def _upload(self, parcel: Parcel, bucket: str, key: str) -> None:
        self._abort_leftovers(bucket, key)
        begun = self._client.create_multipart_upload(
            Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256"
        )
        upload: dict[str, Any] = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
        noted = False
        try:
            parts = self._send_parts(parcel, upload)
            parcel.journal.publishing(upload["UploadId"])
            noted = True
            self._complete(upload, parts)
        except BaseException:
            # What could be ended was not completed. Otherwise the next try finds out.
            if self._abort(upload) and noted:
                parcel.journal.withdrawn()
            raise

    def _send_parts(self, parcel: Parcel, upload: dict[str, Any]) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        done = 0
        progress = parcel.progress("sent")
        # At most 10,000 parts, says the API.
        size = max(_part(parcel), -(-parcel.bytes // 10_000))
        with parcel.path.open("rb") as file:
            while block := file.read(size):
                digest = base64.b64encode(hashlib.sha256(block).digest()).decode()
                number = len(parts) + 1
                answer = self._client.upload_part(
                    **upload, PartNumber=number, Body=block, ChecksumSHA256=digest
                )
                parts.append(
                    {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": digest}
                )
                done += len(block)
                progress.reached(done)
        return parts

    def _complete(self, upload: dict[str, Any], parts: list[dict[str, Any]]) -> None:
        self._client.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
        )

    def _abort_leftovers(self, bucket: str, key: str) -> None:
        """End what killed tries at the same name left unfinished; parts cost money for ever."""
        try:
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=bucket, Prefix=key
            )
            found = [entry for page in pages for entry in page.get("Uploads", [])]
        except ClientError as error:
            if code(error) not in (*_DENIED, *_UNKNOWN):
                raise
            log.warning("unfinished uploads in %s may not be listed: some may stay", bucket)
            return
        for entry in found:
            if entry["Key"] == key:
                log.info("ending an upload of %s that an interrupted try left behind", key)
                self._abort({"Bucket": bucket, "Key": key, "UploadId": entry["UploadId"]})

    def _abort(self, upload: dict[str, Any]) -> bool:
        try:
            self._client.abort_multipart_upload(**upload)
        except (ClientError, BotoCoreError) as error:
            log.warning("an unfinished upload of %s stays behind: %s", upload["Key"], said(error))
            return False
        return True

    def _split(self, path: str) -> tuple[str, str]:
        bucket, _, key = path.partition("/")
        return bucket, key

    @contextmanager
    def _doing(self, step: str) -> Iterator[None]:
        """Give the errors of one step their place and their class."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise self._translated(error, step) from error

    def _translated(self, error: ClientError | BotoCoreError, doing: str) -> OpenRegError:
        text = f"{self._where}: {said(error)} while {doing}"
        name = self._connection.id
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return self._connection.refused(
                fault="has no credentials", hint="Give it an access key, or the worker a role."
            )
        if isinstance(error, ParamValidationError) or code(error) in _NO_BUCKET:
            hint = "A route's folder is bucket/prefix; check the bucket's name."
            return DeliveryRefusedError(text, hint=hint)
        if code(error) in _LOGIN:
            return DeliveryRefusedError(
                f"{self._where} refuses the login of connection {name}: {said(error)}",
                hint=f"Check the access key and the secret of connection {name}.",
            )
        if code(error) in _DENIED:
            hint = "The login may not do that; check the bucket's policy, or ask the authority."
            return DeliveryRefusedError(f"permission denied: {text}", hint=hint)
        if code(error) in _MISSING:
            hint = "A route's folder is bucket/prefix; check the bucket's name."
            return DeliveryRefusedError(text, hint=hint)
        if code(error) in _UNKNOWN:
            hint = "The store lacks what keeps a file from being overwritten; use another channel."
            return DeliveryRefusedError(text, hint=hint)
        if isinstance(error, ReadTimeoutError | ConnectTimeoutError):
            return faults.silent(self._where, self._timeout, doing)
        if code(error) in _CLOCK:
            return DeliveryError(
                text, hint="This machine's clock is wrong; see to its time service."
            )
        if isinstance(error, ClientError):
            return DeliveryError(text, hint="It is tried again.")
        return faults.unreachable(self._where, doing, error)


def _part(parcel: Parcel) -> int:
    """Bytes of a part; a limited line waits after each one, so they are small there."""
    return max(parcel.block(_PART), _SMALLEST_PART)


def code(error: Exception) -> str:
    """The API's error code; empty for what is none of its answers."""
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def said(error: Exception) -> str:
    """What the store said; never the request, which may hold a signature."""
    if isinstance(error, ClientError):
        return f"{code(error)} {error.response['Error'].get('Message', '')}".strip()
    return str(error) if isinstance(error, BotoCoreError) else type(error).__name__


def _parts(folder: str) -> list[str]:
    return [part for part in folder.split("/") if part not in ("", ".")]
