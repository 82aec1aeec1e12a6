"""Looking for feedback, and taking what it says."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.feedback import FeedbackError, load_parser
from openreg_airflow.deliver.acknowledgement.fetching import fetch_answers, local_name
from openreg_airflow.deliver.acknowledgement.whole_files import of_whole_files, with_whole_files
from openreg_airflow.errors import SpecError
from openreg_airflow.references.guard import references_of
from openreg_airflow.store.acknowledgement_records import (
    Acknowledgement,
    FeedbackFile,
    RecordAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.fetching import FetchedAnswer
    from openreg_airflow.deliver.acknowledgement.spec import AcknowledgementSpec
    from openreg_airflow.deliver.connection import Connection
    from openreg_airflow.deliver.spec import RouteSpec
    from openreg_airflow.records import Artifact, Dataset, FileRef, RunKey
    from openreg_airflow.store.acknowledgements import Acknowledgements
    from openreg_airflow.workspace import StageFolder, Workspace

    Reject = Callable[[Iterator[RecordAnswer]], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Awaited:
    """What is awaited of whom.

    Attributes:
        route: name of the route that was delivered over.
        spec: the route; it has an acknowledgement.
        table: the table whose rows were written.
        due_at: until when an answer is waited for.
        resubmission: the exception queue gave what was sent, and no source has it.
    """

    run: RunKey
    route: str
    spec: RouteSpec
    artifact: Artifact
    table: Dataset | None
    due_at: datetime
    resubmission: bool = False

    @property
    def answer(self) -> AcknowledgementSpec:
        """The route's acknowledgement."""
        if self.spec.acknowledgement is None:
            message = f"route {self.route} awaits no acknowledgement"
            raise SpecError(message)
        return self.spec.acknowledgement

    @property
    def sent(self) -> tuple[str, ...]:
        """Hashes by each of which what was sent is known.

        Packing may make other bytes of the same content, and another spec the same bytes.
        """
        files = [file.document_sha256 or file.sha256 for file in self.artifact.reports]
        whole = hashlib.sha256(" ".join(files).encode()).hexdigest()
        return (self.artifact.content, whole) if self.artifact.content else (whole,)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the table by which answers name its rows."""
        return self.answer.named_by(references_of(self.artifact))


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What one look brought.

    Attributes:
        standings: how it stands with each file now.
        refused: feedback files that were refused, with the reason.
    """

    standings: tuple[Acknowledgement, ...]
    refused: tuple[FeedbackFile, ...]

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come."""
        return all(standing.settled for standing in self.standings)


def collect(
    awaited: Awaited,
    *,
    connect: Callable[[str], Connection],
    workspace: Workspace,
    store: Acknowledgements,
    reject: Reject,
    afresh: bool = False,
) -> Collected:
    """Look once whether the authority has answered, and take what it says.

    A file that is no answer is refused and kept; it never counts as a yes, and the next look goes
    on waiting. Files that were looked at before are not fetched again; those that were refused are
    when a person asks for it, since the spec may have been mended.

    Args:
        awaited: what is awaited.
        connect: gives a connection by its name.
        workspace: where feedback files are kept.
        store: where answers are kept.
        reject: is given the rejected records, once through and perhaps none, before the file
            counts as read: a task that dies in between gives them again. Those of a resubmission
            are among them when their file is rejected as a whole.
        afresh: look at refused files once more, and for new ones although all is answered; a file
            that was rejected as a whole goes out as another version, so its answer is the last.

    Raises:
        DeliveryRefusedError: the place refuses.
        DeliveryError: it cannot be reached just now.
    """
    reports = awaited.artifact.reports
    place = (awaited.run, awaited.route, awaited.artifact.name)
    replaced = store.await_files(
        awaited.run,
        [
            Acknowledgement(
                route=awaited.route,
                artifact=awaited.artifact.name,
                position=position,
                filename=file.filename,
                sent=file.records,
                pending=file.records,
                due_at=awaited.due_at,
            )
            for position, file in enumerate(reports, 1)
        ],
        awaited.sent,
    )
    _tell_of_replaced(replaced)
    if afresh:
        _tell_of_same_names(awaited, store)
    refused: list[FeedbackFile] = []
    _adopt(awaited, store, reject)
    before = store.of_run(*place)
    if afresh and awaited.resubmission:
        # An earlier version left them as they were.
        reject(of_whole_files(before, reports))
    # A person who clears the task asks whether the authority has changed its mind.
    again = afresh and all(one.state not in ("rejected", "corrupted") for one in before)
    if again or not all(standing.settled for standing in before):
        with workspace.scratch_folder() as scratch:
            known = [file for file in store.files(*place) if not afresh or file.result == "read"]
            fetched = fetch_answers(awaited, connect, scratch, known)
            sent = awaited.table if awaited.names and fetched else None
            with workspace.open_local(sent) if sent else nullcontext() as table:
                for came in fetched:
                    file = _take(awaited, came, workspace, store, reject, table=table)
                    if file.result == "refused":
                        refused.append(file)
    return Collected(standings=store.of_run(*place), refused=tuple(refused))


def _tell_of_replaced(replaced: tuple[Acknowledgement, ...]) -> None:
    """Tell of files of an earlier version whose answers this run does not look for any more."""
    for one in replaced:
        log.log(
            logging.INFO if one.settled else logging.WARNING,
            "this run sent another version since; no answer is awaited any more to %s (%s, %d "
            "pending)",
            one.filename,
            one.state,
            one.pending,
        )


def _tell_of_same_names(awaited: Awaited, store: Acknowledgements) -> None:
    """Tell of files that the run delivered with other content before, under the same names."""
    sent = {file.filename: file.sha256 for file in awaited.artifact.reports}
    earlier = {
        one.filename
        for one in store.attempts(awaited.run)
        if (one.route, one.artifact) == (awaited.route, awaited.artifact.name)
        and one.result == "delivered"
        and sent.get(one.filename, one.sha256) != one.sha256
    }
    for name in sorted(earlier):
        log.warning(
            "this run delivered %s before with other content: ask the authority which of them it "
            "answers where its answer comes late; names with {version} or {sequence} tell them "
            "apart",
            name,
        )


def _adopt(awaited: Awaited, store: Acknowledgements, reject: Reject) -> None:
    """Take what was answered to another run of the same content, where this one sent nothing.

    The authority answers once, and its folder may be empty since.
    """
    run, artifact = awaited.run, awaited.artifact
    place = (awaited.route, artifact.name)
    own = store.of_run(run, *place)
    # What the run sent of another version is no part of this one.
    hashes = {file.sha256 for file in artifact.reports}
    sent = any(
        (one.route, one.artifact) == place
        and one.sha256 in hashes
        and one.result in ("delivered", "started")
        for one in store.attempts(run)
    )
    if sent or not artifact.content or all(one.settled for one in own):
        return
    files = [(one.position, one.filename, one.sent) for one in own]
    for other in store.of_content(run, *place, artifact.content):
        standings = store.of_run(other, *place)
        same = files == [(one.position, one.filename, one.sent) for one in standings]
        if not same or not all(one.settled for one in standings):
            continue
        *older, newest = [file for file in store.files(other, *place) if file.result == "read"]
        log.info("run %s sent the same content; its answers hold for this run too", other.run_id)
        whole = of_whole_files(standings if awaited.resubmission else (), artifact.reports)
        words = (one for one in _each(store, other, place) if one.status == "rejected")
        reject(chain(words, whole))
        # Those that still lie there are known, and not read again as if they were newer.
        for file in older:
            store.note(run, file)
        store.apply(run, newest, standings, _each(store, other, place))
        return


def _each(store: Acknowledgements, run: RunKey, place: tuple[str, str]) -> Iterator[RecordAnswer]:
    """What is known of single records, however many they are."""
    return (one for batch in store.each_answer(run, *place) for one in batch)


def _take(
    awaited: Awaited,
    came: FetchedAnswer,
    workspace: Workspace,
    store: Acknowledgements,
    reject: Reject,
    *,
    table: Path | None,
) -> FeedbackFile:
    """Keep a file and take what it says, or refuse it."""
    from openreg_airflow.deliver.acknowledgement.addressee import Sent, answered_files
    from openreg_airflow.deliver.acknowledgement.answers import AnswerFile, Words
    from openreg_airflow.deliver.acknowledgement.kept import keep_words, known_words
    from openreg_airflow.deliver.acknowledgement.matching import match

    started = time.monotonic()
    path, name = came.path, came.name
    run, answer, artifact = awaited.run, awaited.answer, awaited.artifact
    folder = workspace.folder(run, "acknowledge", f"{artifact.name}_{awaited.route}")
    kept = _keep(path, name, folder)
    file = FeedbackFile(
        route=awaited.route,
        artifact=artifact.name,
        filename=name,
        sha256=kept.sha256,
        bytes=kept.bytes,
        uri=kept.uri,
        result="read",
        came_as={name: came.changed},
    )
    place = (run, awaited.route, artifact.name)
    earlier, last = store.file(*place, kept.sha256), store.last_read(*place)
    read = earlier if earlier is not None and earlier.result == "read" else None
    if earlier is not None:
        file = file.model_copy(update={"came_as": earlier.names | file.came_as})
    before = store.of_run(*place)
    answers = path.parent / "answers.parquet"
    newest = path.parent / "words.parquet"
    try:
        with AnswerFile(answers) as writer:
            feedback = load_parser(answer.parser).read(path, answer.form, writer.take)
        with known_words(last, store, run, workspace, path.parent) as known:
            matched = match(
                name,
                feedback,
                answers,
                Sent(
                    business_date=run.business_date,
                    files=artifact.reports,
                    table=table,
                    names=awaited.names,
                ),
                answer,
                known=known,
                newest=newest,
                standings=before,
                now=datetime.now(UTC),
                repeated=read is not None,
            )
    except FeedbackError as error:
        reason = f"{error.where}: {error.message}" if error.where else error.message
        refused = file.model_copy(update={"result": "refused", "reason": reason})
        store.note(run, refused if read is None else _also_as(read, came))
        log.error("refused and kept as %s: %s", kept.uri, error)
        return refused
    standings = matched.standings
    if read is not None and all(standing in before for standing in standings):
        # It says nothing new, and the newest words are those of other files.
        store.note(run, _also_as(read, came))
        return read
    words = Words(newest, awaited.route, artifact.name)
    rejected = words.rejected()
    if awaited.resubmission:
        files = Sent(business_date=run.business_date, files=artifact.reports, table=None, names=())
        said = answered_files(feedback, name, files, answer)
        rejected = with_whole_files(rejected, of_whole_files(standings, artifact.reports, said))
    reject(rejected)
    told = keep_words(
        newest,
        matched,
        last=last,
        sent=awaited.sent,
        workspace=workspace,
        folder=folder,
    )
    store.apply(run, file.model_copy(update={"words": told}), standings, words.news())
    for standing in standings:
        log.info(
            "%s says of %s: %s; %d accepted, %d rejected, %d pending of %d sent%s, %.1f s",
            name,
            standing.filename,
            standing.state,
            standing.accepted,
            standing.rejected,
            standing.pending,
            standing.sent,
            f" ({standing.untold})" if standing.untold else "",
            time.monotonic() - started,
        )
    return file


def _also_as(read: FeedbackFile, came: FetchedAnswer) -> FeedbackFile:
    """A file that was read, and whose bytes came once more."""
    return read.model_copy(update={"came_as": read.names | {came.name: came.changed}})


def _keep(path: Path, name: str, folder: StageFolder) -> FileRef:
    """Keep a feedback file as it came, under its name and hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with folder.writing(f"{digest[:12]}_{local_name(name)}") as pending:
        shutil.copyfile(path, pending.path)
    return pending.ref
