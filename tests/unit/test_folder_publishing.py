"""How a file in a folder gets its final name."""

from __future__ import annotations

from pathlib import Path

import pytest

from openreg_airflow.deliver.channel import NameTakenError
from openreg_airflow.deliver.channels import folder
from openreg_airflow.deliver.channels.folder import FolderSession


@pytest.fixture
def session(tmp_path: Path) -> FolderSession:
    (tmp_path / "a.part").write_text("new")
    return FolderSession(tmp_path)


@pytest.fixture(params=["in one step", "by a link"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "by a link":
        monkeypatch.setattr(folder, "_renamed", lambda *_: False)


def test_file_never_has_two_names(
    session: FolderSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Path, "unlink", killed)
    session.publish("a.part", "a.xml")
    assert [path.name for path in tmp_path.iterdir()] == ["a.xml"]


@pytest.mark.usefixtures("way")
def test_name_that_is_free_is_given(session: FolderSession, tmp_path: Path) -> None:
    session.publish("a.part", "a.xml")
    assert [path.name for path in tmp_path.iterdir()] == ["a.xml"]
    assert (tmp_path / "a.xml").read_text() == "new"


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dangling", [False, True])
def test_name_that_is_taken_is_left(
    session: FolderSession, tmp_path: Path, *, dangling: bool
) -> None:
    taken = tmp_path / "a.xml"
    if dangling:
        taken.symlink_to("nowhere")
    else:
        taken.write_text("old")
    with pytest.raises(NameTakenError):
        session.publish("a.part", "a.xml")
    assert (tmp_path / "a.part").read_text() == "new"
    assert taken.is_symlink() if dangling else taken.read_text() == "old"
