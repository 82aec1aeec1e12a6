"""What numbering does in every database; run by one test class a database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select

from openreg_airflow.errors import ArtifactError, StoreConflictError
from openreg_airflow.records import Artifact, ArtifactFile, RunKey
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.models import AuditRow
from openreg_airflow.store.numbering import Numbering
from openreg_airflow.store.sequences import Numbers
from openreg_airflow.store_records import Replaced

DAY = date(2026, 3, 2)
ESMA = Numbers(sequence="esma")


def run(run_id: str = "first", day: date = DAY, report: str = "mifir") -> RunKey:
    return RunKey(report_id=report, business_date=day, run_id=run_id)


def begun(content: str, name: str = "transactions") -> Artifact:
    return Artifact(
        name=name, format="xml", records=1, schema_check="", files=(), content=content * 64
    )


def finished(artifact: Artifact, version: int, numbers: tuple[int, ...] = ()) -> Artifact:
    files = tuple(
        ArtifactFile(uri=f"/{n}", bytes=1, sha256="0" * 64, filename=f"f{n}.xml", part=n, records=1)
        for n in range(1, max(len(numbers), 1) + 1)
    )
    return artifact.model_copy(update={"version": version, "numbers": numbers, "files": files})


def complete(
    store: Numbering, key: RunKey, content: str, wanted: Numbers | None = ESMA
) -> tuple[int, tuple[int, ...]]:
    """One run of a report from allocation to finished files."""
    artifact = begun(content)
    given = store.allocate(key, artifact, 1, wanted)
    store.finish(key, finished(artifact, given.version, given.numbers))
    return given.version, given.numbers


class NumberingContract:
    """Needs a fixture ``url`` (an upgraded store)."""

    def test_content_keeps_its_number_and_a_correction_takes_the_next(self, url: str) -> None:
        store = Numbering(url)
        assert complete(store, run(), "a") == (1, (1,))
        assert complete(store, run(), "a") == (1, (1,))
        assert complete(store, run("again"), "a") == (1, (1,))
        given = store.allocate(run("mended"), begun("b"), 1, ESMA)
        assert (given.version, given.numbers) == (2, (2,))
        assert given.replaces == Replaced(version=1, numbers=(1,), filenames=("f1.xml",))
        assert complete(store, run("mended"), "b") == (2, (2,))
        # The earlier run is repeated: its file is the one of then.
        assert complete(store, run(), "a") == (1, (1,))
        # A new run with the first content again corrects the correction.
        assert complete(store, run("back"), "a") == (3, (3,))
        assert complete(store, run(day=date(2026, 3, 3)), "a") == (1, (4,))
        assert [row["number"] for row in store.numbers("esma")] == [1, 2, 3, 4]

    def test_run_that_died_before_its_file_uses_its_number_when_it_is_repeated(
        self, url: str
    ) -> None:
        code = (
            "import os, signal, sys\n"
            "from tests.numbering_contract import *\n"
            "Numbering(sys.argv[1]).allocate(run(), begun('a'), 1, ESMA)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        died = subprocess.run([sys.executable, "-c", code, url], check=False)
        assert died.returncode == -signal.SIGKILL
        store = Numbering(url)
        assert store.artifacts(run()) == ()
        assert store.allocate(run("other", date(2026, 3, 3)), begun("x"), 1, ESMA).numbers == (2,)
        assert [row["finished"] for row in store.numbers("esma")] == [False, False]
        assert complete(store, run(), "a") == (1, (1,))
        assert [row["finished"] for row in store.numbers("esma")] == [True, False]
        assert [a.numbers for a in store.artifacts(run())] == [(1,)]

    def test_content_that_was_never_finished_leaves_its_number_to_the_next(self, url: str) -> None:
        store = Numbering(url)
        bad = begun("a")
        given = store.allocate(run(), bad, 1, ESMA)
        mended = store.allocate(run("mended"), begun("b"), 1, ESMA)
        assert (mended.version, mended.numbers) == (1, (1,))
        with pytest.raises(StoreConflictError, match="version 1 of artifact transactions"):
            store.finish(run(), finished(bad, given.version, given.numbers))
        assert store.artifacts(run()) == ()
        assert complete(store, run("mended"), "b") == (1, (1,))
        assert complete(store, run(), "a") == (2, (2,))

    def test_numbers_of_parts_that_are_no_longer_there_are_used_first(self, url: str) -> None:
        store = Numbering(url)
        three = ESMA.model_copy(update={"count": 3})
        assert store.allocate(run(), begun("a"), 3, three).numbers == (1, 2, 3)
        assert complete(store, run(), "b") == (1, (1,))
        two = ESMA.model_copy(update={"count": 2})
        given = store.allocate(run(day=date(2026, 3, 3)), begun("c"), 2, two)
        assert given.numbers == (2, 3)
        assert complete(store, run(day=date(2026, 3, 4)), "d") == (1, (4,))

    def test_sequences_and_years_count_for_themselves(self, url: str) -> None:
        store = Numbering(url)
        bafin = Numbers(sequence="bafin", period="2026", start=100)
        assert complete(store, run(), "a", bafin) == (1, (100,))
        next_year = bafin.model_copy(update={"period": "2027"})
        assert complete(store, run(day=date(2027, 1, 4)), "a", next_year) == (1, (100,))
        assert complete(store, run(day=date(2026, 3, 3)), "a") == (1, (1,))
        assert complete(store, run(day=date(2026, 3, 4)), "a", bafin) == (1, (101,))
        assert complete(store, run(day=date(2026, 3, 5)), "a", None) == (1, ())
        assert complete(store, run(report="emir"), "a") == (1, (2,))

    def test_used_up_sequence_burns_nothing(self, url: str) -> None:
        store = Numbering(url)
        small = Numbers(sequence="esma", start=9, most=9)
        assert complete(store, run(), "a", small) == (1, (9,))
        with pytest.raises(ArtifactError, match="used up: 10 is more than 9"):
            store.allocate(run(day=date(2026, 3, 3)), begun("a"), 1, small)
        assert complete(store, run(day=date(2026, 3, 3)), "a") == (1, (10,))

    def test_allocations_are_in_the_audit_trail(self, url: str) -> None:
        store = Numbering(url)
        complete(store, run(), "a")
        complete(store, run(), "a")
        store.allocate(run("mended"), begun("b"), 1, ESMA)
        store.allocate(run("other"), begun("c"), 1, ESMA)
        with transaction(connect_engine(parse_url(url)), write=False) as connection:
            rows = connection.execute(
                select(AuditRow.action, AuditRow.subject, AuditRow.after).order_by(
                    AuditRow.sequence
                )
            ).all()
        assert [row.action for row in rows] == ["allocate", "correct", "take over"]
        assert {row.subject for row in rows} == {"mifir 2026-03-02 transactions"}
        after = json.loads(rows[1].after)
        assert after == {
            "content": "b" * 64,
            "run": "mended",
            "version": 2,
            "sequence": "esma",
            "period": "",
            "numbers": [2],
        }

    def test_processes_at_once_never_share_or_skip_a_number(self, url: str) -> None:
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.numbering_contract", url, str(number)],
                stderr=subprocess.PIPE,
            )
            for number in range(4)
        ]
        ends = [(process.communicate()[1].decode(), process.returncode) for process in running]
        assert [code for _, code in ends] == [0, 0, 0, 0], ends
        store = Numbering(url)
        rows = store.numbers("esma")
        # 4 processes, 8 dates of their own with 2 parts each, and one date that they share.
        assert [row["number"] for row in rows] == list(range(1, 4 * 8 * 2 + 4 + 1))
        shared = [row for row in rows if row["report_id"] == "shared"]
        assert sorted(row["version"] for row in shared) == [1, 2, 3, 4]
        owners = {(row["report_id"], row["business_date"], row["version"]) for row in rows}
        assert len(owners) == 4 * 8 + 4

    def test_runs_of_the_same_content_at_once_get_the_same_number(self, url: str) -> None:
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.numbering_contract", url, str(number), "same"],
                stdout=subprocess.PIPE,
            )
            for number in range(4)
        ]
        told = [process.communicate()[0].decode().split() for process in running]
        assert told == [["1", "1"]] * 4


def one_of_many(url: str, number: int) -> None:
    """What one of several tasks does that run at the same time."""
    store = Numbering(url)
    two = ESMA.model_copy(update={"count": 2})
    for day in range(1, 9):
        store.allocate(run(day=date(2026, 5, day), report=f"r{number}"), begun("a"), 2, two)
    key = run(f"run {number}", report="shared")
    while True:
        try:
            complete(store, key, str(number))
        except StoreConflictError:  # what Airflow retries
            continue
        return


if __name__ == "__main__":
    arguments: Any = sys.argv[1:]
    if len(arguments) > 2:
        version, numbers = complete(Numbering(arguments[0]), run(f"run {arguments[1]}"), "a")
        sys.stdout.write(f"{version} {numbers[0]}\n")
        sys.stdout.flush()
        os._exit(0)
    one_of_many(arguments[0], int(arguments[1]))
