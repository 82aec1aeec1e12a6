"""The words on single records, kept in files to which each feedback file adds its own.

Eight files of a kind are put together into one of the next kind, so that of thousands of pages few
files are read and each word is written a handful of times, whatever was told before.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openreg_airflow.deliver.acknowledgement.answers import put_together, write_known
from openreg_airflow.store.told import KeptWords, WordsFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.deliver.acknowledgement.feedback import RecordStatus
    from openreg_airflow.deliver.acknowledgement.matching import Matched
    from openreg_airflow.records import RunKey
    from openreg_airflow.store.acknowledgement_records import FeedbackFile
    from openreg_airflow.store.acknowledgements import Acknowledgements
    from openreg_airflow.workspace import StageFolder, Workspace

#: Files of one level that are put together.
_TOGETHER = 8


@dataclass(frozen=True)
class KnownWords:
    """What earlier feedback files said of records.

    Attributes:
        paths: files as :class:`.WordFile` wrote them; of two words on a row the later one counts.
        named: how many records of each position they speak of, by their newest states; None where
            nobody has counted them.
    """

    paths: tuple[Path, ...]
    named: Mapping[int, Mapping[RecordStatus, int]] | None


@contextmanager
def known_words(
    last: FeedbackFile | None,
    store: Acknowledgements,
    run: RunKey,
    workspace: Workspace,
    scratch: Path,
) -> Iterator[KnownWords | None]:
    """Give what earlier files said of records; None when there was none.

    Args:
        last: the feedback file that was read last.
        store: where an earlier version kept all words.
        run: whose delivery was answered.
        workspace: where the words are.
        scratch: a folder for temporary files.

    Raises:
        IntegrityError: a file of words is not the one that was recorded.
    """
    if last is None:
        yield None
    elif last.words is not None:
        with ExitStack() as stack:
            paths = [stack.enter_context(workspace.open_local(ref)) for ref in last.words.files]
            yield KnownWords(tuple(paths), last.words.named)
    else:
        path = scratch / "known.parquet"
        write_known(store.answers(run, last.route, last.artifact), path)
        yield KnownWords((path,), None)


def keep_words(
    newest: Path,
    matched: Matched,
    *,
    last: FeedbackFile | None,
    sent: tuple[str, ...],
    workspace: Workspace,
    folder: StageFolder,
) -> KeptWords:
    """Keep what a feedback file said of records beside what was known.

    Args:
        newest: its words, as :class:`.WordFile` wrote them.
        matched: what they are.
        last: the feedback file that was read before; as of :func:`known_words`.
        sent: hashes by each of which what was sent is known.
        workspace: where the words are.
        folder: where its own are kept.

    Raises:
        IntegrityError: a file of earlier words is not the one that was recorded.
        StorageError: the disk is full.
    """
    before = last.words if last is not None and not matched.everything else None
    files = list(before.files) if before is not None else []
    if not matched.words:
        return KeptWords(files=tuple(files), named=matched.named, sent=sent)
    level, old = 0, 0
    while [ref.level for ref in files[old - _TOGETHER + 1 : old or None]] == [level] * (
        _TOGETHER - 1
    ):
        level, old = level + 1, old - _TOGETHER + 1
    path = newest
    if old:
        path = newest.with_name("together.parquet")
        with ExitStack() as stack:
            older = [stack.enter_context(workspace.open_local(ref)) for ref in files[old:]]
            put_together([*older, newest], path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Named by what is in it: a file that others rely on is never written over by another one.
    with folder.writing(f"{digest[:12]}_words.parquet") as pending:
        shutil.copyfile(path, pending.path)
    files[old or len(files) :] = [WordsFile(**dict(pending.ref), level=level)]
    return KeptWords(files=tuple(files), named=matched.named, sent=sent)
