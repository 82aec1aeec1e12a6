"""Answers that an authority spreads over several files add up, whatever their order."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from openreg_airflow.deliver.acknowledgement.addressee import Sent
from openreg_airflow.deliver.acknowledgement.answers import AnswerFile, Words
from openreg_airflow.deliver.acknowledgement.feedback import (
    Feedback,
    FeedbackError,
    load_parser,
)
from openreg_airflow.deliver.acknowledgement.kept import KnownWords
from openreg_airflow.deliver.acknowledgement.matching import match
from openreg_airflow.deliver.acknowledgement.pattern import check_answer_pattern, matches, page_of
from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec, FeedbackForm
from openreg_airflow.records import ArtifactFile
from openreg_airflow.store.acknowledgement_records import Acknowledgement
from tests.feedback_files import DAY, auth031

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CODES = {"accepted": "ACPT", "rejected": "RJCT", "pending": "PDNG"}
PENDING, PENDING_OF_3 = {"ACPT": 1, "PDNG": 1}, {"ACPT": 2, "PDNG": 1}
NUMBERED = {"pattern": "{stem}_{page}_of_{pages}.xml"}
PLAIN = {"pattern": "{stem}_*.xml"}


@dataclass
class Authority:
    """Reads the files of an answer one by one, as looks at the folder do."""

    folder: Path
    sent: int
    spec: Mapping[str, Any]
    refs: Sequence[str] = ()
    files: int = 0
    known: KnownWords | None = None
    rejected: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answer = AcknowledgementSpec.model_validate({"reference": "ref", **self.spec})
        names = list(self.refs) or [f"T{n}" for n in range(self.sent)]
        pq.write_table(pa.table({"ref": names}), self.folder / "table.parquet")
        file = ArtifactFile(
            uri="x", bytes=1, sha256="0" * 64, filename="sent.xml", records=self.sent
        )
        self.out = Sent(
            business_date=DAY,
            files=(file,),
            table=self.folder / "table.parquet",
            names=("ref",),
        )
        self.standing = Acknowledgement(
            route="r",
            artifact="a",
            position=1,
            filename="sent.xml",
            sent=self.sent,
            pending=self.sent,
            due_at=datetime.now(UTC) + timedelta(days=1),
        )

    def says(self, text: str, name: str | None = None) -> None:
        self.files += 1
        here = self.folder / str(self.files)
        here.mkdir()
        path = here / "file"
        path.write_text(text)
        with AnswerFile(here / "answers.parquet") as writer:
            said = load_parser(self.answer.parser).read(path, self.answer.form, writer.take)
        self.hears(said, here, name)

    def hears(self, said: Sequence[Feedback], here: Path, name: str | None = None) -> None:
        found = match(
            name or f"sent_{self.files}.xml",
            said,
            here / "answers.parquet",
            self.out,
            self.answer,
            known=self.known,
            newest=here / "words.parquet",
            standings=[self.standing],
            now=datetime.now(UTC),
        )
        [self.standing] = found.standings
        earlier = self.known.paths if self.known is not None and not found.everything else ()
        self.known = KnownWords((*earlier, here / "words.parquet"), found.named)
        self.rejected += [word.row for word in Words(self.known.paths[-1], "r", "a").rejected()]
        assert self.sent == sum(self.counts[1:])

    def refuses(self, text: str, name: str | None = None) -> str:
        before = self.standing
        with pytest.raises(FeedbackError) as caught:
            self.says(text, name)
        assert self.standing == before
        return caught.value.message

    @property
    def counts(self) -> tuple[str, int, int, int]:
        one = self.standing
        return one.state, one.accepted, one.rejected, one.pending


def totals(states: Sequence[str]) -> dict[str, int]:
    return {code: states.count(state) for state, code in CODES.items() if state in states}


def paged(text: str, number: int, *, last: bool) -> str:
    """A status advice with the pagination of ISO 20022 beside it."""
    flag = "true" if last else "false"
    page = f"<MsgPgntn><PgNb>{number}</PgNb><LastPgInd>{flag}</LastPgInd></MsgPgntn>"
    extra = f'<SplmtryData><Envlp><H xmlns="urn:other">{page}</H></Envlp></SplmtryData>'
    return text.replace("</FinInstrmRptgStsAdvc>", extra + "</FinInstrmRptgStsAdvc>")


def uncounted(text: str) -> str:
    """The same without how many records are in which state."""
    return re.sub("<NbOfRcrdsPerSts>.*</NbOfRcrdsPerSts>", "", text)


@dataclass(frozen=True)
class Answer:
    """A file of an answer: its text, its name, and the records it says something of."""

    text: str
    name: str | None
    rows: Sequence[int]


def pages_of(states: Sequence[str], cuts: Sequence[int], way: str) -> list[Answer]:
    """The files of an answer to records of these states, cut at some places."""
    ends = sorted({*cuts, len(states)})
    parts = [range(a, b) for a, b in zip([0, *ends], ends, strict=False)]
    whole = "PART" if {"rejected", "pending"} & set(states) else "ACPT"
    found = []
    for number, rows in enumerate(parts, 1):
        named = [n for n in rows if way == "each named" or states[n] != "accepted"]
        records = [(f"T{n}", CODES[states[n]], "", "") for n in named]
        own = [states[n] for n in rows]
        name = None
        if way == "own counts":
            status = "PART" if {"rejected", "pending"} & set(own) else "ACPT"
            text = auth031(status, total=len(own), counts=totals(own), records=records)
        elif way == "counts of the file":
            text = auth031(whole, total=len(states), counts=totals(states), records=records)
        else:
            text = auth031(whole, records=records)
        if way == "numbers within":
            text = paged(text, number, last=number == len(parts))
        if way == "numbers in names":
            name = f"sent_{number}_of_{len(parts)}.xml"
        found.append(Answer(text.replace("<MsgSts>", f"<!-- {number} --><MsgSts>"), name, rows))
    return found


WAYS: dict[str, dict[str, Any]] = {
    "own counts": PLAIN | {"split": True},
    "counts of the file": PLAIN,
    "each named": PLAIN | {"split": True},
    "numbers within": PLAIN,
    "numbers in names": NUMBERED,
}


@pytest.mark.parametrize("way", WAYS)
@settings(
    max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)
@given(data=st.data())
def test_pages_add_up_in_any_order_with_one_twice_and_one_late(way: str, data: Any) -> None:
    states = data.draw(st.lists(st.sampled_from(list(CODES)), min_size=1, max_size=9))
    cuts = data.draw(st.lists(st.integers(1, len(states)), max_size=3))
    pages = data.draw(st.permutations(pages_of(states, cuts, way)))
    twice = data.draw(st.sampled_from(pages))
    order = [*pages[:-1], twice, pages[-1]] if twice in pages[:-1] else [*pages, pages[-1]]
    truth = tuple(states.count(state) for state in CODES)
    event(f"{len(pages)} pages")
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder), len(states), WAYS[way])
        told: set[int] = set()
        for page in order:
            if authority.standing.settled:
                break
            try:
                authority.says(page.text, page.name)
            except FeedbackError:
                # Without a number nobody knows that it is the same; what it says was taken.
                assert way == "own counts"
                assert set(page.rows) <= told
            told |= set(page.rows)
            _, accepted, rejected, pending = authority.counts
            assert accepted <= truth[0]
            assert rejected <= truth[1]
            assert set(authority.rejected) == {n for n in told if states[n] == "rejected"}
            untold = {n for n in range(len(states)) if n not in told and states[n] != "accepted"}
            if untold or (way != "counts of the file" and len(told) < len(states)):
                assert authority.standing.state == "received"
                assert pending >= len(states) - len(told)
                assert authority.standing.untold
        assert authority.counts[1:] == truth
        assert authority.standing.told is None
        assert sorted(authority.rejected) == [
            n for n, state in enumerate(states) if state == "rejected"
        ]


def test_csv_page_may_be_read_before_it_is_whole(tmp_path: Path) -> None:
    spec = {"parser": "csv", "form": {"reference": "id", "status": "s"}}
    authority = Authority(tmp_path, 4, spec | {"pattern": "{stem}_{page}_of_{pages}.csv"})
    authority.says("id;s\nT0;ok\nT1;RJCT\n", "sent_1_of_2.csv")
    authority.says("id;s\nT2;ok\n", "sent_2_of_2.csv")
    assert authority.counts == ("received", 2, 1, 1)
    assert authority.standing.untold == "1 records are not told yet"
    authority.says("id;s\nT2;ok\nT3;RJCT\n", "sent_2_of_2.csv")
    assert authority.counts == ("partly accepted", 2, 2, 0)
    assert authority.rejected == [1, 3]


REJECTED = ("RJCT", "CON-412", "unknown")
T0 = [("T0", *REJECTED)]
T1 = [("T1", *REJECTED)]
TWO = {"ACPT": 3, "RJCT": 2}
TOTAL_2 = auth031("PART", total=2, counts={"ACPT": 1, "RJCT": 1}, records=T0)
TOTAL_3 = auth031("PART", total=3, counts={"ACPT": 2, "RJCT": 1}, records=T0)


@pytest.fixture
def plain(tmp_path: Path) -> Authority:
    return Authority(tmp_path, 5, PLAIN)


@pytest.fixture
def split(tmp_path: Path) -> Authority:
    return Authority(tmp_path, 5, PLAIN | {"split": True})


@pytest.mark.parametrize("counts", [None, TWO])
def test_state_of_the_file_comes_first_and_its_records_later(
    plain: Authority, counts: dict[str, int] | None
) -> None:
    plain.says(auth031("PART", total=5 if counts else None, counts=counts))
    assert plain.counts == ("received", 0, 0, 5)
    plain.says(auth031("RCVD", records=[*T0, *T1]).replace("<MsgSts><Sts>RCVD</Sts></MsgSts>", ""))
    assert plain.counts == ("partly accepted", 3, 2, 0)


def test_file_that_is_accepted_and_then_told_record_by_record(split: Authority) -> None:
    split.says(auth031("ACPT"))
    assert split.counts == ("received", 0, 0, 5)
    split.says(auth031("PART", records=[*T0, ("T1", "ACPT", "", ""), ("T2", "ACPT", "", "")]))
    assert split.counts == ("received", 2, 1, 2)
    assert split.standing.untold == "2 records are not told yet"
    split.says(auth031("PART", records=[("T3", "ACPT", "", ""), ("T4", "ACPT", "", "")]))
    assert split.counts == ("partly accepted", 4, 1, 0)


def test_several_advices_of_one_file_are_one_answer(split: Authority) -> None:
    first = auth031("PART", total=2, counts={"RJCT": 1, "ACPT": 1}, records=T0)
    second = auth031("ACPT", total=3)
    inner = second[second.index("<StsAdvc>") : second.index("</FinInstrmRptgStsAdvc>")]
    split.says(first.replace("</FinInstrmRptgStsAdvc>", inner + "</FinInstrmRptgStsAdvc>"))
    assert split.counts == ("partly accepted", 4, 1, 0)


def test_several_advices_that_contradict_each_other_are_refused(plain: Authority) -> None:
    first, second = auth031("RJCT"), auth031("ACPT")
    inner = second[second.index("<StsAdvc>") : second.index("</FinInstrmRptgStsAdvc>")]
    both = first.replace("</FinInstrmRptgStsAdvc>", inner + "</FinInstrmRptgStsAdvc>")
    assert "says accepted, where rejected was said" in plain.refuses(both)


def test_only_the_pages_that_are_missing_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path, 5, NUMBERED)
    authority.says(auth031("PART", records=T0), "sent_2_of_3.xml")
    assert authority.standing.untold == "page 1, 3 is missing"
    authority.says(auth031("PART"), "sent_3_of_3.xml")
    assert authority.counts == ("received", 0, 1, 4)
    authority.says(auth031("PART"), "sent_1_of_3.xml")
    assert authority.counts == ("partly accepted", 4, 1, 0)


def test_xml_of_its_own_says_its_page(tmp_path: Path) -> None:
    form = {"record": "rec", "reference": "id", "status": "s", "page": "h/no", "last_page": "h/end"}
    authority = Authority(tmp_path, 3, PLAIN | {"parser": "xml", "form": form})
    page = "<a><h><no>{}</no><end>{}</end></h><rec><id>{}</id><s>{}</s></rec></a>"
    authority.says(page.format(2, "Y", "T2", "RJCT"))
    assert authority.counts == ("received", 0, 1, 2)
    said = authority.refuses(page.format(0, "N", "T0", "OK"))
    assert "is page 0" in said
    authority.says(page.format(1, "N", "T0", "OK"))
    assert authority.counts == ("partly accepted", 2, 1, 0)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            auth031("PART", total=5, counts=TWO, records=T0),
            auth031("PART", total=5, counts={"ACPT": 4, "RJCT": 1}, records=T0),
            "counts of sent.xml 4 accepted, 1 rejected, 0 pending records, an earlier file",
        ),
        (
            auth031("PART", total=5, counts=TWO, records=T0),
            auth031("PART", total=5, counts=TWO, records=[("T0", "ACPT", "", ""), *T1]),
            "says of 'T0' something else than an earlier file did",
        ),
        (
            auth031("PART", total=5, counts=TWO, records=T0),
            auth031("PART", records=[*T1, ("T2", *REJECTED)]),
            "3 accepted, 2 rejected, 0 pending records, and 0 accepted, 3 rejected",
        ),
        (
            auth031("PART", total=5, counts=TWO, records=T0),
            auth031("RJCT"),
            None,
        ),
        (
            paged(auth031("PART", records=T0), 1, last=False),
            paged(auth031("PART", records=T1), 1, last=False),
            "is page 1, which came before and said something else",
        ),
        (
            paged(auth031("PART", records=T0), 3, last=True),
            paged(auth031("PART", records=T1), 4, last=False),
            "is page 4, and 3 is the last one",
        ),
        (
            paged(auth031("PART", total=5, counts=TWO, records=T0), 2, last=True),
            paged(auth031("PART", total=5, counts=TWO), 1, last=False),
            "2 rejected, 0 pending records are counted and 0 accepted, 1 rejected",
        ),
        (
            paged(auth031("PART"), 2, last=True),
            paged(auth031("PART"), 1, last=False),
            "partly accepted, and no record is named",
        ),
        (
            paged(TOTAL_2, 1, last=False),
            paged(auth031("ACPT", total=2), 2, last=True),
            "4 records are counted, 5 were sent",
        ),
        (
            paged(TOTAL_3, 1, last=False),
            paged(auth031("ACPT", total=3), 2, last=True),
            "count 6 records, sent.xml has 5",
        ),
        (
            paged(TOTAL_2, 1, last=False),
            paged(auth031("RJCT", total=1, records=T0), 2, last=False),
            "other files of the same answer named 1 of them",
        ),
    ],
)  # fmt: skip
def test_file_that_contradicts_the_others_is_refused(
    plain: Authority, first: str, second: str, said: str | None
) -> None:
    plain.says(first)
    assert plain.counts == ("received", 0, 1 if "<RcrdSts>" in first else 0, plain.counts[3])
    if said is None:
        plain.says(second)
        assert plain.counts == ("rejected", 0, 5, 0)
        return
    assert said in plain.refuses(second)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (auth031("PART", total=3, counts={"ACPT": 2, "RJCT": 1}), "1 rejected records and names 0"),
        (auth031("ACPT", total=2, records=[(f"T{n}", "ACPT", "", "") for n in range(3)]),
         "2 accepted records and names 3"),
        (auth031("RJCT", total=2, counts={"ACPT": 1, "RJCT": 1}, records=T0), "and is rejected"),
        (auth031("ACPT", total=6), "counts 6 records"),
        (paged(auth031("ACPT"), 1, last=False).replace(">false<", ">perhaps<"), "last 'perhaps'"),
        (paged(auth031("ACPT"), 1, last=False).replace("<PgNb>1<", "<PgNb>x<"), "page 'x'"),
        (paged(paged(auth031("ACPT"), 1, last=False), 2, last=False), "that it is two pages"),
    ],
)  # fmt: skip
def test_page_that_cannot_be_is_refused(split: Authority, text: str, said: str) -> None:
    assert said in split.refuses(text)


def test_counts_of_a_part_are_refused_where_nobody_said_that_there_are_parts(
    plain: Authority,
) -> None:
    assert "counts 2 records, sent.xml has 5" in plain.refuses(auth031("ACPT", total=2))


@pytest.mark.parametrize("total", [None, 5, 2])
def test_receipt_in_pages_is_no_answer(split: Authority, total: int | None) -> None:
    for remark in ("", "<!-- -->"):
        split.says(paged(auth031("RCVD", total=total), 1, last=True) + remark)
        assert split.counts == ("received", 0, 0, 5)
    # The answer itself is numbered from 1 again.
    split.says(paged(auth031("ACPT"), 1, last=False))
    split.says(paged(auth031("PART", records=T0), 2, last=True))
    assert split.counts == ("partly accepted", 4, 1, 0)


def test_pages_that_are_only_received_accept_nothing_that_they_do_not_name(
    plain: Authority,
) -> None:
    plain.says(paged(auth031("RCVD", records=T0), 1, last=False))
    plain.says(paged(auth031("RCVD", records=T1), 2, last=True))
    assert plain.counts == ("received", 0, 2, 3)
    plain.says(auth031("PART"))
    assert plain.counts == ("partly accepted", 3, 2, 0)


def test_parts_that_are_only_received_do_not_add_up_to_a_yes(split: Authority) -> None:
    for total in (2, 3):
        split.says(auth031("RCVD", total=total))
    split.says(auth031("RCVD", total=2, records=[("T0", "PDNG", "", "")], counts=PENDING))
    split.says(auth031("RCVD", total=3, records=[("T1", "PDNG", "", "")], counts=PENDING_OF_3))
    assert split.counts == ("received", 0, 0, 5)


@pytest.mark.parametrize("status", ["RJCT", "CRPT", "PART"])
def test_part_that_is_not_accepted_names_what_is_not(split: Authority, status: str) -> None:
    text = uncounted(auth031(status, total=3))
    assert "names" in split.refuses(text)
    split.says(uncounted(auth031("ACPT", total=2)))
    assert "names" in split.refuses(text)
    assert split.counts == ("received", 0, 0, 5)


def test_part_whose_records_are_all_rejected_by_name_is_taken(split: Authority) -> None:
    split.says(uncounted(auth031("RJCT", total=2, records=[*T0, *T1])))
    split.says(uncounted(auth031("ACPT", total=3)))
    assert split.counts == ("partly accepted", 3, 2, 0)


def test_total_alone_says_of_no_record_that_it_is_accepted(plain: Authority) -> None:
    plain.says(uncounted(auth031("PART", total=5)))
    assert plain.counts == ("received", 0, 0, 5)
    plain.says(uncounted(auth031("PART", total=5, records=T0)))
    assert plain.counts == ("partly accepted", 4, 1, 0)


def test_part_that_comes_again_with_other_remarks_is_not_counted_twice(tmp_path: Path) -> None:
    authority = Authority(tmp_path, 4, PLAIN | {"split": True})
    part = auth031("ACPT", total=2)
    authority.says(part)
    remark = "<VldtnRule><Id>W1</Id><Desc>sent once more</Desc></VldtnRule></MsgSts>"
    authority.says(part.replace("</MsgSts>", remark))
    assert authority.counts == ("received", 0, 0, 4)


def test_part_that_comes_again_says_nothing_of_the_whole(split: Authority) -> None:
    accepted = auth031("ACPT", total=4)
    split.says(accepted)
    split.says(auth031("PART", total=1, counts={"RJCT": 1}, records=T0))
    for text in (accepted, auth031("ACPT")):
        split.says(text)
        assert split.counts == ("partly accepted", 4, 1, 0)


def test_counts_do_not_turn_a_rejection_without_a_word(plain: Authority) -> None:
    plain.says(auth031("RJCT"))
    said = Feedback(total=5, counts={"accepted": 4, "rejected": 1})
    with pytest.raises(FeedbackError, match=r"counts 4 accepted .*, which is rejected"):
        plain.hears([said], plain.folder / "1")
    plain.says(auth031("RCVD", total=5))
    assert plain.counts == ("rejected", 0, 5, 0)


def test_whole_file_is_not_rejected_after_each_record_was_accepted(plain: Authority) -> None:
    plain.says(auth031("RCVD", records=[(f"T{n}", "ACPT", "", "") for n in range(5)]))
    assert plain.counts == ("accepted", 5, 0, 0)
    assert "of which 5 records are accepted" in plain.refuses(auth031("RJCT"))


def test_reference_of_a_cancellation_and_a_report_is_told_by_one_page_only(tmp_path: Path) -> None:
    authority = Authority(tmp_path, 3, NUMBERED, refs=["T0", "T0", "T1"])
    authority.says(auth031("PART", records=T0), "sent_1_of_2.xml")
    said = authority.refuses(auth031("PART", records=T0), "sent_2_of_2.xml")
    assert "speaks again of 'T0', which several records are named" in said


def test_pages_of_a_later_word_on_pending_records(plain: Authority) -> None:
    pending = [(f"T{n}", "PDNG", "CON-411", "") for n in (0, 1)]
    plain.says(auth031("PART", total=5, counts={"ACPT": 3, "PDNG": 2}, records=pending))
    assert plain.counts == ("partly accepted", 3, 0, 2)
    plain.says(auth031("PART", total=5, counts=TWO, records=T0))
    assert plain.counts == ("partly accepted", 3, 1, 1)
    assert "2 accepted records, where 3 are left" in plain.refuses(
        auth031("PART", total=5, counts={"ACPT": 2, "RJCT": 3})
    )
    plain.says(auth031("PART", total=5, counts=TWO, records=T1))
    assert plain.counts == ("partly accepted", 3, 2, 0)


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("FB_sent_2_of_3.xml", (2, 3)),
        ("FB_sent_12_of_012.xml", (12, 12)),
        ("FB_sent_x_of_3.xml", None),
        ("FB_sent_1234567890_of_3.xml", None),
    ],
)
def test_names_of_answers_have_the_numbers_of_pages(
    name: str, page: tuple[int, int] | None
) -> None:
    pattern = "FB_{stem}_{page}_of_{pages}.xml"
    assert matches(name, pattern, "sent.xml", DAY) == (page is not None)
    if page is not None:
        assert page_of(name, pattern, "sent.xml", DAY) == page
    assert page_of("sent_1.xml", "*", "sent.xml", DAY) == (None, None)


@pytest.mark.parametrize("pattern", ["{pages}", "{page}_{page}", "{page:02}", "{site}"])
def test_pattern_of_pages_that_says_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"page|site"):
        check_answer_pattern(pattern)


def test_form_with_the_last_page_but_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="go with page"):
        FeedbackForm(reference="a", status="b", last_page="c")
