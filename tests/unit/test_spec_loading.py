from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from dag_factory.check import check
from dag_factory.finding import InvalidSpecError
from dag_factory.load import load, report_folders
from dag_factory.schema import json_schema, kept, rendered

GOOD = """\
openreg: 1
id: demo
title: A report
extract:
  sources:
    trades: {connection: source, sql: trades.sql}
validate:
  rules:
    positive:
      title: Prices are positive
      table: trades
      sql: SELECT * FROM trades WHERE price <= 0
      message: "price {price}"
artifacts:
  trades: {format: csv, table: trades, filename: "x.csv"}
deliver:
  routes:
    regulator: {channel: sftp, connection: inbox, artifacts: [trades]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    report = tmp_path / "demo"
    report.mkdir()
    return report


def problems(folder: Path, text: str) -> list[tuple[int, int, str, str | None]]:
    (folder / "report.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSpecError) as caught:
        load(folder)
    assert caught.value.report == "demo"
    return [(f.line, f.column, f.message, f.hint) for f in caught.value.findings]


ANSWERED = GOOD.replace(
    'filename: "x.csv"}', 'filename: "x.csv", references: {column: id, action: action}}'
).replace(
    "artifacts: [trades]}", "artifacts: [trades], acknowledgement: {pattern: F, reference: id}}"
)


def test_answer_names_records_as_the_references_do(folder: Path) -> None:
    (folder / "report.yaml").write_text(ANSWERED)
    load(folder)
    [(line, _, message, _)] = problems(folder, ANSWERED.replace("reference: id", "reference: row"))
    assert line == len(ANSWERED.splitlines())
    assert "row is not id, by which artifacts.trades.references names records" in message
    # What counts as reported is not decided by the answer of an archive.
    archive = ANSWERED.replace("reference: id", "reference: row").replace(
        "connection: inbox", "connection: inbox, reports: false"
    )
    (folder / "report.yaml").write_text(archive)
    load(folder)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("pattern: F", "an auth.031 names a record by one value, artifacts.trades by id, action"),
        ("pattern: F, parser: csv, form: {reference: r, status: s}", "has 1 of 2 values"),
        ("pattern: F, parser: csv, form: {reference: [r, a], status: s}", None),
        ("pattern: F, parser: csv, form: {reference: [r, a], status: s}, reference: id", "2 of 1"),
        ("pattern: F, reference: id", None),
        ("pattern: F, reference: other", "other is not id nor id, action, by which"),
    ],
)
def test_answer_has_a_value_for_each_column_that_names_a_row(
    folder: Path, answer: str, said: str | None
) -> None:
    text = ANSWERED.replace("action: action}", "action: action, record: [id, action]}")
    text = text.replace("pattern: F, reference: id", answer)
    if said is None:
        (folder / "report.yaml").write_text(text)
        load(folder)
    else:
        assert [said in message for _, _, message, _ in problems(folder, text)] == [True]


def test_answer_names_records_by_columns_that_are_there(folder: Path) -> None:
    transform = "transform: {script: t.py, tables: {trades: {columns: {id: string, uti: string}}}}"
    text = GOOD.replace("validate:", f"{transform}\nvalidate:").replace(
        "artifacts: [trades]}",
        "artifacts: [trades], acknowledgement: {pattern: F, reference: uti}}",
    )
    (folder / "report.yaml").write_text(text)
    load(folder)
    [(line, _, message, hint)] = problems(folder, text.replace("reference: uti", "reference: row"))
    assert line == len(text.splitlines())
    assert message.endswith("table trades of artifacts.trades has no column row")
    assert hint == "Its columns are id, uti."


def test_a_right_spec_loads(folder: Path) -> None:
    (folder / "report.yaml").write_text(GOOD)
    spec = load(folder)
    assert spec.id == "demo"
    assert list(spec.extract.sources) == ["trades"]
    assert spec.validate_ is not None


def test_every_error_is_reported_at_once_in_order_of_lines(folder: Path) -> None:
    text = GOOD.replace("title: A report", "titel: A report\nowner: 7")
    text = text.replace("format: csv", "format: csv, quoting: mostly")
    found = problems(folder, text)
    assert [(line, message) for line, _, message, _ in found] == [
        (1, "title: this key is missing"),
        (3, "titel: unknown key"),
        (4, "owner: text was expected, not 7"),
        (16, "artifacts.trades.quoting: 'mostly' is not one of minimal, text, all, none"),
    ]
    assert found[1][3] == "Did you mean title?"
    assert found[2][3] == "Put the value in quotes."


def test_an_unknown_key_deep_inside_lists_what_is_known_there(folder: Path) -> None:
    (found,) = problems(folder, GOOD.replace("sql: trades.sql", "sql: trades.sql, qeury: x"))
    line, column, message, hint = found
    assert (line, message) == (6, "extract.sources.trades.qeury: unknown key")
    assert column == GOOD.splitlines()[5].index("sql:") + len("sql: trades.sql, ") + 1
    assert hint
    assert "connection" in hint


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("table: trades\n", "table: orders\n", 11, "there is no table 'orders'"),
        ("csv, table: trades", "csv, table: orders", 15, "there is no table 'orders'"),
        ("artifacts: [trades]", "artifacts: [returns]", 18, "there is no artifact 'returns'"),
        ("id: demo", "id: other", 2, "not the folder's name"),
        ("openreg: 1", "openreg: 2", 1, "schema version 2 is not known"),
        ("sql: trades.sql", "sql: ../trades.sql", 6, "leads out of"),
        ("sql: trades.sql", "sql: /etc/passwd", 6, "leads out of"),
        ("title: A report", "title: A report\nschedule: {cron: often}", 4, "not a cron line"),
        ("title: A report", "title: A report\nschedule: {timezone: Berlin}", 4, "IANA"),
        ("title: A report", "title: A report\ntitle: B", 4, "given twice"),
        ("    trades: {conn", "    Trades: {conn", 6, "not allowed here"),
    ],
)
def test_each_fault_has_its_line(folder: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    found = problems(folder, GOOD.replace(old, new, 1))
    assert any(at == line and words in message for at, _, message, _ in found), found


@pytest.mark.parametrize("wrong", ["after: [{}]", "instead_of: {}"])
def test_route_that_is_not_there_is_shown_where_it_is_named(folder: Path, wrong: str) -> None:
    second = "    spare: {channel: sftp, connection: other, " + wrong.format("regulater") + "}\n"

    [(line, column, message, hint)] = problems(folder, GOOD + second)

    assert (line, column) == (19, second.index("regulater") + 1)
    assert "there is no route 'regulater'" in message
    assert hint == "There are: regulator, spare."


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("      sql: SELECT", "\tsql: SELECT", "Indent with blanks"),
        ("title: A report", "title: A report: of trades", "colon in quotes"),
        ("title: A report", "title:A report", "blank behind"),
        ("title: A report", "title: {A} report", "in quotes as a whole"),
        ("title: A report", "title: 'A report", "Close each quote"),
        ("title: A report", "title: A\ndeadline: {by: T+1 24:00}", "like T+1 23:59"),
        ("connection: source", "connection: ware house", "no blanks"),
    ],
)
def test_what_people_type_wrong_has_a_hint(folder: Path, old: str, new: str, hint: str) -> None:
    assert old in GOOD
    found = problems(folder, GOOD.replace(old, new, 1))
    assert any(hint in str(said) for *_, said in found), found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"- a list\n", "mapping"),
        (b"title: caf\xe9\n", "not UTF-8"),
        (b"a: [\n", "not readable YAML"),
        (b"x" * (2 << 20), "at most 1 MiB"),
    ],
)
def test_a_file_that_is_no_spec_is_one_clear_error(
    folder: Path, content: bytes, words: str
) -> None:
    (folder / "report.yaml").write_bytes(content)
    with pytest.raises(InvalidSpecError, match=words):
        load(folder)


def test_a_folder_without_a_spec_says_so(folder: Path) -> None:
    with pytest.raises(InvalidSpecError, match=r"no report\.yaml"):
        load(folder)


def test_a_byte_order_mark_does_no_harm(folder: Path) -> None:
    (folder / "report.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(folder).id == "demo"


def test_hidden_and_underscored_folders_are_no_reports(tmp_path: Path) -> None:
    for name in ("b", "a", ".git", "__pycache__", "_shared"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").touch()
    assert [folder.name for folder in report_folders(tmp_path)] == ["a", "b"]


def test_the_kept_json_schema_is_current_and_accepts_a_right_spec() -> None:
    assert kept() == rendered(), "run `make schema`"
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json.loads(kept()))
    good = yaml.safe_load(GOOD)
    assert not list(validator.iter_errors(good))
    assert list(validator.iter_errors({**good, "titel": "x"}))


def test_a_file_beside_the_spec_is_named_as_the_caller_named_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "report.yaml").write_text(GOOD)
    (folder / "trades.sql").write_text("SELECT 1; SELECT 2")
    monkeypatch.chdir(folder.parent)
    files = {found.file for found in check(Path(folder.name))}
    assert Path(folder.name) / "trades.sql" in files
