"""The records of files that an authority rejected as a whole, each with what it says of its file.

A run that reads the source again sends such a file anew. What a resubmission sent is in no source:
its records have to come back to the exception queue.
"""

from __future__ import annotations

from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from openreg_airflow.store.acknowledgement_records import RecordAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from openreg_airflow.deliver.acknowledgement.feedback import Feedback
    from openreg_airflow.records import ArtifactFile
    from openreg_airflow.store.acknowledgement_records import Acknowledgement

_NO_RULES: tuple[str, ...] = ()


def of_whole_files(
    standings: Iterable[Acknowledgement],
    files: Sequence[ArtifactFile],
    said: Mapping[int, Feedback] | None = None,
) -> Iterator[RecordAnswer]:
    """Give what is said of each record of the files that were rejected or found corrupted.

    Args:
        standings: how it stands with files; others are passed over.
        files: the report files of the artifact, in their order.
        said: what a feedback file says of them by position; without it the authority's words are
            known, and not which of them is a rule.

    Returns:
        Rejections in the order of the rows; they have no reference, since they mean no single
        record.
    """
    for one in sorted(standings, key=attrgetter("position")):
        if one.state not in ("rejected", "corrupted"):
            continue
        feedback = (said or {}).get(one.position)
        rules, text = (feedback.rules, feedback.text) if feedback else (_NO_RULES, "")
        word = RecordAnswer(
            route=one.route,
            artifact=one.artifact,
            reference="",
            position=one.position,
            status="rejected",
            rules=" ".join(rules),
            text=text or ("" if rules else one.text) or f"the whole file was {one.state}",
        )
        first = sum(file.records for file in files[: one.position - 1])
        for row in range(first, first + files[one.position - 1].records):
            yield word.model_copy(update={"row": row})


def with_whole_files(
    words: Iterator[RecordAnswer], whole: Iterator[RecordAnswer]
) -> Iterator[RecordAnswer]:
    """Give words on single records, and those on whole files where a record has none of its own.

    Args:
        words: in the order of the rows, one of each at most.
        whole: of :func:`of_whole_files`.
    """
    by_row = attrgetter("row")
    for _, same in groupby(merge(words, whole, key=by_row), by_row):
        yield next(same)
