from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from openreg_airflow.errors import SandboxUnavailableError
from openreg_airflow.transform.build import build_image
from openreg_airflow.transform.commands import app
from openreg_airflow.transform.image_contract import checked_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.docker_engine import DockerEngine


@pytest.fixture
def environment(
    sandbox_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    for name, value in sandbox_environment.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_status_names_engine_and_image(
    environment: pytest.MonkeyPatch, docker_engine: DockerEngine, sandbox_image: str
) -> None:
    result = CliRunner().invoke(app, ["status"])

    assert result.exit_code == 0
    assert docker_engine.url in result.output
    assert checked_image(docker_engine.client, sandbox_image) in result.output


def test_status_fails_without_the_image(environment: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["status", "--name", "openreg-sandbox:nobody-built-this"])

    assert result.exit_code == 1
    assert "openreg sandbox build" in result.output


def test_status_fails_without_an_engine(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    result = CliRunner().invoke(app, ["status"])

    assert result.exit_code == 1
    assert "does not answer" in result.output


def test_build_on_a_named_base_replaces_the_image(
    environment: pytest.MonkeyPatch, docker_engine: DockerEngine, sandbox_base: str
) -> None:
    name = "openreg-sandbox:test-built-by-command"
    client = docker_engine.client
    try:
        result = CliRunner().invoke(app, ["build", "--base", sandbox_base, "--name", name])
        assert result.exit_code == 0, result.output
        assert checked_image(client, name) in result.output
    finally:
        client.remove_image(name, force=True)


def test_base_without_python_is_refused(docker_engine: DockerEngine) -> None:
    client = docker_engine.client
    client.import_image_from_data(bytes(10_240), repository="openreg-test-empty", tag="1")
    try:
        with pytest.raises(SandboxUnavailableError, match="empty:1 does not start"):
            build_image(client, name="openreg-test:none", base="openreg-test-empty:1", say=print)
    finally:
        client.remove_image("openreg-test-empty:1", force=True)


@pytest.mark.parametrize(
    "options",
    [
        ("--base", "x", "--debootstrap"),
        ("--wheels", "wheels"),
        ("--mirror", "http://127.0.0.1"),
        ("--for", "report", "--mirror", "http://127.0.0.1"),
    ],
)
def test_options_that_would_say_nothing_are_refused(
    environment: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    result = CliRunner().invoke(app, ["build", *options])

    assert result.exit_code == 2
