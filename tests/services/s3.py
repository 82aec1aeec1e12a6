"""An S3 API over HTTP in a process of its own: moto's server, which keeps objects in memory."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from tests.services import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.config import Config

_REGION = "eu-central-1"
_KEY_ID = "test-key-id"
_SECRET = "test-secret"  # noqa: S105 - of a server of our own


def client_of(url: str, config: Config | None = None) -> Any:
    """A boto3 client that goes to a server of ours."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=_REGION,
        aws_access_key_id=_KEY_ID,
        aws_secret_access_key=_SECRET,
        config=config,
    )


@dataclass
class S3Server:
    """A running server; every test gets a bucket of its own."""

    port: int
    process: subprocess.Popen[bytes]
    host: str = "127.0.0.1"
    bucket: str = ""
    key_id: str = _KEY_ID
    secret: str = field(default=_SECRET, repr=False)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{self.host}:{self.port}"

    @property
    def client(self) -> Any:
        """A boto3 client, for what a test puts there and looks up."""
        return self.make_client(self.url)

    def make_client(self, url: str, config: Config | None = None) -> Any:
        """A boto3 client that goes to the server by another way, such as a proxy."""
        return client_of(url, config)

    def make_bucket(self) -> None:
        """Make the bucket."""
        self.client.create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": _REGION}
        )

    @property
    def connection_uri(self) -> str:
        """An Airflow connection of type ``aws``, as ``AIRFLOW_CONN_...`` takes it."""
        return json.dumps(
            {
                "conn_type": "aws",
                "login": self.key_id,
                "password": self.secret,
                "extra": {"endpoint_url": self.url, "region_name": _REGION},
            }
        )

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def objects(self) -> dict[str, bytes]:
        """Everything in the bucket, by key."""
        client = self.client
        found = client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return {
            entry["Key"]: client.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
            for entry in found
        }


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """Give a server that is stopped after the block."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # Proxies of the machine must not stand between the tests and a server of their own.
    environment = {k: v for k, v in os.environ.items() if not k.upper().endswith("_PROXY")}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    server = S3Server(port=port, process=process)
    try:
        end = time.monotonic() + 60
        while not _answers(server):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"the S3 server does not answer on port {port}")
        yield server
    finally:
        process.kill()
        process.wait()


def _answers(server: S3Server) -> bool:
    try:
        answer = httpx.get(f"{server.url}/moto-api/data.json", timeout=1, trust_env=False)
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK


@pytest.fixture(scope="session")
def _s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture
def s3(_s3: S3Server) -> S3Server:
    """A running S3 API with an empty bucket of the test's own."""
    _s3.bucket = f"test-{secrets.token_hex(6)}"
    _s3.make_bucket()
    return _s3
