from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from openreg_airflow.errors import SandboxUnavailableError, SpecError
from openreg_airflow.transform.build import DEFAULT_BASE, DEFINITION, Interpreter, applicable
from openreg_airflow.transform.debian_base import mirror_of
from openreg_airflow.transform.engine import (
    EngineAddress,
    address_from_connection,
    address_from_environment,
    connect,
)
from openreg_airflow.transform.hardening import check_accepted
from openreg_airflow.transform.image_contract import PYTHON, RUNNER, runner_digest

ROOT = Path(__file__).parents[2]


def test_engine_is_found_as_the_docker_command_finds_it() -> None:
    assert address_from_environment({}) == EngineAddress("unix:///var/run/docker.sock")
    assert address_from_environment({"DOCKER_HOST": "tcp://build:2375"}).local is False
    assert address_from_environment(
        {"DOCKER_HOST": "tcp://build:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c"}
    ) == EngineAddress("tcp://build:2376", "/c/ca.pem", "/c/cert.pem", "/c/key.pem")


def test_engine_is_named_by_a_connection() -> None:
    files = {"tls_ca_cert": "/ca", "tls_client_cert": "/cert", "tls_client_key": "/key"}

    assert address_from_connection("build", None, {}).url == "tcp://build:2375"
    assert address_from_connection("build", None, files) == EngineAddress(
        "tcp://build:2376", "/ca", "/cert", "/key"
    )
    assert address_from_connection("unix:///run/other.sock", None, {}).local


@pytest.mark.parametrize(
    ("host", "extra", "expected"),
    [
        (None, {}, "names no host"),
        ("", {}, "names no host"),
        ("build", {"tls_ca_cert": "/ca"}, "needs all of tls_ca_cert, tls_client_cert"),
    ],
)
def test_connection_that_says_too_little_is_refused(
    host: str | None, extra: dict[str, str], expected: str
) -> None:
    with pytest.raises(SpecError, match=expected):
        address_from_connection(host, None, extra)


def test_engine_that_does_not_answer_is_a_transient_error(tmp_path: Path) -> None:
    address = EngineAddress(f"unix://{tmp_path}/none.sock")

    with pytest.raises(SandboxUnavailableError, match=r"none\.sock does not answer") as caught:
        connect(address)

    assert "openreg sandbox status" in (caught.value.hint or "")


ASKED: dict[str, Any] = {
    "Memory": 1024,
    "MemorySwap": 1024,
    "NanoCpus": 1_000_000_000,
    "PidsLimit": 64,
    "ReadonlyRootfs": True,
    "NetworkMode": "none",
    "Privileged": False,
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges:true"],
    "Tmpfs": {"/scratch": "size=1"},
    "IpcMode": "private",
    "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}, {"Name": "nofile", "Soft": 1, "Hard": 1}],
    "LogConfig": {"Type": "none", "Config": {}},
}


def test_limits_that_the_engine_took_are_accepted() -> None:
    taken = ASKED | {
        "Ulimits": list(reversed(ASKED["Ulimits"])),
        "LogConfig": {"Type": "none", "Config": None},
        "CpuShares": 0,
    }

    check_accepted(ASKED, taken)


@pytest.mark.parametrize(
    "changed",
    [
        {"Memory": 0},
        {"PidsLimit": None},
        {"NanoCpus": 0},
        {"ReadonlyRootfs": False},
        {"NetworkMode": "bridge"},
        {"Privileged": True},
        {"CapDrop": None},
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"Tmpfs": {"/scratch": ""}},
        {"Ulimits": ASKED["Ulimits"][:1]},
        {"LogConfig": {"Type": "json-file"}},
    ],
)
def test_engine_that_drops_a_limit_is_not_used(changed: dict[str, Any]) -> None:
    (name,) = changed

    with pytest.raises(SandboxUnavailableError, match=f"does not hold the limit {name}"):
        check_accepted(ASKED, ASKED | changed)


def test_engine_without_swap_accounting_is_used_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check_accepted(ASKED, ASKED | {"MemorySwap": -1})

    assert "cannot limit swap" in caplog.text


def test_requirements_are_chosen_for_the_image_s_python() -> None:
    text = (
        "# comment\n"
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:aa \\\n"
        "    --hash=sha256:bb\n"
        "numpy==2.5.5 ; python_full_version >= '3.12' \\\n    --hash=sha256:cc\n"
        "colorama==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
        "six==1.17.0 \\\n    --hash=sha256:ee\n    # via dateutil\n"
    )

    assert applicable(text, (3, 11, 2)) == (
        "numpy==2.4.6 --hash=sha256:aa --hash=sha256:bb\nsix==1.17.0 --hash=sha256:ee\n"
    )
    assert applicable(text, (3, 13, 0)).startswith("numpy==2.5.5 --hash=sha256:cc\n")


def test_wheels_fit_the_image_s_c_library() -> None:
    tags = Interpreter((3, 12, 1), "aarch64", 28).platforms

    assert tags[0] == "manylinux_2_28_aarch64"
    assert tags[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]


def test_debian_archive_is_the_one_that_apt_uses() -> None:
    sources = (
        "http://mirror.example/debian-security/ bookworm-security main\n"
        "http://mirror.example/debian/ bookworm contrib\n"
        "http://mirror.example/debian/ bookworm main\n"
    )

    assert mirror_of("bookworm", sources) == "http://mirror.example/debian/"
    assert mirror_of("trixie", sources) is None
    assert mirror_of("bookworm", "") is None


def pins(file: Path) -> dict[tuple[str, str], str]:
    found = {}
    for line in file.read_text().splitlines():
        if match := re.match(r"^([a-z0-9-]+==[^\\]+)\\$", line):
            requirement = Requirement(match[1].strip())
            found[requirement.name, str(requirement.marker)] = str(requirement.specifier)
    return found


def test_image_has_the_versions_of_the_product() -> None:
    image, product = pins(DEFINITION / "requirements.txt"), pins(ROOT / "constraints.txt")

    assert {name for name, _ in image} >= {"pandas", "numpy", "pyarrow", "lxml", "python-dateutil"}
    assert {name: pin for name, pin in image.items() if product.get(name) != pin} == {}


def test_image_definition_agrees_with_the_code() -> None:
    dockerfile = (ROOT / "docker" / "sandbox" / "Dockerfile").read_text()

    assert f"ARG BASE={DEFAULT_BASE}\n" in dockerfile
    assert f'ENTRYPOINT ["{PYTHON}", "-s", "-P", "-B", "-m", "{RUNNER}"]' in dockerfile
    assert "USER 65534:65534" in dockerfile
    assert len(runner_digest()) == 64
