from __future__ import annotations

from typing import TYPE_CHECKING

from openreg_airflow import settings

if TYPE_CHECKING:
    import pytest


def test_line_end_of_a_command_is_no_part_of_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__OPENREG__STORE_URL", raising=False)
    monkeypatch.setenv("AIRFLOW__OPENREG__STORE_URL_CMD", "echo sqlite:////tmp/store.db")
    assert settings.load().store_url == "sqlite:////tmp/store.db"
