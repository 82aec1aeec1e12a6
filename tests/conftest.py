from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

pytest_plugins = [
    "tests.sharing",
    *(
        name
        for name in (
            "tests.services.mariadb",
            "tests.services.postgres",
            "tests.services.postgres_store",
            "tests.services.s3",
            "tests.services.small_disk",
            "tests.services.sshd",
            "tests.services.docker_engine",
        )
        if importlib.util.find_spec(name)
    ),
]

# On a busy machine the time that one example takes says nothing.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    """Let no Airflow of the machine, nor one of another process of tests, be the tests' own."""
    home = tempfile.mkdtemp(prefix="openreg-airflow-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ["AIRFLOW_HOME"] = home
