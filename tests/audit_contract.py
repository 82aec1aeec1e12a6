"""What the audit trail does in every database; run by one test class a database."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from openreg_airflow.errors import StoreNotReadyError
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.audit import SUBJECT, AuditEntry, AuditMark, append, append_all
from openreg_airflow.store.audit_commands import app
from openreg_airflow.store.audit_trail import AuditFilter, read, verify
from openreg_airflow.store.engine import connect_engine, parse_url, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANNA = Actor("anna", "command line on host.example")


def entry(subject: str = "venues: XETR", **changes: Any) -> AuditEntry:
    fields: dict[str, Any] = {
        "actor": ANNA,
        "action": "change",
        "kind": "mapping entry",
        "subject": subject,
        "before": {"mic": "XETR", "from": date(2026, 1, 1)},
        "after": {"mic": "XETA", "price": Decimal("1.50")},
    }
    return AuditEntry(**(fields | changes))


def appended(url: str, *entries: AuditEntry) -> AuditMark:
    with transaction(connect_engine(parse_url(url)), write=True) as connection:
        return append_all(connection, entries)


class AuditContract:
    """Needs fixtures ``url`` (an upgraded store) and ``forge``.

    ``forge(statement)`` executes SQL as somebody who owns the database and has switched the
    triggers off.
    """

    def test_what_is_appended_is_read_again(self, url: str) -> None:
        mark = appended(url, entry(), entry("b", before=None, after=["x", None]))

        first, second = read(url)

        assert (first.sequence, first.actor, first.origin) == (1, "anna", ANNA.origin)
        assert (first.action, first.kind, first.subject) == (
            "change", "mapping entry", "venues: XETR",
        )  # fmt: skip
        assert json.loads(first.before or "") == {"mic": "XETR", "from": "2026-01-01"}
        assert json.loads(first.after or "") == {"mic": "XETA", "price": "1.50"}
        assert (second.before, second.after) == (None, '["x",null]')
        assert second.previous == first.sha256
        assert mark == AuditMark(2, second.sha256)
        assert verify(url).broken == 0

    def test_change_that_fails_leaves_no_entry(self, url: str) -> None:
        def change() -> None:
            with transaction(connect_engine(parse_url(url)), write=True) as connection:
                append(connection, entry())
                connection.execute(text("INSERT INTO openreg_audit_head VALUES (1, 0, 'x')"))

        with pytest.raises(DBAPIError):
            change()
        assert list(read(url)) == []
        assert verify(url).broken == 0

    def test_transaction_for_reading_cannot_append(self, url: str) -> None:
        with (
            pytest.raises(ValueError, match="begun for writing"),
            transaction(connect_engine(parse_url(url)), write=False) as connection,
        ):
            append(connection, entry())

    def test_value_that_is_no_json_is_refused(self, url: str) -> None:
        with pytest.raises(TypeError, match="cannot keep a"):
            appended(url, entry(after=object()))

    @pytest.mark.parametrize("said", ["a\0b", "half \ud800 pair", "😀\n\t", "x" * 5000])
    def test_any_text_can_be_kept(self, url: str, said: str) -> None:
        appended(url, entry(said, before=said, after={said: said}))

        [found] = read(url)

        assert json.loads(found.before or "") == said
        assert len(found.subject) <= SUBJECT
        assert verify(url).broken == 0

    def test_processes_that_append_at_the_same_time_make_one_chain(self, url: str) -> None:
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.audit_contract", url], stderr=subprocess.PIPE
            )
            for _ in range(3)
        ]
        ends = [(process.communicate()[1].decode(), process.returncode) for process in running]

        assert [code for _, code in ends] == [0, 0, 0], ends
        found = verify(url)
        assert (found.entries, found.broken, found.head.sequence) == (75, 0, 75)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE openreg_audit SET actor = 'nobody'",
            "DELETE FROM openreg_audit WHERE sequence = 1",
            "DELETE FROM openreg_audit_head",
            "UPDATE openreg_audit_head SET sequence = 1",
            "UPDATE openreg_audit_head SET sha256 = 'x'",
        ],
    )
    def test_database_refuses_to_rewrite_the_trail(self, url: str, statement: str) -> None:
        appended(url, entry(), entry())
        with (
            pytest.raises((DBAPIError, StoreNotReadyError), match="only"),
            transaction(connect_engine(parse_url(url)), write=True) as connection,
        ):
            connection.execute(text(statement))
        assert verify(url).broken == 0

    @pytest.mark.parametrize(
        ("statement", "said"),
        [
            ("UPDATE openreg_audit SET actor = 'eve' WHERE sequence = 2", "entry 2 was changed"),
            ("UPDATE openreg_audit SET after = NULL WHERE sequence = 3", "entry 3 was changed"),
            (
                "UPDATE openreg_audit SET recorded_at = '2020-01-01 00:00:00+00' "
                "WHERE sequence = 1",
                "entry 1 was changed",
            ),
            ("DELETE FROM openreg_audit WHERE sequence = 2", "entries 2 to 2 were removed"),
            ("DELETE FROM openreg_audit WHERE sequence = 1", "entries 1 to 1 were removed"),
            ("DELETE FROM openreg_audit WHERE sequence > 2", "removed from the end"),
            ("DELETE FROM openreg_audit", "entries 1 to 4 were removed from the end"),
            (
                "INSERT INTO openreg_audit SELECT 5, recorded_at, actor, origin, action, kind, "
                "subject, before, after, sha256, sha256 FROM openreg_audit WHERE sequence = 4",
                "entries 5 to 5 were inserted at the end",
            ),
            ("UPDATE openreg_audit_head SET sha256 = 'x'", "not the one that the head names"),
            ("DELETE FROM openreg_audit_head", "head of the trail was removed"),
        ],
    )
    def test_rewritten_trail_is_found(
        self, url: str, forge: Any, statement: str, said: str
    ) -> None:
        appended(url, *(entry(str(number)) for number in range(4)))

        forge(statement)

        found = verify(url)
        assert found.broken >= 1
        assert any(said in line for line in found.breaks), found.breaks
        result = CliRunner().invoke(app, ["verify", "--url", url])
        assert (result.exit_code, said in result.output) == (1, True)

    def test_trail_that_was_cut_with_its_head_is_found_by_its_anchor(
        self, url: str, forge: Any, tmp_path: Path
    ) -> None:
        anchor = tmp_path / "anchor"
        appended(url, *(entry(str(number)) for number in range(4)))
        run = CliRunner().invoke
        assert run(app, ["verify", "--anchor", str(anchor), "--url", url]).exit_code == 0
        kept = list(read(url))

        forge("DELETE FROM openreg_audit WHERE sequence > 2")
        forge(f"UPDATE openreg_audit_head SET sequence = 2, sha256 = '{kept[1].sha256}'")
        assert verify(url).broken == 0
        cut = run(app, ["verify", "--anchor", str(anchor), "--url", url])
        assert (cut.exit_code, "the trail was cut" in cut.output) == (1, True)

        appended(url, entry("other"), entry("other"), entry("other"))
        rewritten = run(app, ["verify", "--anchor", str(anchor), "--url", url])
        assert (rewritten.exit_code, "it was rewritten" in rewritten.output) == (1, True)

    def test_anchor_moves_on_with_a_good_trail(self, url: str, tmp_path: Path) -> None:
        anchor = tmp_path / "anchor"
        for count in (1, 2):
            appended(url, entry())
            result = CliRunner().invoke(app, ["verify", "--anchor", str(anchor), "--url", url])
            assert result.exit_code == 0, result.output
            assert len(anchor.read_text().splitlines()) == count
        anchor.write_text("no mark\n")
        bad = CliRunner().invoke(app, ["verify", "--anchor", str(anchor), "--url", url])
        assert (bad.exit_code, "line 1" in bad.output) == (2, True)

    def test_entries_are_filtered(self, url: str) -> None:
        bert = Actor("bert", "API from 192.0.2.7")
        appended(
            url,
            entry("venues: A"),
            entry("venues: B", actor=bert),
            entry("venues_x: C", action="end"),
            entry("books", kind="mapping set"),
        )

        def subjects(**wanted: Any) -> list[str]:
            return [found.subject for found in read(url, AuditFilter(**wanted))]

        assert subjects(actor="bert") == ["venues: B"]
        assert subjects(action="end") == ["venues_x: C"]
        assert subjects(kind="mapping set") == ["books"]
        assert subjects(subject="venues: A") == ["venues: A"]
        assert subjects(subject="venues:*") == ["venues: A", "venues: B"]
        assert subjects(limit=2) == ["venues_x: C", "books"]
        assert subjects(after=3) == ["books"]
        assert subjects(since=datetime(2100, 1, 1, tzinfo=UTC)) == []
        assert len(subjects(until=datetime(2100, 1, 1, tzinfo=UTC))) == 4

    def test_trail_is_listed_and_exported(self, url: str) -> None:
        appended(url, entry('=HYPERLINK("x")'), entry("books"))

        def run(*options: str) -> str:
            result = CliRunner().invoke(app, ["list", "--url", url, *options])
            assert result.exit_code == 0, result.output
            return result.output

        assert "anna (command line on host.example)" in run()
        assert "change mapping entry books" in run("--limit", "1")
        lines = run("--format", "csv").splitlines()
        assert lines[0].startswith("sequence,recorded_at,actor,")
        assert '"\'=HYPERLINK(""x"")"' in lines[1]
        records = [json.loads(line) for line in run("--format", "json").splitlines()]
        assert [record["sequence"] for record in records] == [1, 2]

    def test_long_trail_is_appended_in_batches(self, url: str) -> None:
        def many() -> Iterator[AuditEntry]:
            return (entry(str(number)) for number in range(5001))

        with transaction(connect_engine(parse_url(url)), write=True) as connection:
            assert append_all(connection, many()).sequence == 5001
        assert verify(url).entries == 5001


if __name__ == "__main__":
    for number in range(25):
        appended(sys.argv[1], entry(str(number)))
