"""What mapping sets do in every database; run by one test class a database."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings, strategies
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from openreg_airflow.errors import MappingConflictError, MappingError, StoreNotReadyError
from openreg_airflow.mappings.entries import Entries
from openreg_airflow.mappings.exporting import export_file
from openreg_airflow.mappings.history import difference_of_dates, difference_of_records, history
from openreg_airflow.mappings.importing import import_file, upsert
from openreg_airflow.mappings.outcomes import ImportOptions, LineOutcome
from openreg_airflow.mappings.proof import verify_revisions
from openreg_airflow.mappings.reading import set_version, snapshot_entries
from openreg_airflow.mappings.search import EntryFilter, search
from openreg_airflow.mappings.sets import Sets
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.audit_trail import AuditFilter, read, verify
from openreg_airflow.store.engine import connect_engine, parse_url, transaction

ANNA = Actor("anna", "command line on host.example")
BERT = Actor("bert", "API from 192.0.2.7")
MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)


def venues(url: str) -> Entries:
    """A set of one key and one value column."""
    Sets(url, ANNA).create("venues", keys=[("code", "string")], values=[("mic", "string")])
    return Entries(url, "venues", ANNA)


def now() -> datetime:
    return datetime.now(UTC)


def content(url: str, name: str = "venues", at: datetime | None = None, **wanted: Any) -> list[Any]:
    """The entries that a snapshot has, as tuples."""
    day = wanted.get("business_date")
    with snapshot_entries(url, name, day, at or now()) as (_, batches):
        return [tuple(row.values()) for row in batches.read_all().to_pylist()]


def write(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode(encoding))
    return path


class MappingsContract:
    """Needs a fixture ``url`` (an upgraded store)."""

    # Sets

    def test_set_is_created_described_renamed_and_archived(self, url: str) -> None:
        sets = Sets(url, ANNA)
        made = sets.create(
            "venues",
            keys=[("desk", "string"), ("book", "integer")],
            values=[("mic", "string"), ("weight", "decimal(8, 2)")],
            description="Books to venues",
            owner="Operations",
        )
        assert (made.keys[1].type, made.values[1].type) == ("integer", "decimal(8,2)")

        sets.describe("venues", owner="Reference data")
        sets.rename("venues", "books")
        sets.archive("books")

        assert sets.list() == ()
        [found] = sets.list(archived=True)
        assert (found.name, found.owner, found.description) == (
            "books", "Reference data", "Books to venues",
        )  # fmt: skip
        with pytest.raises(MappingError, match="is archived"):
            Entries(url, "books", ANNA).add({"desk": "a", "book": 1}, {"mic": "XETR"})
        assert content(url, "books") == []
        sets.restore("books")
        Entries(url, "books", ANNA).add({"desk": "a", "book": 1}, {"mic": "XETR"})

        actions = [entry.action for entry in read(url, AuditFilter(kind="mapping set"))]
        assert actions == ["create", "describe", "rename", "archive", "restore"]
        assert verify(url).broken == 0

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"name": "Venues"}, "cannot name"),
            ({"name": "x' OR 1"}, "cannot name"),
            ({"keys": []}, "at least one key column"),
            ({"values": [("code", "string")]}, "no second column"),
            ({"values": [("effective_from", "date")]}, "no second column"),
            ({"keys": [("code", "float")]}, "no type of mappings"),
            ({"keys": [("code", "money")]}, "not a column type"),
            ({"values": [("v", "decimal(40,2)")]}, "at most 38 digits"),
        ],
    )
    def test_set_that_cannot_be_is_refused(
        self, url: str, changes: dict[str, Any], said: str
    ) -> None:
        given: dict[str, Any] = {
            "name": "venues",
            "keys": [("code", "string")],
            "values": [("mic", "string")],
        } | changes
        with pytest.raises(MappingError, match=said):
            Sets(url, ANNA).create(given.pop("name"), **given)

    def test_name_that_is_taken_is_refused(self, url: str) -> None:
        venues(url)
        sets = Sets(url, ANNA)
        with pytest.raises(MappingError, match="already"):
            venues(url)
        sets.create("books", keys=[("code", "string")], values=[("mic", "string")])
        with pytest.raises(MappingError, match="already"):
            sets.rename("books", "venues")
        Sets(url, ANNA, "south").create(
            "venues", keys=[("code", "string")], values=[("mic", "string")]
        )

    def test_set_that_somebody_else_changed_is_not_overwritten(self, url: str) -> None:
        venues(url)
        seen = Sets(url, ANNA).get("venues")
        Sets(url, BERT).describe("venues", owner="Bert")
        with pytest.raises(MappingConflictError, match="edition 2, you saw 1"):
            Sets(url, ANNA).describe("venues", owner="Anna", edition=seen.edition)
        assert Sets(url, ANNA).get("venues").owner == "Bert"

    def test_tenants_do_not_see_one_another(self, url: str) -> None:
        venues(url)
        with pytest.raises(MappingError, match="no mapping set 'venues' of 'south'"):
            Sets(url, ANNA, "south").get("venues")
        with pytest.raises(MappingError, match="no mapping set"):
            Entries(url, "venues", ANNA, "south").add({"code": "a"}, {"mic": "b"})

    # Entries on two time lines

    def test_corrected_entry_is_a_new_record_and_the_past_stays(self, url: str) -> None:
        entries = venues(url)
        made = entries.add({"code": "FFM"}, {"mic": "XFRA"}, effective_from=MARCH)
        then = now()
        entries.change(made.id, value={"mic": "XETR"})

        assert content(url, at=then) == [("FFM", "XFRA", MARCH, None)]
        assert content(url) == [("FFM", "XETR", MARCH, None)]
        first, second = history(url, "venues", {"code": "FFM"})
        assert (first.entry.value, second.entry.value) == ({"mic": "XFRA"}, {"mic": "XETR"})
        assert (first.actor, first.action, first.replaced_by, first.replaced_how) == (
            "anna", "add", "anna", "change",
        )  # fmt: skip
        assert first.replaced_at == second.recorded_at
        assert second.replaced_at is None

    def test_report_of_an_old_date_sees_what_it_saw_the_first_time(self, url: str) -> None:
        entries = venues(url)
        old = entries.add({"code": "FFM"}, {"mic": "XFRA"}, effective_to=APRIL)
        entries.add({"code": "FFM"}, {"mic": "XETR"}, effective_from=APRIL)
        first_run = now()
        version = set_version(url, "venues", first_run)
        seen = content(url, at=first_run, business_date=MARCH)
        assert seen == [("FFM", "XFRA", None, APRIL)]

        entries.change(old.id, value={"mic": "XBER"})
        entries.add({"code": "BLN"}, {"mic": "XBER"})
        Sets(url, BERT).describe("venues", description="other")

        assert content(url, at=first_run, business_date=MARCH) == seen
        assert set_version(url, "venues", first_run).revision == version.revision
        assert set_version(url, "venues", now()).revision == version.revision + 2

    def test_entry_is_ended_and_deleted(self, url: str) -> None:
        entries = venues(url)
        ended = entries.end(entries.add({"code": "FFM"}, {"mic": "XFRA"}).id, APRIL)
        assert content(url) == [("FFM", "XFRA", None, APRIL)]
        assert content(url, business_date=APRIL) == []
        with pytest.raises(MappingError, match="not inside the period"):
            entries.end(ended.id, MAY)
        entries.delete(ended.id)
        assert content(url) == []
        assert [one.replaced_how for one in history(url, "venues", {"code": "FFM"})] == [
            "end", "delete",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("begin", "end", "said"),
        [
            (APRIL, APRIL, "has no day"),
            (MAY, APRIL, "has no day"),
            (MARCH, MAY, "overlaps the entry of 2026-04-01 to 2026-05-01"),
            (None, None, "overlaps"),
            (date(2026, 4, 30), None, "overlaps"),
        ],
    )
    def test_period_that_overlaps_or_has_no_day_is_refused(
        self, url: str, begin: date | None, end: date | None, said: str
    ) -> None:
        entries = venues(url)
        entries.add({"code": "FFM"}, {"mic": "XETR"}, effective_from=APRIL, effective_to=MAY)
        with pytest.raises(MappingError, match=said):
            entries.add({"code": "FFM"}, {"mic": "XFRA"}, effective_from=begin, effective_to=end)
        entries.add({"code": "FFM"}, {"mic": "XFRA"}, effective_from=MAY)
        entries.add({"code": "FFM"}, {"mic": "XFRA"}, effective_to=APRIL)
        assert len(content(url)) == 3

    def test_two_people_never_overwrite_one_another(self, url: str) -> None:
        entries = venues(url)
        seen = entries.add({"code": "FFM"}, {"mic": "XFRA"})
        Entries(url, "venues", BERT).change(seen.id, value={"mic": "XETR"})
        for act in (
            lambda: entries.change(seen.id, value={"mic": "XBER"}),
            lambda: entries.end(seen.id, APRIL),
            lambda: entries.delete(seen.id),
        ):
            with pytest.raises(MappingConflictError, match="changed by bert"):
                act()
        assert content(url) == [("FFM", "XETR", None, None)]
        with pytest.raises(MappingError, match="no entry 4711"):
            entries.delete(4711)

    def test_threads_that_change_one_entry_leave_one_winner(self, url: str) -> None:
        entries = venues(url)
        seen = entries.add({"code": "FFM"}, {"mic": "XFRA"})
        ends: list[str] = []

        def change(mic: str) -> None:
            try:
                Entries(url, "venues", BERT).change(seen.id, value={"mic": mic})
                ends.append("won")
            except MappingConflictError:
                ends.append("lost")

        running = [threading.Thread(target=change, args=[f"XX{n}"]) for n in range(4)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

        assert sorted(ends) == ["lost", "lost", "lost", "won"]
        assert len(content(url)) == 1
        assert verify(url).broken == 0

    def test_typed_keys_and_values_come_back_as_they_were(self, url: str) -> None:
        Sets(url, ANNA).create(
            "rates",
            keys=[("day", "date"), ("desk", "integer")],
            values=[
                ("rate", "decimal(10,4)"), ("live", "boolean"), ("note", "string"),
                ("until", "date"),
            ],
        )  # fmt: skip
        entries = Entries(url, "rates", ANNA)
        value = {
            "rate": Decimal("-1.5"), "live": True, "note": 'Ä "x"\n=1+1', "until": APRIL,
        }  # fmt: skip
        made = entries.add({"day": MARCH, "desk": -7}, value)
        assert made.value == value
        entries.add({"day": "2026-03-01", "desk": 8}, {"rate": "0"})

        assert content(url, "rates") == [
            (MARCH, -7, Decimal("-1.5000"), True, 'Ä "x"\n=1+1', APRIL, None, None),
            (MARCH, 8, Decimal("0.0000"), None, None, None, None, None),
        ]
        with snapshot_entries(url, "rates", None, now()) as (_, batches):
            assert batches.schema.field("rate").type == pa.decimal128(10, 4)

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ({"code": ""}, {}, "key column is empty"),
            ({}, {}, "key column is empty"),
            ({"code": "a", "other": 1}, {}, "no key column 'other'"),
            ({"code": "a"}, {"venue": "b"}, "no value column 'venue'"),
            ({"code": "a "}, {}, "begins or ends with a blank"),
            ({"code": "\u200ba"}, {}, "with a character nobody sees"),
            ({"code": "a\x1fb"}, {}, "U\\+001F"),
            ({"code": "a\x00"}, {}, "U\\+0000"),
            ({"code": "a" * 2001}, {}, "2000 bytes"),
            ({"code": 1.5}, {}, "no string"),
            ({"code": "a"}, {"weight": "1.234"}, "more digits than decimal\\(5,2\\)"),
            ({"code": "a"}, {"weight": "NaN"}, "no decimal"),
            ({"code": "a"}, {"weight": Decimal("1e9999")}, "no decimal"),
            ({"code": "a"}, {"weight": True}, "no decimal"),
        ],
    )
    def test_value_that_does_not_fit_is_refused(
        self, url: str, key: dict[str, Any], value: dict[str, Any], said: str
    ) -> None:
        Sets(url, ANNA).create(
            "venues", keys=[("code", "string")], values=[("weight", "decimal(5,2)")]
        )
        with pytest.raises(MappingError, match=said):
            Entries(url, "venues", ANNA).add(key, value)
        assert content(url) == []

    def test_every_change_is_audited_with_old_and_new_value(self, url: str) -> None:
        entries = venues(url)
        made = entries.add({"code": "FFM"}, {"mic": "XFRA"}, effective_from=MARCH)
        changed = Entries(url, "venues", BERT).change(made.id, value={"mic": "XETR"})
        entries.delete(changed.id)

        added, corrected, deleted = read(url, AuditFilter(subject="venues: FFM"))
        assert (added.actor, corrected.actor, corrected.origin) == (
            "anna", "bert", "API from 192.0.2.7",
        )  # fmt: skip
        before, after = json.loads(corrected.before or ""), json.loads(corrected.after or "")
        assert (before["mic"], after["mic"], after["revision"]) == ("XFRA", "XETR", 2)
        assert before["effective_from"] == "2026-03-01"
        assert json.loads(deleted.after or "").keys() == {"revision", "digest"}

    def test_database_refuses_to_overwrite_what_was_recorded(self, url: str) -> None:
        entries = venues(url)
        entries.change(entries.add({"code": "FFM"}, {"mic": "XFRA"}).id, value={"mic": "XETR"})
        for statement in (
            "UPDATE openreg_mapping_entry SET value = 'XXXX'",
            "UPDATE openreg_mapping_entry SET revision_to = 9 WHERE revision_to = 2",
            "DELETE FROM openreg_mapping_entry",
            "UPDATE openreg_mapping_revision SET actor = 'nobody'",
            "DELETE FROM openreg_mapping_revision",
        ):
            with (
                pytest.raises((DBAPIError, StoreNotReadyError), match="never overwritten"),
                transaction(connect_engine(parse_url(url)), write=True) as connection,
            ):
                connection.execute(text(statement))
        assert verify_revisions(url) == ((2, ()))

    # Files

    def test_dry_run_tells_what_the_import_then_does(self, url: str, tmp_path: Path) -> None:
        entries = venues(url)
        entries.add({"code": "A"}, {"mic": "AAAA"})
        entries.add({"code": "B"}, {"mic": "BBBB"})
        entries.add({"code": "C"}, {"mic": "CCCC"})
        entries.add({"code": "D"}, {"mic": "DDDD"})
        file = write(
            tmp_path / "venues.csv",
            "code,mic,effective_from,effective_to",
            "A,AAAA,,",
            "B,NEWB,,",
            "C,NEWC,2026-04-01,",
            "D,DDDD,,2026-05-01",
            "E,EEEE,,",
        )
        told: list[LineOutcome] = []
        dry = import_file(
            url, "venues", file, ANNA, options=ImportOptions(dry_run=True), told=told.append
        )
        assert (dry.applied, dry.revision, len(content(url))) == (False, 4, 4)
        assert [(one.line, one.outcome, one.key) for one in told] == [
            (3, "changed", ("B",)), (4, "added", ("C",)), (4, "ended", ("C",)),
            (5, "ended", ("D",)), (6, "added", ("E",)),
        ]  # fmt: skip
        assert (told[0].old_value, told[0].value) == (("BBBB",), ("NEWB",))

        real = import_file(url, "venues", file, ANNA)
        counts = (real.added, real.changed, real.ended, real.unchanged, real.refused)
        assert counts == (2, 1, 2, 1, 0)
        assert (real.applied, real.revision, real.lines) == (True, 5, 5)
        assert content(url) == [
            ("A", "AAAA", None, None), ("B", "NEWB", None, None), ("C", "CCCC", None, APRIL),
            ("C", "NEWC", APRIL, None), ("D", "DDDD", None, MAY), ("E", "EEEE", None, None),
        ]  # fmt: skip
        [audited] = read(url, AuditFilter(action="import"))
        after = json.loads(audited.after or "")
        assert (after["file"], after["added"], after["revision"]) == ("venues.csv", 2, 5)
        again = import_file(url, "venues", file, ANNA)
        assert (again.applied, again.revision, again.unchanged) == (False, 5, 5)
        assert verify_revisions(url)[1] == ()

    def test_replace_also_removes_what_the_file_does_not_have(
        self, url: str, tmp_path: Path
    ) -> None:
        entries = venues(url)
        entries.add({"code": "A"}, {"mic": "AAAA"})
        entries.add({"code": "B"}, {"mic": "BBBB"}, effective_from=MARCH)
        file = write(tmp_path / "v.csv", "mic,code,effective_from", "AAAA,A,", "BBBB,B,2026-04-01")
        told: list[LineOutcome] = []
        options = ImportOptions(mode="replace")
        done = import_file(url, "venues", file, ANNA, options=options, told=told.append)
        assert (done.added, done.removed, done.unchanged) == (1, 1, 1)
        assert [(one.line, one.outcome) for one in told] == [(3, "added"), (None, "removed")]
        assert content(url) == [("A", "AAAA", None, None), ("B", "BBBB", APRIL, None)]

        empty = write(tmp_path / "empty.csv", "code,mic")
        with pytest.raises(MappingError, match="nothing would be left"):
            import_file(url, "venues", empty, ANNA, options=options)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("A,X,2026-05-01,2026-04-01,1", "the end 2026-04-01 is not after"),
            ("A,X,2026-04-01,2026-04-01,1", "is not after"),
            (",X,,,1", "a key column is empty"),
            ("Z,X,,,eins", "weight: 'eins' is no integer"),
            ("Z,X,31.02.2026,,1", "is no date"),
            ("Z,X,,", "has 4 cells, the header 5"),
            ("Z,X,,,1,6", "has 6 cells, the header 5"),
            ("Y,X,,,1", "has the same key and beginning as line 2"),
            ("Y,X,2026-03-01,,1", "overlaps line 2"),
            ("S,X,,,1", "reaches into the entry that begins 2026-04-01"),
            ("S,X,2026-04-10,2026-04-20,1", "of which the rest would be lost"),
            ("Z ,X,,,1", "begins or ends with a blank"),
            ("\ufeffZ,X,,,1", r"'\\ufeffZ' begins or ends with a character nobody sees"),
            ('"a\x01",X,,,1', "U\\+0001"),
        ],
    )
    def test_refused_line_has_its_reason_and_nothing_is_written(
        self, url: str, tmp_path: Path, line: str, said: str
    ) -> None:
        Sets(url, ANNA).create(
            "venues", keys=[("code", "string")], values=[("mic", "string"), ("weight", "integer")]
        )
        Entries(url, "venues", ANNA).add({"code": "S"}, {}, effective_from=APRIL, effective_to=MAY)
        file = write(
            tmp_path / "v.csv",
            "code,mic,effective_from,effective_to,weight",
            "Y,NEW,2026-01-01,,1" if "2026-03-01" in line else "Y,NEW,,,1",
            line,
        )
        told: list[LineOutcome] = []
        done = import_file(url, "venues", file, ANNA, told=told.append)

        assert (done.applied, done.refused, done.revision) == (False, 1, 1)
        [refused] = [one for one in told if one.outcome == "refused"]
        assert refused.line == 3
        assert re.search(said, refused.reason or ""), refused.reason
        assert len(content(url)) == 1

    @pytest.mark.parametrize(
        ("head", "said"),
        [
            ("code,mic,colour", "no column 'colour'"),
            ("code", "column 'mic' is missing"),
            ("code,mic,mic", "there twice"),
            ("", "no header"),
        ],
    )
    def test_header_that_does_not_fit_is_refused(
        self, url: str, tmp_path: Path, head: str, said: str
    ) -> None:
        venues(url)
        with pytest.raises(MappingError, match=said):
            import_file(url, "venues", write(tmp_path / "v.csv", head, "A,B,C"), ANNA)

    def test_entry_may_be_split_by_lines_that_join(self, url: str, tmp_path: Path) -> None:
        venues(url).add({"code": "A"}, {"mic": "OLD"})
        file = write(
            tmp_path / "v.csv",
            "code,mic,effective_from,effective_to",
            "A,TMP,2026-03-01,2026-04-01",
            "A,OLD,2026-04-01,",
        )
        assert import_file(url, "venues", file, ANNA).applied
        assert content(url) == [
            ("A", "OLD", None, MARCH), ("A", "TMP", MARCH, APRIL), ("A", "OLD", APRIL, None),
        ]  # fmt: skip

    def test_what_is_exported_imports_again_without_a_change(
        self, url: str, tmp_path: Path
    ) -> None:
        Sets(url, ANNA).create(
            "all_types",
            keys=[("code", "string"), ("number", "integer")],
            values=[("text", "string"), ("amount", "decimal(9,3)"), ("yes", "boolean"),
                    ("day", "date")],
        )  # fmt: skip
        texts = [
            "=1+1", "'=x", "''", "+49", "-2+3", "@x", "NULL", "NaN", "a;b,c\td|e", 'say "x"',
            "two\nlines", "two\r\nlines", " blanks ", "ÄÖ😀", "＝x", "'", "\t=x", "007", "1e5",
            "TRUE", "_x000D_", "2026-01-01", "A" * 5000,
        ]  # fmt: skip
        given = [
            (
                {"code": f"={text.strip()[0]}", "number": place},
                {"text": text, "day": MARCH},
                MARCH,
                None,
            )
            for place, text in enumerate(texts)
        ]
        given.append(
            ({"code": "none", "number": -1}, {"amount": "-1.5", "yes": False}, None, APRIL)
        )
        done = upsert(url, "all_types", given, ANNA)
        assert (done.applied, done.added) == (True, len(given))
        for suffix in (".csv", ".xlsx"):
            file = tmp_path / f"all{suffix}"
            assert export_file(url, "all_types", file) == len(given)
            for mode in ("merge", "replace"):
                options = ImportOptions(mode=mode)  # type: ignore[arg-type]
                told: list[LineOutcome] = []
                again = import_file(url, "all_types", file, ANNA, options=options, told=told.append)
                assert told == []
                assert (again.unchanged, again.applied) == (len(given), False)
        day = tmp_path / "day.csv"
        assert export_file(url, "all_types", day, business_date=date(2026, 2, 1)) == 1
        assert import_file(url, "all_types", day, ANNA).unchanged == 1

    def test_import_into_a_set_that_changed_since_is_refused(
        self, url: str, tmp_path: Path
    ) -> None:
        entries = venues(url)
        file = write(tmp_path / "v.csv", "code,mic", "A,B")
        dry = import_file(url, "venues", file, ANNA, options=ImportOptions(dry_run=True))
        entries.add({"code": "Z"}, {"mic": "Z"})
        with pytest.raises(MappingConflictError, match="revision 1 by anna"):
            import_file(url, "venues", file, ANNA, options=ImportOptions(expected=dry.revision))
        again = ImportOptions(expected=dry.revision, dry_run=True)
        with pytest.raises(MappingConflictError, match="revision 1 by anna"):
            import_file(url, "venues", file, ANNA, options=again)

    def test_line_inside_an_open_entry_is_refused_in_words(self, url: str, tmp_path: Path) -> None:
        venues(url).add({"code": "A"}, {"mic": "AAAA"})
        file = write(
            tmp_path / "v.csv", "code,mic,effective_from,effective_to", "A,B,2026-04-01,2026-05-01"
        )
        told: list[LineOutcome] = []
        import_file(url, "venues", file, ANNA, told=told.append)
        reasons = [line.reason or "" for line in told if line.outcome == "refused"]
        assert reasons == [
            "lies inside the entry of always to open, of which the rest would be lost"
        ]

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_import_into_a_set_that_nobody_may_change_is_refused(
        self, url: str, tmp_path: Path, *, dry_run: bool
    ) -> None:
        """A dry run says so too."""
        venues(url)
        Sets(url, ANNA).archive("venues")
        file = write(tmp_path / "v.csv", "code,mic", "A,B")
        with pytest.raises(MappingError, match="is archived"):
            import_file(url, "venues", file, ANNA, options=ImportOptions(dry_run=dry_run))

    def test_two_imports_at_once_come_one_after_the_other(self, url: str, tmp_path: Path) -> None:
        venues(url)
        for number in range(2):
            lines = [f"K{key},V{number}" for key in range(2000)]
            write(tmp_path / f"{number}.csv", "code,mic", *lines)
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.mappings_contract", url,
                 str(tmp_path / f"{number}.csv")],
                stderr=subprocess.PIPE,
            )
            for number in range(2)
        ]  # fmt: skip
        ends = [(process.communicate()[1].decode(), process.returncode) for process in running]

        assert [code for _, code in ends] == [0, 0], ends
        rows = content(url)
        assert len(rows) == 2000
        assert len({mic for _, mic, _, _ in rows}) == 1
        assert set_version(url, "venues", now()).revision == 2
        assert verify(url).broken == 0
        assert verify_revisions(url) == (2, ())

    def test_program_that_fails_in_the_middle_leaves_nothing(self, url: str) -> None:
        venues(url)

        def entries() -> Any:
            yield {"code": "A"}, {"mic": "A"}, None, None
            message = "the source went away"
            raise ConnectionError(message)

        with pytest.raises(ConnectionError, match="went away"):
            upsert(url, "venues", entries(), ANNA)
        assert content(url) == []

    # Searching

    def test_search_finds_by_each_filter(self, url: str) -> None:
        Sets(url, ANNA).create("venues", keys=[("code", "string")], values=[("mic", "string")])
        anna, bert = Entries(url, "venues", ANNA), Entries(url, "venues", BERT)
        anna.add({"code": "FFM-1"}, {"mic": "XETR"}, effective_to=APRIL)
        anna.add({"code": "FFM-2"}, {"mic": "100%_\\"}, effective_from=APRIL)
        then = now()
        bert.add({"code": "BLN"}, {"mic": "xber"})

        def found(**wanted: Any) -> list[str]:
            page = search(url, "venues", EntryFilter(**wanted))
            assert page.next is None
            return [entry.key["code"] for entry in page.entries]

        assert found() == ["BLN", "FFM-1", "FFM-2"]
        assert found(prefix="FFM") == ["FFM-1", "FFM-2"]
        assert found(prefix="F_") == []
        assert found(text="XBER") == ["BLN"]
        assert found(text="fm-2") == ["FFM-2"]
        assert found(text="%_\\") == ["FFM-2"]
        assert found(text="nothing") == []
        assert found(business_date=MARCH) == ["BLN", "FFM-1"]
        assert found(recorded_at=then) == ["FFM-1", "FFM-2"]
        assert found(changed_since=then) == ["BLN"]
        assert found(actor="anna") == ["FFM-1", "FFM-2"]
        assert found(actor="anna", prefix="FFM", business_date=APRIL) == ["FFM-2"]
        assert found(actor="nobody") == []

    def test_search_for_text_finds_what_holds_it_in_either_case_of_ascii(self, url: str) -> None:
        venues(url)
        cells = [
            "aB%_",
            "\\'x",
            'q"',
            "ÄÖß",
            "İı",
            "e\u0301é",
            "😀 x",
            "שלום",
            "a" * 40,
            "b\u200bc",
        ]
        made = zip(cells, [*cells[3:], "x" * 30_000 + "%" * 30_000, "A b", "A"], strict=True)
        upsert(url, "venues", (({"code": c}, {"mic": v}, None, None) for c, v in made), ANNA)
        everything = [(one.key["code"], one.value["mic"]) for one in search(url, "venues").entries]
        assert len(everything) == len(cells)
        ascii_lower = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}

        @settings(max_examples=40, deadline=None, database=None)
        @given(
            strategies.text(
                alphabet="aAbBxX%_\\'\"äÄßS😀eEéıiİם\u0301\u200b \x1f", min_size=1, max_size=4
            )
        )
        @example("x" * 30_000 + "%" * 29_999)
        @example("%" * 30_000 + "x")
        @example("a\0")
        @example("\ud800")
        def same(wanted: str) -> None:
            found = search(url, "venues", EntryFilter(text=wanted)).entries
            assert [(one.key["code"], one.value["mic"]) for one in found] == [
                (key, value)
                for key, value in everything
                if wanted.translate(ascii_lower) in f"{key}\x1f{value}".translate(ascii_lower)
            ]

        same()

    @pytest.mark.parametrize("junk", ["\0", "a\0", "\ud800"])
    def test_what_no_entry_can_hold_is_found_nowhere(self, url: str, junk: str) -> None:
        venues(url).add({"code": "a"}, {"mic": "a"})
        assert search(url, "venues", EntryFilter(prefix=junk)).entries == ()
        assert search(url, "venues", EntryFilter(text=junk)).entries == ()
        assert search(url, "venues", EntryFilter(actor=junk)).entries == ()
        for place in ([1, junk, "2026-01-01"], [10**30, "a", "2026-01-01"], [1e999, "a", "x"]):
            token = base64.urlsafe_b64encode(json.dumps(place).encode()).decode()
            with pytest.raises(MappingError, match="no place in a search"):
                search(url, "venues", after=token)

    def test_pages_are_of_one_state_whoever_writes_meanwhile(self, url: str) -> None:
        venues(url)
        upsert(
            url, "venues", (({"code": f"K{n:03d}"}, {"mic": "A"}, None, None) for n in range(25)),
            ANNA,
        )  # fmt: skip
        keys: list[str] = []
        page = search(url, "venues", limit=10)
        keys += [entry.key["code"] for entry in page.entries]
        upsert(url, "venues", [({"code": "K0155"}, {"mic": "B"}, None, None)], ANNA)
        while page.next:
            page = search(url, "venues", limit=10, after=page.next)
            keys += [entry.key["code"] for entry in page.entries]
        assert keys == [f"K{n:03d}" for n in range(25)]
        for junk in ("x", "e30=", "W10=", "\xff"):
            with pytest.raises(MappingError, match="no place in a search"):
                search(url, "venues", after=junk)

    def test_difference_between_two_dates(self, url: str) -> None:
        entries = venues(url)
        entries.add({"code": "A"}, {"mic": "OLD"}, effective_to=APRIL)
        entries.add({"code": "A"}, {"mic": "NEW"}, effective_from=APRIL)
        entries.add({"code": "B"}, {"mic": "B"}, effective_to=APRIL)
        entries.add({"code": "C"}, {"mic": "C"}, effective_from=APRIL)
        entries.add({"code": "D"}, {"mic": "D"})
        entries.add({"code": "E"}, {"mic": "E"}, effective_to=APRIL)
        entries.add({"code": "E"}, {"mic": "E"}, effective_from=APRIL)

        found = difference_of_dates(url, "venues", MARCH, MAY)
        assert [(one.outcome, (one.after or one.before).key["code"]) for one in found] == [  # type: ignore[union-attr]
            ("changed", "A"), ("removed", "B"), ("added", "C"),
        ]  # fmt: skip

    def test_difference_between_two_recorded_times(self, url: str) -> None:
        entries = venues(url)
        changed = entries.add({"code": "A"}, {"mic": "OLD"})
        removed = entries.add({"code": "B"}, {"mic": "B"})
        entries.add({"code": "C"}, {"mic": "C"})
        first = now()
        entries.change(changed.id, value={"mic": "NEW"})
        entries.delete(removed.id)
        passing = entries.add({"code": "P"}, {"mic": "P"})
        entries.delete(passing.id)
        entries.add({"code": "D"}, {"mic": "D"})
        second = now()

        found = list(difference_of_records(url, "venues", first, second))
        assert [(one.outcome, (one.after or one.before).key["code"]) for one in found] == [  # type: ignore[union-attr]
            ("changed", "A"), ("removed", "B"), ("added", "D"),
        ]  # fmt: skip
        with pytest.raises(MappingError, match="is later than"):
            list(difference_of_records(url, "venues", second, first))

    # Versions

    def test_version_is_of_the_instant(self, url: str) -> None:
        before = now() - timedelta(seconds=1)
        entries = venues(url)
        assert set_version(url, "venues", now()).revision == 0
        with pytest.raises(MappingError, match="did not exist at"):
            set_version(url, "venues", before)
        with pytest.raises(MappingError, match="no mapping set 'places'"):
            set_version(url, "places", now())
        entries.add({"code": "A"}, {"mic": "A"})
        assert set_version(url, "venues", now()).revision == 1

    def test_reader_waits_for_a_change_that_has_its_instant(self, url: str) -> None:
        """A change is never seen later with an earlier instant than a reader asked for."""
        venues(url)
        seen: list[tuple[datetime, int]] = []
        stop = threading.Event()

        def reading() -> None:
            while not stop.is_set():
                at = now()
                seen.append((at, set_version(url, "venues", at).revision))

        reader = threading.Thread(target=reading)
        reader.start()
        entries = Entries(url, "venues", ANNA)
        for number in range(15):
            entries.add({"code": str(number)}, {"mic": "A"})
        stop.set()
        reader.join()
        for at, revision in seen:
            assert set_version(url, "venues", at).revision == revision


if __name__ == "__main__":
    import_file(sys.argv[1], "venues", Path(sys.argv[2]), ANNA)
