from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
NEEDED = (
    "openreg_airflow/py.typed",
    "openreg_airflow/store/migrations/env.py",
    "openreg_airflow/transform/image/Dockerfile",
    "openreg_airflow/transform/image/requirements.txt",
    "dag_factory/report.schema.json",
    "openreg_portal/plugin.py",
)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, PROJECT],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def run(code: str, home: Path, *, path: Path | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    environment["AIRFLOW_HOME"] = str(home)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_what_the_product_needs_and_no_tests(
    distributions: dict[str, Path],
) -> None:
    names = zipfile.ZipFile(distributions["wheel"]).namelist()
    assert set(NEEDED) <= set(names)
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"openreg_airflow", "dag_factory", "openreg_portal"}


def test_the_sdist_can_be_built_from_again(distributions: dict[str, Path]) -> None:
    with tarfile.open(distributions["sdist"]) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    assert {"pyproject.toml", "README.md", "LICENSE", "plugins/openreg_portal/plugin.py"} <= names


def test_an_installed_wheel_works_away_from_the_checkout(
    distributions: dict[str, Path], tmp_path: Path
) -> None:
    installed = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        + ["--target", installed, distributions["wheel"]],
        check=True,
    )
    code = (
        "import openreg_airflow, dag_factory.schema as s; print(openreg_airflow.__file__);"
        "print(s.kept() == s.rendered())"
    )
    out = run(code, tmp_path, path=installed).splitlines()
    assert Path(out[0]).is_relative_to(installed)
    assert out[1] == "True"


def test_airflow_knows_the_provider_its_options_and_the_plugin(tmp_path: Path) -> None:
    code = """
from airflow.providers_manager import ProvidersManager
from airflow.plugins_manager import get_import_errors, get_plugin_info
from airflow.sdk.configuration import conf
providers = ProvidersManager().providers
plugins = {plugin["name"] for plugin in get_plugin_info(["name"])}
print("openreg-airflow" in providers, conf.get("openreg", "sandbox"), "openreg" in plugins,
      get_import_errors())
"""
    out = run(code, tmp_path)
    assert out.splitlines()[-1] == "True docker True {}"
