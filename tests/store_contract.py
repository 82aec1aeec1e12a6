"""What the store does in every database that it supports; run by one test class a database."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from openreg_airflow.errors import StoreNotReadyError
from openreg_airflow.records import (
    Artifact,
    ArtifactFile,
    Column,
    FileRef,
    RuleResult,
    RunKey,
    Verdict,
)
from openreg_airflow.store import Store, schema
from openreg_airflow.store.actor import Actor
from openreg_airflow.store.artifact_history import ArtifactHistory
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.models import Base
from openreg_airflow.store_records import DeliveryAttempt, Extract, Window

RUN = RunKey(report_id="mifir", business_date=date(2026, 3, 2), run_id="manual__2026-03-02")
SHA = "ab" * 32


def rule(rule_id: str = "price_positive", **changes: Any) -> RuleResult:
    fields: dict[str, Any] = {
        "rule_id": rule_id,
        "title": "Prices are positive",
        "severity": "blocking",
        "table": "transactions",
        "failed": 3_000_000_000,
        "checked": 9_000_000_000,
        "seconds": 0.125,
        "message": "price -1 of Ä7 is not positive",
        "samples": ({"price": "-1", "venue": None},),
    }
    return RuleResult(**(fields | changes))


def artifact(name: str = "transactions", **changes: Any) -> Artifact:
    fields: dict[str, Any] = {
        "name": name,
        "format": "xml",
        "records": 7,
        "schema_check": "valid",
        "files": (artifact_file(name),),
        "content": SHA,
    }
    return Artifact(**(fields | changes))


def artifact_file(name: str = "transactions", **changes: Any) -> ArtifactFile:
    fields: dict[str, Any] = {
        "filename": "DEMO_DATTRA_DE_20260302.xml",
        "uri": f"s3://bucket/{name}",
        "bytes": 5_000_000_000,
        "sha256": SHA,
        "records": 7,
    }
    return ArtifactFile(**(fields | changes))


def extract(source: str = "trades", **changes: Any) -> Extract:
    fields: dict[str, Any] = {
        "source": source,
        "connection": "warehouse",
        "server": "PostgreSQL 15.6",
        "query": "SELECT 'Ä' AS a\r\n",
        "query_sha256": SHA,
        "parameters": {"business_date": "2026-03-02", "venues": ("XETR", "XPAR")},
        "uri": f"s3://bucket/{source}.parquet",
        "bytes": 5_000_000_000,
        "sha256": SHA,
        "rows": 3_000_000_000,
        "columns": (Column(name="a", type="string"),),
        "started_at": datetime(2026, 3, 2, 20, 0, 0, 1, tzinfo=UTC),
        "seconds": 1.5,
    }
    return Extract(**(fields | changes))


def attempt(number: int = 1, **changes: Any) -> DeliveryAttempt:
    fields: dict[str, Any] = {
        "route": "regulator",
        "artifact": "transactions",
        "attempt": number,
        "channel": "sftp",
        "destination": "sftp://inbox.example:22/in/a.xml",
        "filename": "a.xml",
        "sha256": SHA,
        "started_at": datetime(2026, 3, 2, 21, 59, 59, 999999, tzinfo=UTC),
        "result": "started",
    }
    return DeliveryAttempt(**(fields | changes))


class StoreContract:
    """Needs fixtures ``url`` (an upgraded store) and ``empty_url`` (a database without tables)."""

    def test_what_is_recorded_is_read_again(self, url: str) -> None:
        store = Store(url)
        failures = FileRef(uri="/failures.parquet", bytes=1, sha256=SHA)
        verdict = Verdict(results=(rule("z"), rule("a", severity="warning")), failures=failures)
        store.record_extract(RUN, extract())
        store.record_verdict(RUN, verdict)
        store.record_artifact(RUN, artifact())
        failed = attempt(result="failed", bytes=12, seconds=0.5, error_class="X", error="why")
        store.record_attempt(RUN, failed)

        again = Store(url)
        assert again.extracts(RUN) == (extract(),)
        assert again.verdict(RUN) == verdict
        assert again.artifacts(RUN) == (artifact(),)
        assert again.attempts(RUN) == (failed,)

    def test_repeated_task_replaces_what_its_first_try_wrote(self, url: str) -> None:
        store = Store(url)
        store.record_verdict(RUN, Verdict(results=(rule("gone"), rule("stays"))))
        store.record_extract(RUN, extract(rows=1))
        store.record_artifact(RUN, artifact(records=1))
        store.record_attempt(RUN, attempt())

        second = Verdict(results=(rule("new"), rule("stays", failed=0, message="")))
        store.record_verdict(RUN, second)
        store.record_extract(RUN, extract(rows=2, attempt=2))
        store.record_artifact(RUN, artifact(records=2))
        store.record_attempt(RUN, attempt(result="delivered", bytes=7))

        assert store.verdict(RUN) == second
        assert store.extracts(RUN) == (extract(rows=2, attempt=2),)
        assert store.artifacts(RUN) == (artifact(records=2),)
        assert store.attempts(RUN) == (attempt(result="delivered", bytes=7),)

    def test_files_that_a_repeated_task_no_longer_makes_go(self, url: str) -> None:
        store = Store(url)
        files = (
            artifact_file(part=1, md5="ab" * 16),
            artifact_file(part=1, role="signature", filename="a.sig"),
            artifact_file(part=2, records=0),
        )
        store.record_artifact(RUN, artifact(files=files, numbers=(7, 8), sequence="esma"))
        assert store.artifacts(RUN) == (artifact(files=files, numbers=(7, 8), sequence="esma"),)

        store.record_artifact(RUN, artifact(files=files[:1]))
        assert store.artifacts(RUN) == (artifact(files=files[:1]),)

        store.record_artifact(RUN, artifact(files=()))
        assert store.artifacts(RUN) == (artifact(files=()),)

    def test_attempts_of_one_try_are_told_apart_by_their_file(self, url: str) -> None:
        store = Store(url)
        both = [attempt(position=1, filename="a"), attempt(position=2, filename="b")]
        for each in both:
            store.record_attempt(RUN, each)
        assert store.attempts(RUN) == tuple(both)

    def test_artifacts_are_found_across_runs_and_stay_when_their_files_go(self, url: str) -> None:
        history = ArtifactHistory(url)
        other = RUN.model_copy(update={"run_id": "other", "business_date": date(2026, 3, 3)})
        for run in (RUN, other):
            history.record_artifact(run, artifact())
        assert [kept.run for kept in history.find()] == [RUN, other]
        assert [kept.run for kept in history.find(runs=["other"])] == [other]
        assert [kept.run for kept in history.find(business_date=RUN.business_date)] == [RUN]
        assert history.find(report="emir") == ()
        assert history.find(before=datetime(2026, 3, 2, tzinfo=UTC)) == ()
        [kept] = history.find(runs=[RUN.run_id], report="mifir", artifact="transactions")
        assert kept.removed_at is None

        history.mark_removed(kept, Actor("keeper", "here"))

        assert [kept.removed_at is None for kept in history.find()] == [False, True]
        assert history.find()[0].artifact == artifact()

    def test_replaced_row_keeps_its_id(self, url: str) -> None:
        store = Store(url)
        ids = []
        for records in (1, 2):
            store.record_artifact(RUN, artifact(records=records))
            with transaction(connect_engine(parse_url(url)), write=False) as connection:
                ids.append(connection.scalar(text("SELECT id FROM openreg_artifact")))
        assert ids[0] == ids[1]

    def test_attempts_of_a_run_add_up(self, url: str) -> None:
        store = Store(url)
        for number in (2, 1, 3):
            store.record_attempt(RUN, attempt(number))
        store.record_attempt(RUN, attempt(1, route="mirror"))

        found = [(a.route, a.attempt) for a in store.attempts(RUN)]
        assert found == [("mirror", 1), ("regulator", 1), ("regulator", 2), ("regulator", 3)]

    @pytest.mark.parametrize(
        "other",
        [
            {"report_id": "emir"},
            {"business_date": date(2026, 3, 3)},
            {"run_id": "manual__other"},
        ],
    )
    def test_runs_do_not_mix(self, url: str, other: dict[str, Any]) -> None:
        store = Store(url)
        elsewhere = RUN.model_copy(update=other)
        store.record_verdict(RUN, Verdict(results=(rule(),)))
        store.record_extract(RUN, extract())
        store.record_artifact(RUN, artifact())
        store.record_attempt(RUN, attempt())
        store.record_verdict(elsewhere, Verdict(results=(rule("other"),)))

        assert store.extracts(elsewhere) == ()
        assert store.artifacts(elsewhere) == ()
        assert store.attempts(elsewhere) == ()
        assert store.verdict(RUN) == Verdict(results=(rule(),))

    def test_window_of_a_business_date_lies_between_its_neighbours(self, url: str) -> None:
        store = Store(url)
        for day, since, mark in ((2, "0", "10"), (6, "10", "30")):
            run = RUN.model_copy(update={"business_date": date(2026, 3, day)})
            store.record_windows(run, [Window(source="trades", since=since, mark=mark)])

        def window(day: int, source: str = "trades") -> tuple[str | None, str | None]:
            run = RUN.model_copy(update={"business_date": date(2026, 3, day), "run_id": "other"})
            return store.window(run, source)

        assert [window(day) for day in (1, 2, 4, 6, 7)] == [
            (None, "0"), ("0", "10"), ("10", "10"), ("10", "30"), ("30", None),
        ]  # fmt: skip
        assert window(7, "positions") == (None, None)

    def test_run_without_rules_has_no_verdict(self, url: str) -> None:
        store = Store(url)
        store.record_verdict(RUN, Verdict(results=(rule(),)))
        store.record_verdict(RUN, Verdict(results=()))
        assert store.verdict(RUN) is None

    def test_instants_come_back_in_utc(self, url: str) -> None:
        store = Store(url)
        tokyo = datetime(2026, 3, 3, 8, 0, tzinfo=timezone(timedelta(hours=9)))
        store.record_attempt(RUN, attempt(started_at=tokyo))

        [found] = store.attempts(RUN)
        assert found.started_at == tokyo
        assert found.started_at.utcoffset() == timedelta(0)

    @pytest.mark.parametrize("said", ["a\0b", "half \ud800 pair", "'; DROP TABLE x; --", "😀\n\t"])
    def test_any_text_from_a_server_can_be_stored(self, url: str, said: str) -> None:
        store = Store(url)
        store.record_attempt(RUN, attempt(error=said))
        samples = ({"column\0": said},)
        store.record_verdict(RUN, Verdict(results=(rule(message=said, samples=samples),)))

        [found] = store.attempts(RUN)
        escaped = said.replace("\0", "\\x00").replace("\ud800", "\\ud800")
        assert found.error == escaped
        verdict = store.verdict(RUN)
        assert verdict is not None
        assert verdict.results[0].samples == samples

    def test_store_without_tables_says_what_to_run(self, empty_url: str) -> None:
        with pytest.raises(StoreNotReadyError, match="no tables") as caught:
            Store(empty_url).artifacts(RUN)
        assert "openreg db upgrade" in (caught.value.hint or "")
        assert schema.current(empty_url) is None

    def test_upgrade_twice_changes_nothing_the_second_time(self, empty_url: str) -> None:
        assert schema.upgrade(empty_url) == (None, schema.REVISION)
        Store(empty_url).record_artifact(RUN, artifact())

        assert schema.upgrade(empty_url) == (schema.REVISION, schema.REVISION)

        assert Store(empty_url).artifacts(RUN) == (artifact(),)

    def test_upgrades_at_the_same_time_both_succeed(self, empty_url: str) -> None:
        code = "import sys; from openreg_airflow.store import schema; schema.upgrade(sys.argv[1])"
        command = [sys.executable, "-c", code, empty_url]
        running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
        ends = [(process.communicate()[1].decode(), process.returncode) for process in running]

        assert [code for _, code in ends] == [0, 0, 0, 0], ends
        assert schema.current(empty_url) == schema.REVISION

    def test_processes_that_write_at_the_same_time_lose_nothing(self, url: str) -> None:
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.store_contract", url, f"route_{number}"],
                stderr=subprocess.PIPE,
            )
            for number in range(4)
        ]
        ends = [(process.communicate()[1].decode(), process.returncode) for process in running]

        assert [code for _, code in ends] == [0, 0, 0, 0], ends
        assert len(Store(url).attempts(RUN)) == 4 * 25

    def test_store_of_a_newer_version_is_refused(self, url: str) -> None:
        with transaction(connect_engine(parse_url(url)), write=True) as connection:
            connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))

        with pytest.raises(StoreNotReadyError, match="9999"):
            Store(url).artifacts(RUN)
        with pytest.raises(StoreNotReadyError, match="9999"):
            schema.upgrade(url)

    def test_migrations_make_what_the_models_say(self, url: str) -> None:
        with transaction(connect_engine(parse_url(url)), write=False) as connection:
            options = {
                "compare_type": True,
                "include_name": lambda name, kind, _: (
                    kind != "table" or (name.startswith("openreg_") and "alembic" not in name)
                ),
            }
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, Base.metadata) == []

    def test_failed_write_leaves_nothing_half_done(self, url: str) -> None:
        store = Store(url)
        store.record_verdict(RUN, Verdict(results=(rule("first"),)))
        naive = datetime(2026, 3, 2)  # noqa: DTZ001
        with pytest.raises(Exception, match="no time zone"):
            store.record_attempt(RUN, attempt(started_at=naive))
        assert store.attempts(RUN) == ()


def write_attempts(url: str, route: str) -> None:
    """Record attempts, one transaction each: what many tasks do at once."""
    for number in range(1, 26):
        Store(url).record_attempt(RUN, attempt(number, route=route))


if __name__ == "__main__":
    write_attempts(sys.argv[1], sys.argv[2])
