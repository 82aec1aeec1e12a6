"""The folder in which the demonstration plays: its source, its regulator, its Airflow."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openreg_airflow.demo.local_airflow import LocalAirflow
from openreg_airflow.demo.sandbox import image

if TYPE_CHECKING:
    from openreg_airflow.demo.inbox import Inbox
    from openreg_airflow.settings import SandboxKind

#: The business date that the sample trades are made for.
BUSINESS_DATE = date(2026, 9, 30)
#: The reports that the demonstration runs.
REPORTS = ("positions_return", "mifir_transactions")
#: Where the authorities' schemas are looked for, unless OPENREG_SCHEMAS names other folders.
SCHEMAS = ("schemas", "../shared/xsd")


@dataclass(frozen=True)
class Site:
    """The places of the demonstration below one folder.

    Attributes:
        folder: holds everything that the demonstration makes; may be removed as a whole.
        project: the checkout with ``dags/`` and ``report_specs/``.
    """

    folder: Path
    project: Path

    @property
    def source(self) -> Path:
        """The SQLite database of trades and positions."""
        return self.folder / "source.db"

    @property
    def inbox(self) -> Path:
        """The folder that stands for the regulator's side."""
        return self.folder / "regulator"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME of the demonstration."""
        return self.folder / "airflow"

    @property
    def store_url(self) -> str:
        """The product's own tables."""
        return f"sqlite:///{self.folder.absolute() / 'store.db'}"

    @property
    def workspace(self) -> Path:
        """The files of all runs."""
        return self.folder.absolute() / "workspace"

    def airflow(self, port: int, sandbox: SandboxKind, *, scheduled: bool = True) -> LocalAirflow:
        """The demonstration's Airflow; nothing is started yet.

        Args:
            port: TCP port of the API server.
            sandbox: where transforms run.
            scheduled: whether the reports' own schedules start runs; a Dag that is unpaused
                otherwise begins with the latest run that it missed.
        """
        options = {
            "OPENREG__WORKSPACE": str(self.workspace),
            "OPENREG__STORE_URL": self.store_url,
            "OPENREG__SANDBOX": sandbox,
            "SCHEDULER__USE_JOB_SCHEDULE": str(scheduled),
            "OPENREG__SANDBOX_IMAGE": image(),
            "OPENREG__SCHEMA_FOLDERS": os.pathsep.join(str(p) for p in schema_folders()),
        }
        return LocalAirflow(
            self.airflow_home,
            dags=self.project / "dags",
            specs=self.project / "report_specs",
            port=port,
            options=options,
        )

    def make_source(self) -> int:
        """Make the sample trades; return how many there are."""
        from openreg_airflow.demo.trades import make_database

        self.folder.mkdir(parents=True, exist_ok=True)
        return make_database(self.source, business_date=BUSINESS_DATE)

    def start_inbox(self) -> Inbox:
        """Start the regulator's SFTP server as a process of its own."""
        from openreg_airflow.demo.inbox import start

        return start(self.inbox)

    def make_store(self) -> None:
        """Create or upgrade the product's own tables, and the mapping set of the reports."""
        from openreg_airflow.store.schema import upgrade

        upgrade(self.store_url)
        self._make_account_owners()

    def _make_account_owners(self) -> None:
        """Import who owns which account, unless that is known; people may have changed it."""
        from openreg_airflow.mappings.importing import import_file
        from openreg_airflow.mappings.sets import Sets
        from openreg_airflow.store.actor import Actor

        name, actor = "account_owners", Actor.of_command_line()
        sets = Sets(self.store_url, actor)
        if name in {found.name for found in sets.list(archived=True)}:
            return
        sets.create(
            name,
            keys=[("account", "string")],
            values=[("owner_lei", "string")],
            description="The legal entity that owns an account",
            owner="client-data",
        )
        file = self.project / "report_specs" / "positions_return" / f"{name}.csv"
        import_file(self.store_url, name, file, actor)

    def connections(self, inbox: Inbox) -> dict[str, dict[str, Any]]:
        """The Airflow connections that the example reports name."""
        return {
            "openreg_demo_source": {"conn_type": "sqlite", "host": str(self.source.absolute())},
            "openreg_demo_inbox": {
                "conn_type": "sftp",
                "host": inbox.host,
                "port": inbox.port,
                "login": inbox.username,
                "extra": {"key_file": str(inbox.key_file), "host_key": inbox.host_key},
            },
        }

    def clear(self) -> None:
        """Remove everything that the demonstration made."""
        if self.folder.exists():
            shutil.rmtree(self.folder)


def schema_folders() -> list[Path]:
    """Folders with schemas of authorities, as far as there are any on this machine."""
    named = os.environ.get("OPENREG_SCHEMAS")
    folders = [Path(part) for part in (named.split(os.pathsep) if named else SCHEMAS)]
    return [folder.resolve() for folder in folders if folder.is_dir()]
