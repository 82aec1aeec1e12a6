"""Removes files of artifacts that are old enough, and that nobody can still need to be sent."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from openreg_airflow.store.artifact_history import unsettled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from openreg_airflow.store.actor import Actor
    from openreg_airflow.store.artifact_history import ArtifactHistory, KeptArtifact
    from openreg_airflow.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """What becomes of one artifact.

    Attributes:
        kept: the artifact.
        reason: why its files stay; None when they are removed.
    """

    kept: KeptArtifact
    reason: str | None


def decide(
    history: ArtifactHistory,
    before: datetime,
    report: str | None = None,
    *,
    taken: Callable[[str, KeptArtifact], bool],
    acknowledged: Callable[[str, KeptArtifact], bool],
) -> Iterator[Decision]:
    """What becomes of each artifact that was recorded before an instant, the oldest first.

    Args:
        history: what the store knows.
        before: younger artifacts are not looked at.
        report: only this report.
        taken: whether the condition of a route holds for an artifact.
        acknowledged: whether all files of an artifact that went over a route were accepted.
    """
    for kept in history.find(report=report, before=before):
        if kept.removed_at is None and kept.artifact.files:
            attempts = history.attempts(kept.run)
            reason = unsettled(
                kept.artifact,
                attempts,
                partial(_of, taken, kept),
                partial(_of, acknowledged, kept),
            )
            yield Decision(kept, reason)


def _of(ask: Callable[[str, KeptArtifact], bool], kept: KeptArtifact, text: str) -> bool:
    return ask(text, kept)


def remove(
    history: ArtifactHistory, workspace: Workspace, kept: KeptArtifact, actor: Actor
) -> None:
    """Remove an artifact's files; its sidecar and everything in the store stay.

    It is on record after the last file is gone, so that an interrupted removal is finished by
    the next one.
    """
    for file in kept.artifact.files:
        workspace.remove(file.uri)
        log.info("removed %s", file.uri)
    history.mark_removed(kept, actor)
