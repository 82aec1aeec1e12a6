"""Words on records are kept file by file, and mean the same as if they were written anew."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openreg_airflow.deliver.acknowledgement import kept
from openreg_airflow.deliver.acknowledgement.addressee import Sent
from openreg_airflow.deliver.acknowledgement.answers import AnswerFile, Words
from openreg_airflow.deliver.acknowledgement.collect import Awaited, collect
from openreg_airflow.deliver.acknowledgement.feedback import Answer, Feedback, FeedbackError
from openreg_airflow.deliver.acknowledgement.kept import KnownWords
from openreg_airflow.deliver.acknowledgement.matching import match
from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec
from openreg_airflow.deliver.connection import Connection
from openreg_airflow.deliver.spec import RouteSpec
from openreg_airflow.records import Artifact, ArtifactFile, Column, Dataset, FileRef
from openreg_airflow.store.acknowledgement_records import Acknowledgement
from openreg_airflow.store.acknowledgements import Acknowledgements
from openreg_airflow.store.engine import connect_engine, parse_url, transaction
from openreg_airflow.store.told import KeptWords, WordsFile
from openreg_airflow.store_records import DeliveryAttempt
from openreg_airflow.workspace import Workspace
from tests.artifact_files import RUN
from tests.feedback_files import auth031
from tests.new_store import new_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openreg_airflow.deliver.acknowledgement.feedback import FileStatus

DUE = datetime(2026, 3, 3, tzinfo=UTC)
PLACE = (RUN, "authority", "trades")
CODES = {"accepted": "ACPT", "rejected": "RJCT", "pending": "PDNG"}


@dataclass
class Desk:
    """Files of some records that were sent, and the folder where their answers appear."""

    folder: Path
    parts: Sequence[int]
    spec: dict[str, Any] = field(default_factory=dict)
    files: int = 0
    rejected: list[int] = field(default_factory=list)
    content: str = ""
    bytes: str = "0" * 64

    def __post_init__(self) -> None:
        self.store = Acknowledgements(new_store(self.folder))
        self.workspace = Workspace(self.folder / "workspace")
        (self.folder / "out").mkdir()
        names = [f"T{n}" for n in range(sum(self.parts))]
        with self.workspace.folder(RUN, "validate").writing("t.parquet") as pending:
            pq.write_table(pa.table({"uti": names}), pending.path)
        columns = (Column(name="uti", type="string"),)
        self.table = Dataset(**dict(pending.ref), rows=len(names), columns=columns)

    @property
    def awaited(self) -> Awaited:
        spec = {"pattern": "{stem}_*", "folder": "out", "reference": "uti", "split": True}
        place = {"channel": "folder", "connection": "outbox", "acknowledgement": spec | self.spec}
        made = {"uri": "x", "bytes": 1, "sha256": self.bytes}
        return Awaited(
            run=RUN,
            route="authority",
            spec=RouteSpec.model_validate(place),
            artifact=Artifact(
                name="trades",
                format="xml",
                records=sum(self.parts),
                schema_check="",
                content=self.content,
                files=tuple(
                    ArtifactFile(**made, filename=f"f{n}.xml", records=count, part=n)
                    for n, count in enumerate(self.parts, 1)
                ),
            ),
            table=self.table,
            due_at=datetime.now(UTC) + timedelta(days=1),
        )

    def writes(self, text: str, part: int = 1) -> None:
        """Let the authority write a file."""
        self.files += 1
        (self.folder / "out" / f"f{part}_{self.files}").write_text(text)

    def says(self, words: dict[int, str], part: int = 1, status: str = "PART") -> None:
        """The same of records by number."""
        records = [(f"T{n}", CODES[state], "", "") for n, state in words.items()]
        self.writes(auth031(status, records=records), part)

    def delivered(self, sha256: str) -> None:
        """Note that the first file was delivered with these bytes."""
        attempt = DeliveryAttempt(
            route="authority",
            artifact="trades",
            attempt=int(sha256[0], 16) + 1,
            channel="folder",
            destination="file:///outbox",
            filename="f1.xml",
            sha256=sha256,
            started_at=DUE,
            result="delivered",
        )
        self.store.record_attempt(RUN, attempt)

    def look(self, *, afresh: bool = False) -> list[str]:
        """Look once; why files were refused."""
        found = collect(
            self.awaited,
            connect=lambda _: Connection(id="outbox", type="fs", extra={"path": str(self.folder)}),
            workspace=self.workspace,
            store=self.store,
            reject=lambda words: self.rejected.extend(word.row for word in words),
            afresh=afresh,
        )
        return [file.reason for file in found.refused]

    @property
    def standings(self) -> list[tuple[str, int, int, int]]:
        found = self.store.of_run(*PLACE)
        assert all(s.sent == s.accepted + s.rejected + s.pending for s in found)
        return [(s.state, s.accepted, s.rejected, s.pending) for s in found]

    @property
    def words(self) -> KeptWords:
        last = self.store.last_read(*PLACE)
        assert last is not None
        assert last.words is not None
        return last.words

    @property
    def newest(self) -> dict[int, str]:
        """The state of each row that is spoken of, as the files of words have it."""
        found: dict[int, str] = {}
        for ref in self.words.files:
            with self.workspace.open_local(ref) as path:
                lines = pq.read_table(path).to_pylist()
            found |= {line["row"]: line["status"] for line in lines}
        return found

    def as_earlier_version_kept_them(self) -> None:
        """All words in one file, of which nothing else is known."""
        with self.workspace.folder(RUN, "acknowledge").writing("old.parquet") as pending:
            lines: dict[int, dict[str, Any]] = {}
            for each in self.words.files:
                with self.workspace.open_local(each) as path:
                    table = pq.read_table(path)
                lines |= {line["row"]: line for line in table.to_pylist()}
            pq.write_table(pa.Table.from_pylist(list(lines.values()), table.schema), pending.path)
        ref = FileRef(**dict(pending.ref)).model_dump_json()
        with transaction(connect_engine(parse_url(self.store.url)), write=True) as connection:
            connection.execute(
                sa.text("UPDATE openreg_feedback_file SET words = :ref"), {"ref": ref}
            )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, [200])


def test_each_word_is_written_a_handful_of_times_over_many_pages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_TOGETHER", 3)
    for page in range(14):
        desk.says({page: "rejected", 100 + page: "accepted"})
    assert desk.look() == []
    assert desk.standings == [("received", 14, 14, 172)]
    rejected = dict.fromkeys(range(14), "rejected")
    assert desk.newest == rejected | dict.fromkeys(range(100, 114), "accepted")
    assert desk.rejected == list(range(14))
    # 14 pages are 1 * 9 + 1 * 3 + 2: each word was written at most three times.
    assert [ref.level for ref in desk.words.files] == [2, 1, 0, 0]
    files = list((desk.folder / "workspace").rglob("*_words.parquet"))
    assert sum(pq.read_metadata(path).num_rows for path in files) <= 3 * 28


def test_page_that_names_no_record_adds_no_file_of_words(desk: Desk) -> None:
    desk.says({0: "rejected"})
    desk.writes(auth031("PART"))
    assert desk.look() == []
    assert len(desk.words.files) == 1
    assert desk.words.named == {1: {"rejected": 1}}


@dataclass
class Reader:
    """Reads what an authority says of two files of five records each.

    Args:
        anew: all words are written anew each time, as an earlier version did, and counted again.
    """

    folder: Path
    anew: bool
    known: KnownWords | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        pq.write_table(pa.table({"uti": [f"T{n}" for n in range(10)]}), self.folder / "t.parquet")
        made = {"uri": "x", "bytes": 1, "sha256": "0" * 64, "records": 5}
        files = [ArtifactFile(**made, filename=f"f{n}.xml", part=n) for n in (1, 2)]
        table = self.folder / "t.parquet"
        self.sent = Sent(business_date=RUN.business_date, files=files, table=table, names=("uti",))
        self.standings = [
            Acknowledgement(
                route="r",
                artifact="a",
                position=n,
                filename=file.filename,
                sent=5,
                pending=5,
                due_at=DUE,
            )
            for n, file in enumerate(files, 1)
        ]

    def awaits_again(self, part: int) -> None:
        """Know nothing of a file, which was sent once more."""
        fresh = {"state": "awaited", "accepted": 0, "rejected": 0, "pending": 5, "told": None}
        self.standings[part - 1] = self.standings[part - 1].model_copy(update=fresh)

    def hears(self, number: int, part: int, words: dict[int, str], status: FileStatus) -> Any:
        """What comes of it: a refusal, or how it stands, what is news and what is known."""
        here = self.folder / str(number)
        here.mkdir()
        with AnswerFile(here / "answers.parquet") as writer:
            for row, state in words.items():
                writer.take(Answer(reference=f"T{part * 5 - 5 + row}", status=state))  # type: ignore[arg-type]
        try:
            found = match(
                f"f{part}_{number}",
                [Feedback(status=status)],
                here / "answers.parquet",
                self.sent,
                AcknowledgementSpec(pattern="{stem}_*", split=True),
                known=self.known,
                newest=here / "words.parquet",
                standings=self.standings,
                now=DUE,
            )
        except FeedbackError as error:
            return error.message
        self.standings = [
            next((one for one in found.standings if one.position == old.position), old)
            for old in self.standings
        ]
        before = self.known.paths if self.known is not None and not found.everything else ()
        paths = (*before, here / "words.parquet")
        self.known = KnownWords(paths, None if self.anew else found.named)
        newest: dict[int, str] = {}
        for path in paths:
            newest |= {line["row"]: line["status"] for line in pq.read_table(path).to_pylist()}
        counted = Counter((row // 5 + 1, state) for row, state in newest.items())
        named = Counter({(n, s): k for n, each in found.named.items() for s, k in each.items()})
        assert +counted == +named
        return self.standings, newest, list(Words(paths[-1], "r", "a").news())


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_words_mean_the_same_as_if_all_were_written_anew_each_time(data: Any) -> None:
    state = st.sampled_from(["accepted", "rejected", "pending", "pending"])
    status = st.sampled_from(["partly accepted"] * 3 + ["accepted", "received", "rejected"])
    said = st.tuples(
        st.integers(1, 2), st.dictionaries(st.integers(0, 4), state, max_size=4), status
    )
    with tempfile.TemporaryDirectory() as folder:
        readers = [Reader(Path(folder) / f"{anew}", anew) for anew in (False, True)]
        steps = data.draw(st.lists(st.one_of(said, st.integers(1, 2)), min_size=2, max_size=8))
        for number, step in enumerate(steps):
            if isinstance(step, int):
                for reader in readers:
                    reader.awaits_again(step)
                continue
            first, second = (reader.hears(number, *step) for reader in readers)
            assert first == second


def test_words_of_a_file_that_is_sent_once_more_count_no_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path, [2, 2])
    for part, first in ((1, 0), (2, 2)):
        desk.says({first: "rejected", first + 1: "pending"}, part)
    assert desk.look() == []
    desk.store.await_again(*PLACE, [2], datetime.now(UTC))
    desk.says({1: "accepted"})
    assert desk.look() == []
    assert desk.standings == [("partly accepted", 1, 1, 0), ("awaited", 0, 0, 2)]
    assert desk.newest == {0: "rejected", 1: "accepted"}
    desk.says({2: "accepted", 3: "accepted"}, 2)
    assert desk.look() == []
    assert desk.standings == [("partly accepted", 1, 1, 0), ("partly accepted", 2, 0, 0)]


def test_kill_before_words_are_on_record_leaves_the_earlier_ones_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, [2, 2])
    first = {0: "rejected", 1: "pending"}
    desk.says(first)
    desk.says({2: "rejected"}, 2)
    assert desk.look() == []
    desk.store.await_again(*PLACE, [1], datetime.now(UTC))
    desk.says(first)
    with monkeypatch.context() as patched:
        patched.setattr(Acknowledgements, "apply", _killed)
        with pytest.raises(KeyboardInterrupt):
            desk.look()
    assert desk.look() == []
    assert desk.newest == first | {2: "rejected"}
    assert [one[1:] for one in desk.standings] == [(0, 1, 1), (0, 1, 1)]


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_version_of_the_same_name_and_size_is_awaited_anew(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.content = "a" * 64
    desk.says(dict.fromkeys(range(200), "accepted"), status="ACPT")
    assert desk.look() == []
    assert desk.standings == [("accepted", 200, 0, 0)]
    assert desk.look() == []
    assert desk.standings == [("accepted", 200, 0, 0)]
    # Another spec made the same bytes, or packing made other bytes of the same content.
    for desk.content, desk.bytes in (("b" * 64, "0" * 64), ("a" * 64, "1" * 64)):
        assert desk.look(afresh=True) == []
        assert desk.standings == [("accepted", 200, 0, 0)]
    desk.content, desk.bytes = "c" * 64, "2" * 64
    desk.delivered("2" * 64)
    assert desk.look(afresh=True) == []
    assert "with other content" not in caplog.text
    desk.delivered("1" * 64)
    assert desk.look(afresh=True) == []
    assert "this run delivered f1.xml before with other content" in caplog.text
    assert desk.standings == [("awaited", 0, 0, 200)]
    desk.says({3: "rejected"})
    assert desk.look() == []
    assert desk.standings == [("received", 0, 1, 199)]
    assert desk.newest == {3: "rejected"}
    assert desk.look() == []
    assert desk.standings == [("received", 0, 1, 199)]


def test_words_that_an_earlier_version_kept_are_gone_on_with(desk: Desk) -> None:
    desk.says({0: "rejected", 1: "pending"})
    assert desk.look() == []
    desk.as_earlier_version_kept_them()
    assert desk.words.named is None
    desk.says({1: "accepted", 2: "accepted"})
    assert desk.look() == []
    assert desk.standings == [("received", 2, 1, 197)]
    assert [type(ref) for ref in desk.words.files] == [WordsFile]
    assert desk.words.named == {1: {"accepted": 2, "rejected": 1}}
    assert desk.rejected == [0]


def test_last_word_on_a_record_counts_of_those_in_several_files(desk: Desk) -> None:
    for state in ("pending", "rejected", "accepted"):
        desk.says({0: state})
    [reason] = desk.look()
    assert "says of 'T0' something else than an earlier file did" in reason
    assert desk.standings == [("received", 0, 1, 199)]
