from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from openreg_airflow.errors import SourceError, SourceUnavailableError
from openreg_airflow.extract.check import check
from openreg_airflow.extract.file_spec import FileSpec
from openreg_airflow.extract.files.extraction import LOCAL
from openreg_airflow.extract.files.local import LocalFiles
from openreg_airflow.extract.spec import ExtractSection, SourceSpec
from openreg_airflow.pools import Slots, source_pool
from tests.file_sources import DAY, Inbox, inbox

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="inbox")
def _inbox(tmp_path: Path) -> Inbox:
    return inbox(tmp_path)


def test_path_is_filled_with_the_business_date(inbox: Inbox) -> None:
    (inbox.folder / "p_20260302.csv").write_text("a\n1\n")

    table = inbox.extract("p_{business_date:%Y%m%d}.csv", format="csv")

    assert table.to_pylist() == [{"a": "1"}]
    spec = FileSpec.model_validate({"path": "x/{business_date}/f.csv", "format": "csv"})
    assert spec.path_on(DAY) == "x/2026-03-02/f.csv"


def test_evidence_names_file_size_hash_and_time(inbox: Inbox) -> None:
    (inbox.folder / "f.csv").write_text("a\n1\n")
    os.utime(inbox.folder / "f.csv", (1_772_000_000, 1_772_000_000))

    done = inbox.done("f.csv", format="csv")

    assert json.loads(done.query.text) == {
        "path": "f.csv",
        "bytes": 4,
        "sha256": hashlib.sha256(b"a\n1\n").hexdigest(),
        "modified": "2026-02-25T06:13:20+00:00",
    }
    assert done.query.sha256 == hashlib.sha256(done.query.text.encode()).hexdigest()
    assert (done.connection, done.server, done.rows) == (LOCAL, "local disk", 1)


def test_several_files_are_read_in_the_order_of_names(inbox: Inbox) -> None:
    for name, value in (("b", "2"), ("a", "1"), ("c", "3")):
        (inbox.folder / f"part-{name}.csv").write_text(f"n\n{value}\n")
    (inbox.folder / "other.csv").write_text("n\n9\n")

    table = inbox.extract("part-*.csv", {"n": "integer"}, format="csv")

    assert table.column("n").to_pylist() == [1, 2, 3]
    assert inbox.done("part-?.csv", format="csv").query.text.count("\n") == 2


def test_fault_in_one_of_several_files_names_that_file_and_its_own_line(inbox: Inbox) -> None:
    (inbox.folder / "a.csv").write_text("n\n1\n2\n")
    (inbox.folder / "b.csv").write_text("n\n3\nx\n")

    with pytest.raises(SourceError, match="'x' does not fit integer") as caught:
        inbox.done("*.csv", {"n": "integer"}, format="csv")

    assert caught.value.where == "b.csv, column n, line 3"


def test_files_of_different_columns_are_not_one_table(inbox: Inbox) -> None:
    (inbox.folder / "a.csv").write_text("n\n1\n")
    (inbox.folder / "b.csv").write_text("n,m\n3,4\n")

    with pytest.raises(SourceError, match=r"b\.csv has other columns than a\.csv"):
        inbox.done("*.csv", format="csv")


def test_file_that_has_not_come_is_waited_for_unless_the_spec_says_otherwise(inbox: Inbox) -> None:
    with pytest.raises(SourceUnavailableError, match=r"late\.csv is not there") as caught:
        inbox.done("late.csv", format="csv")
    assert "tried again" in str(caught.value.hint)
    with pytest.raises(SourceUnavailableError, match="0 files match"):
        inbox.done("*.csv", format="csv")
    with pytest.raises(SourceError, match=r"late\.csv is not there"):
        inbox.done("late.csv", format="csv", if_missing="fail")


def test_too_few_matching_files_are_waited_for(inbox: Inbox) -> None:
    (inbox.folder / "a.csv").write_text("n\n1\n")

    with pytest.raises(SourceUnavailableError, match=r"1 files match .* at least 2"):
        inbox.done("*.csv", format="csv", at_least=2)


@pytest.mark.parametrize("path", ["/etc/passwd", "link.csv", "linked/f.csv"])
def test_only_allowed_folders_are_read_even_through_links(
    inbox: Inbox, tmp_path: Path, path: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f.csv").write_text("a\n1\n")
    (inbox.folder / "link.csv").symlink_to(outside / "f.csv")
    (inbox.folder / "linked").symlink_to(outside)

    with pytest.raises(SourceError, match="not below a folder that file sources may read"):
        inbox.done(path, format="csv")


def test_no_folder_is_open_unless_the_admin_says_so() -> None:
    with pytest.raises(SourceError, match="no folder of the worker") as caught:
        LocalFiles([]).stat("f.csv")
    assert "[openreg] source_folders" in str(caught.value.hint)


def test_folder_or_pipe_is_not_a_file(inbox: Inbox) -> None:
    (inbox.folder / "d.csv").mkdir()
    os.mkfifo(inbox.folder / "p.csv")

    for name in ("d.csv", "p.csv"):
        with pytest.raises(SourceError, match="is not a file"):
            inbox.done(name, format="csv")


def test_file_that_is_still_written_to_is_read_again_later(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = inbox.folder / "f.csv"
    file.write_text("a\n1\n")
    fetch = LocalFiles.fetch

    def fetch_while_written(self: LocalFiles, *args: Any) -> Any:
        found = fetch(self, *args)
        file.write_text("a\n1\n2\n")
        return found

    monkeypatch.setattr(LocalFiles, "fetch", fetch_while_written)

    with pytest.raises(SourceUnavailableError, match=r"f\.csv changed while it was read"):
        inbox.done("f.csv", format="csv")


def test_bounds_hold_for_files(inbox: Inbox) -> None:
    (inbox.folder / "f.csv").write_text("a\n" + "12345678\n" * 100)

    with pytest.raises(SourceError, match="more than 99 rows"):
        inbox.done("f.csv", format="csv", max_rows=99)
    with pytest.raises(SourceError, match="more than 500 bytes"):
        inbox.done("f.csv", format="csv", max_bytes=500)
    assert inbox.done("f.csv", format="csv", max_rows=100).rows == 100


def test_stopped_task_and_passed_time_end_the_reading(inbox: Inbox) -> None:
    (inbox.folder / "f.csv").write_text("a\n1\n")
    extraction = inbox.extraction("f.csv", format="csv")
    extraction.cancel()

    with pytest.raises(SourceUnavailableError, match="stopped"):
        extraction.run(inbox.output)


def test_head_shows_the_first_rows(inbox: Inbox) -> None:
    (inbox.folder / "f.csv").write_text("a\n1\n2\n3\n")

    head = inbox.extraction("f.csv", {"a": "integer"}, format="csv").head(2)

    assert head.table.to_pylist() == [{"a": 1}, {"a": 2}]
    assert head.more
    assert not inbox.output.exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"path": "in/../../etc/x.csv"}, "leads upwards"),
        ({"path": "{report}.csv"}, "the only placeholder"),
        ({"path": "{business_date:%H}.csv"}, "%Y, %m and %d"),
        ({"path": "in*/f.csv"}, "not in a folder's"),
        ({"path": "in/"}, "names a folder"),
        ({"path": "a\\b.csv"}, "pattern"),
        ({"path": "s3://b/f.csv"}, "needs a `connection`"),
        ({"encoding": "base64"}, "not an encoding of text"),
        ({"encoding": "klingon"}, "not an encoding of text"),
        ({"delimiter": "||"}, "not one plain character"),
        ({"delimiter": '"'}, "the same character"),
        ({"sheet": "A"}, "says nothing about csv"),
        ({"format": "parquet", "header": True}, "says nothing about parquet"),
        ({"formats": {"d": "day"}}, "neither like"),
        ({"formats": {"d": "%q"}}, "%q is not known"),
        ({"formats": {"d": "%d.%d.%Y"}}, "twice"),
    ],
)
def test_wrong_file_section_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FileSpec.model_validate({"path": "f.csv", "format": "csv"} | wrong)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "`connection` and `sql`, or `file`"),
        ({"connection": "c"}, "`connection` and `sql`, or `file`"),
        ({"file": {"path": "f.csv", "format": "csv"}, "sql": "a.sql"}, "has no `sql`"),
        (
            {
                "file": {"path": "f.csv", "format": "csv"},
                "incremental": {"column": "a", "type": "integer", "start": 0},
            },
            "has no `incremental`",
        ),
    ],
)
def test_source_is_a_query_or_a_file(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SourceSpec.model_validate(given)


def test_file_source_is_never_part_of_a_snapshot() -> None:
    file = {"file": {"path": "f.csv", "format": "csv"}}
    query = {"connection": "c", "sql": "a.sql"}
    section = ExtractSection.model_validate(
        {"snapshot": True, "sources": {"a": query, "b": query, "c": file, "d": file}}
    )

    assert [list(group) for group in section.groups().values()] == [["a", "b"], ["c"], ["d"]]


def test_pool_of_files_is_that_of_their_connection() -> None:
    file = {"path": "f.csv", "format": "csv"}
    remote = SourceSpec.model_validate({"file": file | {"connection": "house"}})
    local = SourceSpec.model_validate({"file": file})

    assert source_pool(remote, Slots(source=4)) == "openreg_source_house"
    assert source_pool(local, Slots(source=4)) is None


@pytest.mark.parametrize(
    ("file", "columns", "said"),
    [
        ({"format": "jsonl"}, {}, "jsonl does not tell its columns"),
        ({"format": "excel"}, {}, "excel does not tell its columns"),
        ({"format": "csv", "header": False}, {}, "csv does not tell its columns"),
        ({"format": "csv", "formats": {"d": "%d.%m.%Y"}}, {}, "d is not declared"),
        ({"format": "csv", "formats": {"d": "%d.%m"}}, {"d": "date"}, "lacks %Y"),
        ({"format": "csv", "formats": {"d": "Y/N"}}, {"d": "date"}, "no format of date"),
    ],
)
def test_check_finds_faults_of_file_sources(
    tmp_path: Path, file: dict[str, Any], columns: dict[str, str], said: str
) -> None:
    source = {"file": {"path": "f"} | file, "columns": columns}
    section = ExtractSection.model_validate({"sources": {"s": source}})

    [problem] = check(section, tmp_path)

    assert said in problem.message
    assert problem.keys[:3] == ("sources", "s", "file")
