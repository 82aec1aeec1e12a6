"""The order of steps of a delivery, against files in memory that fail wherever a test says so."""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openreg_airflow.deliver.channel import NameTakenError, Parcel, Verify
from openreg_airflow.deliver.placing import place
from openreg_airflow.errors import DeliveryError, DeliveryRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = b"<report/>" * 10


class KilledError(BaseException):
    """The process ends here."""


@dataclass
class MemoryFiles:
    """A destination in memory; ``doom`` counts steps until the process or the server dies."""

    content: bytes
    files: dict[str, bytes] = field(default_factory=dict)
    doom: int = -1
    death: Callable[[], BaseException] = KilledError
    listable: bool = True
    readable: bool = True
    before_publish: Callable[[], None] = lambda: None

    def _step(self) -> None:
        if self.doom == 0:
            raise self.death()
        self.doom -= 1

    def make_folder(self, folder: str) -> None:
        self._step()

    def names(self, folder: str) -> list[str] | None:
        self._step()
        below = [name for name in self.files if posixpath.dirname(name) == folder]
        return [posixpath.basename(name) for name in below] if self.listable else None

    def size(self, path: str) -> int | None:
        self._step()
        return len(self.files[path]) if path in self.files else None

    def sha256(self, path: str) -> str | None:
        self._step()
        return hashlib.sha256(self.files[path]).hexdigest() if self.readable else None

    def upload(self, parcel: Parcel, path: str) -> None:
        self._step()
        self.files[path] = self.content[: len(self.content) // 2]
        self._step()
        self.files[path] = self.content

    def publish(self, temporary: str, final: str) -> None:
        self.before_publish()
        self._step()
        if final in self.files:
            message = f"{final} is taken"
            raise NameTakenError(message)
        self.files[final] = self.files.pop(temporary)
        self._step()

    def remove(self, path: str) -> None:
        self._step()
        self.files.pop(path, None)


def parcel(content: bytes = CONTENT, filename: str = "report.xml") -> Parcel:
    return Parcel(
        path=Path("not-read-here"),
        filename=filename,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


@given(
    deaths=st.lists(st.integers(0, 12), max_size=6),
    server=st.booleans(),
    verify=st.sampled_from(["size", "content"]),
    listable=st.booleans(),
)
def test_any_series_of_crashes_ends_with_one_complete_file(
    deaths: list[int], server: bool, verify: Verify, listable: bool
) -> None:
    files = MemoryFiles(CONTENT, listable=listable)
    files.death = (lambda: DeliveryError("reset")) if server else KilledError
    for doom in deaths:
        files.doom = doom
        with contextlib.suppress(KilledError, DeliveryError):
            place(files, parcel(), "in", verify)
        assert files.files.get("in/report.xml") in (None, CONTENT)
    files.doom = -1

    place(files, parcel(), "in", verify)

    assert files.files["in/report.xml"] == CONTENT
    if listable:
        assert set(files.files) == {"in/report.xml"}


def test_same_content_is_not_sent_again() -> None:
    files = MemoryFiles(b"must not be sent", {"in/report.xml": CONTENT})

    outcome = place(files, parcel(), "in", "size")

    assert (outcome.already_there, outcome.bytes_sent) == (True, 0)
    assert files.files == {"in/report.xml": CONTENT}


@pytest.mark.parametrize("other", [CONTENT + b"!", b"x" * len(CONTENT), b""])
def test_other_content_is_refused_and_kept(other: bytes) -> None:
    files = MemoryFiles(CONTENT, {"in/report.xml": other})

    with pytest.raises(DeliveryRefusedError, match="is there already"):
        place(files, parcel(), "in", "size")

    assert files.files == {"in/report.xml": other}


@pytest.mark.parametrize(("other", "refused"), [(CONTENT, False), (b"other", True)])
def test_file_that_appears_while_sending_is_never_overwritten(other: bytes, refused: bool) -> None:
    files = MemoryFiles(CONTENT)
    files.before_publish = lambda: files.files.update({"in/report.xml": other})

    if refused:
        with pytest.raises(DeliveryRefusedError):
            place(files, parcel(), "in", "size")
    else:
        assert place(files, parcel(), "in", "size").already_there

    assert files.files == {"in/report.xml": other}


@pytest.mark.parametrize("verify", ["size", "content"])
def test_destination_that_loses_bytes_is_noticed_before_the_rename(verify: Verify) -> None:
    files = MemoryFiles(CONTENT[:-1])

    with pytest.raises(DeliveryError, match="bytes after sending"):
        place(files, parcel(), "in", verify)

    assert files.files == {}


def test_destination_that_changes_bytes_is_noticed_by_reading_back() -> None:
    files = MemoryFiles(b"x" * len(CONTENT))

    with pytest.raises(DeliveryError, match="reads back"):
        place(files, parcel(), "in", "content")

    assert files.files == {}


def test_reading_back_where_reading_is_forbidden_is_refused() -> None:
    with pytest.raises(DeliveryRefusedError, match="may not be read back"):
        place(MemoryFiles(CONTENT, readable=False), parcel(), "in", "content")


@pytest.mark.parametrize("name", ["", ".", "..", "../x.xml", "a/b.xml", "a\\b.xml", "a\nb", "a\0b"])
def test_name_that_leads_elsewhere_is_refused(name: str) -> None:
    files = MemoryFiles(CONTENT)

    with pytest.raises(DeliveryRefusedError, match="cannot be the name"):
        place(files, parcel(filename=name), "in", "size")

    assert files.files == {}


def test_empty_artifact_is_refused() -> None:
    with pytest.raises(DeliveryRefusedError, match="is empty"):
        place(MemoryFiles(b""), parcel(b""), "in", "size")
