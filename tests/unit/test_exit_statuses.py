"""What every command ends with when it cannot begin: the table of docs/README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from openreg_airflow import command_line, errors
from openreg_airflow.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click import Command

DAY = ("--business-date", "2026-03-31")
ITEMS = ("1", "--why", "it was told")
RUN = "manual__2026-03-31"

#: By command: arguments that are well formed, where there is no store, report, file or engine.
WITHOUT_ANYTHING: dict[str, tuple[str, ...]] = {
    "acks": (),
    "artifact diff": (RUN, RUN),
    "artifact numbers": ("reports",),
    "artifact show": (RUN,),
    "audit list": (),
    "audit verify": (),
    "cache drop": (),
    "cache list": (),
    "check": ("nowhere",),
    "connections pools": ("nowhere",),
    "connections test": ("nowhere",),
    "db upgrade": ("--url", "postgresql://openreg@127.0.0.1:1/openreg"),
    "deliver": (RUN, "--dry-run"),
    "deliveries": (),
    "demo": (),
    "down": (),
    "exceptions amend": (*ITEMS, "--set", "price=1"),
    "exceptions export": ("-",),
    "exceptions give-back": ("prices", "--run", RUN, *DAY, "--why", "it failed"),
    "exceptions import": ("nowhere.csv",),
    "exceptions list": (),
    "exceptions reconcile": ("prices", *DAY),
    "exceptions reject": ITEMS,
    "exceptions release": ITEMS,
    "exceptions show": ("1",),
    "exceptions undo": ITEMS,
    "extract": ("nowhere", *DAY),
    "layout scaffold": ("nowhere.xsd", "--root", "Document"),
    "mappings add": ("venues", "--key", "code=A"),
    "mappings archive": ("venues",),
    "mappings change": ("venues", "1", "--value", "mic=XETR"),
    "mappings create": ("venues", "--key", "code", "--value", "mic"),
    "mappings delete": ("venues", "1"),
    "mappings describe": ("venues", "--owner", "desk"),
    "mappings diff": ("venues", "2026-01-01", "2026-02-01"),
    "mappings end": ("venues", "1", "--on", "2026-03-31"),
    "mappings export": ("venues",),
    "mappings history": ("venues", "--key", "code=A"),
    "mappings import": ("venues", "nowhere.csv"),
    "mappings list": (),
    "mappings reference": (),
    "mappings rename": ("venues", "markets"),
    "mappings restore": ("venues",),
    "mappings show": ("venues",),
    "mappings unmapped": ("prices",),
    "mappings verify": (),
    "new": ("not-an-id",),
    "quality": ("prices",),
    "resubmit": ("prices", *DAY),
    "retention": ("--days", "1"),
    "sandbox build": (),
    "sandbox list": (),
    "transform": ("nowhere", *DAY),
    "up": (),
    "validate": ("nowhere", *DAY),
    "verify": (),
}
#: They print what is built in, and need nothing.
NEED_NOTHING = {"rules functions", "rules packs", "sandbox seccomp", "schema"}
#: They find that there are no tables or no engine, which is what they are asked.
FINDS = {"db status", "sandbox status"}


@pytest.fixture(autouse=True)
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENREG_STORE_URL", raising=False)
    store = f"sqlite:///{tmp_path}/no_folder/store.db"
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL", store)
    monkeypatch.setenv("AIRFLOW__OPENREG__WORKSPACE", f"file://{tmp_path}/workspace")
    monkeypatch.setenv("AIRFLOW__OPENREG__SPEC_FOLDERS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__OPENREG__SANDBOX", "docker")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no_engine.sock")


def commands(command: Command, *names: str) -> Iterator[str]:
    below = getattr(command, "commands", {})
    for name, one in below.items():
        yield from commands(one, *names, name)
    if not below:
        yield " ".join(names)


def test_every_command_is_held_to_the_table() -> None:
    assert set(commands(typer.main.get_command(app))) == {
        *WITHOUT_ANYTHING,
        *NEED_NOTHING,
        *FINDS,
    }


@pytest.mark.parametrize("command", WITHOUT_ANYTHING)
def test_command_that_cannot_begin_ends_with_2_and_says_why(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), *WITHOUT_ANYTHING[command]])

    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert "error" in done.stderr.casefold()
    assert "Missing" not in done.stderr
    assert "No such option" not in done.stderr


@pytest.mark.parametrize("command", sorted(NEED_NOTHING))
def test_command_that_needs_nothing_ends_with_0(command: str) -> None:
    assert CliRunner().invoke(app, command.split()).exit_code == 0


@pytest.mark.parametrize("command", sorted(FINDS))
def test_state_that_is_asked_for_is_a_finding(command: str) -> None:
    assert CliRunner().invoke(app, command.split()).exit_code == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.SpecError("x"), 2),
        (errors.StoreNotReadyError("x"), 2),
        (errors.StoreUnavailableError("x"), 2),
        (errors.SandboxUnavailableError("x"), 2),
        (errors.NoSuchMappingError("x"), 2),
        (errors.NoSuchItemError("x"), 2),
        (OSError("x"), 2),
        ("x", 2),
        (errors.MappingError("x"), 1),
        (errors.ChangedMeanwhileError("x"), 1),
        (errors.DeliveryRefusedError("x"), 1),
        (errors.SourceUnavailableError("x"), 1),
        (errors.TransformError("x"), 1),
        (errors.StorageError("x"), 1),
    ],
)
def test_kind_of_an_error_says_the_status(error: errors.OpenRegError | str, status: int) -> None:
    with pytest.raises(typer.Exit) as caught:
        command_line.fail(error)

    assert caught.value.exit_code == status
