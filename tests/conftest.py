from __future__ import annotations

import importlib.util

pytest_plugins = [
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
]
