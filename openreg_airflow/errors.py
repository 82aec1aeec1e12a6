"""Errors that say which report, stage and field, why, and what to do next.

Every error of ours is either permanent or transient. The Dag factory gives each task a
retry policy that fails at once on :class:`PermanentError` and retries everything else.
"""

from __future__ import annotations

from typing import Self


class OpenRegError(Exception):
    """Base of all errors raised on purpose by this package.

    Args:
        message: what went wrong, in one sentence, with the value that caused it.
        hint: what the reader can do about it.
        report: report id, filled in by the stage's operator when the engine does not know it.
        stage: ``extract``, ``transform``, ``validate``, ``artifact`` or ``deliver``.
        where: file, line, column, row or field, as exact as it is known.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        report: str | None = None,
        stage: str | None = None,
        where: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.report = report
        self.stage = stage
        self.where = where

    def at(
        self, *, report: str | None = None, stage: str | None = None, where: str | None = None
    ) -> Self:
        """Fill in what is still unknown about the place of the error; return the error itself."""
        self.report = self.report or report
        self.stage = self.stage or stage
        self.where = self.where or where
        return self

    def __str__(self) -> str:
        place = [
            f"{label} {value}"
            for label, value in (("report", self.report), ("stage", self.stage))
            if value
        ]
        if self.where:
            place.append(self.where)
        text = f"{', '.join(place)}: {self.message}" if place else self.message
        return f"{text}\nHint: {self.hint}" if self.hint else text


class PermanentError(OpenRegError):
    """Trying again without a change gives the same failure: the task fails at once."""


class TransientError(OpenRegError):
    """Trying again later may help: time-outs, reset connections, a full disk."""


class SpecError(PermanentError):
    """A report spec, or a file it names, is missing or wrong."""


class SourceError(PermanentError):
    """A source refuses: login, missing table, query error, a value that does not fit its type."""


class SourceUnavailableError(TransientError):
    """A source cannot be reached or dropped the connection."""


class TransformError(PermanentError):
    """A report's transform raised, or returned something that cannot be stored."""


class SandboxUnavailableError(TransientError):
    """The container engine or the sandbox image cannot be had."""


class SandboxLimitError(PermanentError):
    """A transform was stopped at one of its limits."""


class UnmappedError(PermanentError):
    """Values have no entry in a mapping set, and the spec says that they must have one."""


class BlockingRulesError(PermanentError):
    """At least one blocking rule failed; nothing may be delivered."""


class RuleLimitError(PermanentError):
    """The rules of a report were stopped at their time limit; nothing may be delivered."""


class RuleEngineError(TransientError):
    """The process that evaluates the rules died or could not be started."""


class ArtifactError(PermanentError):
    """A value or layout cannot be written in the artifact's format, or the result is invalid."""


class IntegrityError(PermanentError):
    """A file is not the one that was recorded: its size or SHA-256 differs."""


class DeliveryRefusedError(PermanentError):
    """The receiving side refuses: login, host key, permission, a name that is taken."""


class DoubtfulDeliveryError(DeliveryRefusedError):
    """An earlier try may have sent the file, and only the receiver can tell: a person decides."""


class ReferenceReuseError(PermanentError):
    """A record would be reported under a reference that stands, or cancel one that does not."""


class AcknowledgementError(PermanentError):
    """The authority refused a file, or did not answer in time."""


class DeliveryError(TransientError):
    """A delivery did not finish and may be tried again."""


class MappingError(PermanentError):
    """A mapping set is missing, or what is to be done to it or its entries is not allowed."""


class NoSuchMappingError(MappingError):
    """There is no mapping set of the name, or no run that looked values up in one."""


class MappingConflictError(MappingError):
    """Somebody else changed the set or the entry since it was read; nothing was written."""


class StorageError(TransientError):
    """The workspace cannot be written or read now, for example because a disk is full."""


class StoreNotReadyError(PermanentError):
    """The product's tables are missing, or are not the ones that this version works with."""


class StoreUnavailableError(TransientError):
    """The database with the product's tables cannot be reached, or is locked for too long."""


class DecisionError(PermanentError):
    """A decision about an item of the exception queue is not possible; nothing was done."""


class NoSuchItemError(DecisionError):
    """The exception queue has no item of the number."""


class ChangedMeanwhileError(DecisionError):
    """Somebody else changed an item of the exception queue after it was looked at."""


class StoreConflictError(TransientError):
    """Another run changed what this one was about to finish."""
