"""Files on S3 or what speaks its API."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from openreg_airflow.errors import OpenRegError, SourceError, SourceUnavailableError
from openreg_airflow.extract.files.place import FetchedFile, FoundFile, changed, receive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openreg_airflow.extract.files.place import FileConnection

#: Small, since nothing can be stopped before a whole one came.
_BLOCK = 64 << 10
_MISSING = frozenset({"404", "NoSuchKey"})
#: Answers that another try will not change.
_FINAL = frozenset(
    {
        "403",
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidBucketName",
        "InvalidObjectState",
        "InvalidToken",
        "NoSuchBucket",
        "SignatureDoesNotMatch",
    }
)


class S3Files:
    """Buckets that one connection reaches; see :class:`~.place.Place`.

    Args:
        client: of boto3.
        conn_id: for messages.
    """

    def __init__(self, client: Any, conn_id: str) -> None:
        self._client = client
        self._conn_id = conn_id
        self.server = f"S3 {client.meta.endpoint_url}"

    def names(self, folder: str) -> Iterator[str]:
        """The names directly below a prefix."""
        bucket, prefix = self._split(folder)
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, Delimiter="/"
        )
        try:
            for page in pages:
                for entry in page.get("Contents", []):
                    if name := entry["Key"].removeprefix(prefix):
                        yield name
        except (ClientError, BotoCoreError) as error:
            raise self._translated(error, folder) from error

    def stat(self, path: str) -> FoundFile | None:
        """What is known of an object."""
        bucket, key = self._split(path)
        try:
            head = self._client.head_object(Bucket=bucket, Key=key)
        except (ClientError, BotoCoreError) as error:
            if _code(error) in _MISSING and self._has(bucket, path):
                return None
            raise self._translated(error, path) from error
        return FoundFile(
            path=path,
            bytes=head["ContentLength"],
            version=head["ETag"],
            modified=head["LastModified"].isoformat(),
        )

    def fetch(self, found: FoundFile, scratch: Path, check: Callable[[], None]) -> FetchedFile:
        """Download the object of the version that was found."""
        bucket, key = self._split(found.path)
        target = scratch / f"{len(list(scratch.iterdir()))}"
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key, IfMatch=found.version)
            return receive(found, answer["Body"].iter_chunks(_BLOCK), target, check)
        except (ClientError, BotoCoreError) as error:
            if _code(error) in ("412", "PreconditionFailed", *_MISSING):
                raise changed(found, self.stat(found.path)) from error
            raise self._translated(error, found.path) from error

    def check(self) -> None:
        """Ask for anything that needs valid credentials, to see whether the connection works."""
        try:
            self._client.list_buckets()
        except (ClientError, BotoCoreError) as error:
            # A login that may read one bucket need not be allowed to list all of them.
            if _code(error) != "AccessDenied":
                raise self._translated(error, "its buckets") from error

    def _has(self, bucket: str, path: str) -> bool:
        """Whether the bucket is there: HEAD answers 404 for either."""
        try:
            self._client.head_bucket(Bucket=bucket)
        except (ClientError, BotoCoreError) as error:
            if _code(error) in _MISSING:
                message = f"there is no bucket {bucket} ({self.server})"
                raise SourceError(message, where=path, hint="Correct `path:`.") from error
            if _code(error) != "403":  # it may be read, but not be asked about
                raise self._translated(error, path) from error
        return True

    def _split(self, path: str) -> tuple[str, str]:
        if not path.startswith("s3://"):
            message = f"{path} is not a path on S3"
            raise SourceError(message, where=path, hint="Write s3://bucket/key.")
        bucket, _, key = path.removeprefix("s3://").partition("/")
        return bucket, key

    def _translated(self, error: Exception, path: str) -> OpenRegError:
        message = f"{self.server}, connection {self._conn_id}: {_said(error)} for {path}"
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            hint = "Give the connection an access key, or the worker a role."
            return SourceError(message, where=path, hint=hint)
        if isinstance(error, ParamValidationError):
            return SourceError(message, where=path, hint="Correct `path:`.")
        if _code(error) in _FINAL:
            hint = f"Check the credentials of connection {self._conn_id} and the bucket's policy."
            return SourceError(message, where=path, hint=hint)
        return SourceUnavailableError(message, where=path, hint="It is tried again.")


@contextmanager
def open_s3(connection: FileConnection) -> Iterator[S3Files]:
    """Give what the connection reaches."""
    assert connection.s3 is not None  # noqa: S101 - made for connections of this type
    try:
        client = connection.s3()
    except (ClientError, BotoCoreError, ValueError) as error:
        message = f"connection {connection.id} cannot be used: {_said(error)}"
        raise SourceError(message, hint="Check its credentials, region and role.") from error
    try:
        yield S3Files(client, connection.id)
    finally:
        client.close()


def _code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def _said(error: Exception) -> str:
    """What the server said; never the request, which may hold a signature."""
    if isinstance(error, ClientError):
        return f"{_code(error)} {error.response['Error'].get('Message', '')}".strip()
    return type(error).__name__ if isinstance(error, ValueError) else str(error)
