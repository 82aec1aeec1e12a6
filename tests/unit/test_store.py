from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from openreg_airflow.errors import SpecError, StoreNotReadyError, StoreUnavailableError
from openreg_airflow.store import Store, engine, schema
from openreg_airflow.store.commands import app
from tests.delivery_contract import DeliveryContract
from tests.numbering_contract import NumberingContract
from tests.store_contract import RUN, StoreContract, artifact, extract
from tests.upgrade_contract import UpgradeContract

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def empty_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'deep' / 'store 100%.db'}"


@pytest.fixture
def url(empty_url: str) -> str:
    schema.upgrade(empty_url)
    return empty_url


class TestNumberingInSqlite(NumberingContract):
    """The contract of numbering in SQLite."""


class TestDeliveriesInSqlite(DeliveryContract):
    """The contract of deliveries and answers in SQLite."""


class TestUpgradesInSqlite(UpgradeContract):
    """The contract of upgrades in SQLite."""


class TestSqlite(StoreContract):
    """The contract in SQLite."""


def test_newest_migration_is_the_one_that_the_code_expects() -> None:
    assert ScriptDirectory(str(schema._MIGRATIONS)).get_heads() == [schema.REVISION]


def test_store_of_an_older_version_is_upgraded_and_keeps_its_rows(
    empty_url: str,
) -> None:
    schema.upgrade(empty_url)
    Store(empty_url).record_artifact(RUN, artifact())
    downgrade(empty_url, "0001")
    with pytest.raises(StoreNotReadyError, match="is at revision 0001"):
        Store(empty_url).record_extract(RUN, extract())

    assert schema.upgrade(empty_url) == ("0001", schema.REVISION)

    Store(empty_url).record_extract(RUN, extract())
    assert Store(empty_url).artifacts(RUN) == (artifact(),)


def downgrade(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    with engine.transaction(engine.connect_engine(engine.parse_url(url)), write=True) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def test_reading_a_missing_store_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "store.db"

    with pytest.raises(StoreNotReadyError):
        Store(f"sqlite:///{file}").artifacts(RUN)

    assert not file.exists()


def test_readers_do_not_wait_for_a_writer(url: str) -> None:
    Store(url).record_artifact(RUN, artifact())
    with closing(sqlite3.connect(str(make_url(url).database))) as writer:
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM openreg_artifact")
        assert Store(url).artifacts(RUN) == (artifact(),)


def test_store_that_stays_locked_is_tried_again_later(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.1)
    with closing(sqlite3.connect(str(make_url(url).database))) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            Store(url).record_artifact(RUN, artifact())
    Store(url).record_artifact(RUN, artifact())


def test_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_text("This is a text file, and long enough not to be taken for an empty database.")

    with pytest.raises(StoreNotReadyError, match="not a database"):
        Store(f"sqlite:///{file}").artifacts(RUN)
    with pytest.raises(StoreUnavailableError, match="not a database"):
        schema.upgrade(f"sqlite:///{file}")


def test_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailableError, match="folder of the store"):
        schema.upgrade(f"sqlite:///{tmp_path / 'file' / 'store.db'}")


def test_store_among_tables_of_others_leaves_them_alone(tmp_path: Path) -> None:
    file = tmp_path / "shared.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('of-another')")
        connection.commit()

    schema.upgrade(f"sqlite:///{file}")

    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("of-another",)]


@pytest.mark.parametrize(
    "text", ["", "store.db", "sqlite://", "sqlite:///:memory:", "mysql://u:s3cret@h/d", "s3cret"]
)
def test_url_that_cannot_be_a_store_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        Store(text)
    assert "s3cret" not in str(caught.value)


def test_unreachable_postgresql_is_tried_again_and_its_password_not_told() -> None:
    url = "postgresql://openreg:s3cret@127.0.0.1:1/openreg"

    with pytest.raises(StoreUnavailableError, match="openreg:") as caught:
        Store(url).artifacts(RUN)
    assert "s3cret" not in str(caught.value)


def test_looking_up_a_report_on_a_date_uses_an_index(url: str) -> None:
    with closing(sqlite3.connect(str(make_url(url).database))) as connection:
        for table in (
            "openreg_extract",
            "openreg_source_window",
            "openreg_validation_result",
            "openreg_artifact",
            "openreg_artifact_file",
            "openreg_artifact_version",
            "openreg_delivery_attempt",
            "openreg_exception",
            "openreg_exception_count",
        ):
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN SELECT * FROM {table} "
                "WHERE report_id = 'r' AND business_date = '2026-03-02'"
            ).fetchall()
            assert "USING INDEX" in plan[0][3]


def test_commands_upgrade_and_tell_the_state(empty_url: str) -> None:
    runner = CliRunner()
    before = runner.invoke(app, ["status", "--url", empty_url])
    first = runner.invoke(app, ["upgrade", "--url", empty_url])
    second = runner.invoke(app, ["upgrade", "--url", empty_url])
    after = runner.invoke(app, ["status", "--url", empty_url])

    assert (before.exit_code, "openreg db upgrade" in before.output) == (1, True)
    assert (first.exit_code, schema.REVISION in first.output) == (0, True)
    assert (second.exit_code, "up to date" in second.output) == (0, True)
    assert after.exit_code == 0


def test_command_shows_no_password_and_fails_readably() -> None:
    result = CliRunner().invoke(
        app, ["status", "--url", "postgresql://openreg:s3cret@127.0.0.1:1/openreg"]
    )

    assert result.exit_code == 2
    assert "s3cret" not in result.output
    assert "cannot be used" in result.output
