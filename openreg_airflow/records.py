"""What stages hand to one another: small JSON records that point at files, never rows.

Each record is a pydantic model; ``model_dump(mode="json")`` is what goes through XCom and
``Model.model_validate`` brings it back.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of the records: immutable and strict about its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileRef(Record):
    """A finished file in the workspace.

    Attributes:
        uri: where it is, as the workspace's root spells it.
        bytes: its size.
        sha256: lower-case hexadecimal SHA-256 of its bytes.
    """

    uri: str
    bytes: int
    sha256: str


class Column(Record):
    """One column of a dataset; ``type`` is Arrow's own spelling, e.g. ``decimal128(18, 5)``."""

    name: str
    type: str
    nullable: bool = True


class Dataset(FileRef):
    """A Parquet file: one table handed from one stage to the next."""

    rows: int
    columns: tuple[Column, ...]


#: What a rule's failure does: it ends the run, is only told, or sets rows aside.
Severity = Literal["blocking", "warning", "correctable"]


class RuleResult(Record):
    """How one validation rule ended.

    Attributes:
        failed: number of failing rows; 0 when the rule passed or they could not be counted.
        checked: rows of the table the rule speaks of.
        seconds: wall time that the rule took.
        message: what the rule says of its first failing row, or why it could not be evaluated;
            empty when it passed.
        samples: the first few failing rows as text, by column, for logs and summaries.
        messages: what the rule says of each sample.
        fields: the columns that the rule speaks of, as its author names them.
        reference: the paragraph of regulation that the rule comes from.
        error: why the rule, or its failing rows, could not be evaluated; such a rule counts as
            failed.
        at_most: how many failing rows a blocking rule puts up with, or a correctable one sets
            aside, in words.
        tolerated: whether the failing rows are no more than that.
        phase: what the rule speaks of: ``source``, ``transformed`` or ``artifact``.
    """

    rule_id: str
    title: str
    severity: Severity
    table: str
    failed: int
    checked: int
    seconds: float
    message: str
    samples: tuple[dict[str, str | None], ...] = ()
    messages: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    reference: str | None = None
    error: str | None = None
    at_most: str | None = None
    tolerated: bool = False
    phase: str = "transformed"

    @property
    def blocks(self) -> bool:
        """Whether nothing may be delivered because of this rule."""
        if self.passed or self.tolerated:
            return False
        if self.severity == "correctable":
            # Rows that are not known, or too many, cannot be set aside.
            return self.error is not None or self.at_most is not None
        return self.severity == "blocking"

    @property
    def sets_aside(self) -> bool:
        """Whether its failing rows wait in the exception queue while the run goes on."""
        return self.severity == "correctable" and self.failed > 0 and not self.blocks

    @property
    def passed(self) -> bool:
        """Whether the rule was evaluated and no row failed it."""
        return not self.failed and self.error is None


class Verdict(Record):
    """The outcome of a validation stage; ``failures`` holds the failing rows as Parquet.

    Attributes:
        tables: the tables that artifacts are made of, without the rows that were set aside; empty
            when the report sets nothing aside, and the tables of the stage before are the ones.
        sources: in a resubmission, the extracted tables that rules read, as they were.
        set_aside: how many records were set aside, by table.
        resubmission: 0 for a run that reads the source, else the number of the resubmission.
    """

    results: tuple[RuleResult, ...]
    failures: FileRef | None = None
    tables: dict[str, Dataset] = {}
    sources: dict[str, Dataset] = {}
    set_aside: dict[str, int] = {}
    resubmission: int = 0

    @property
    def blocking(self) -> tuple[RuleResult, ...]:
        """The rules that stop the run: blocking ones that failed in more rows than tolerated."""
        return tuple(r for r in self.results if r.blocks)

    @property
    def warnings(self) -> tuple[RuleResult, ...]:
        """The rules that failed and let the run go on."""
        return tuple(r for r in self.results if not r.passed and not r.blocks)


#: What a file of an artifact is: the report itself, or what goes with a file of the report.
FileRole = Literal["report", "signature", "checksum"]


class ArtifactFile(FileRef):
    """One finished file of an artifact, still inside the house.

    Attributes:
        filename: the name under which it is delivered.
        part: which part of the artifact it is or belongs to, from 1.
        records: reported records in it.
        role: ``report``, or the detached ``signature`` or ``checksum`` of the report file before.
        md5: lower-case hexadecimal MD5 of its bytes, where the spec asks for it.
        document_sha256: hash of the document before it was packed; None when it was not.
    """

    filename: str
    part: int = 1
    records: int
    role: FileRole = "report"
    md5: str | None = None
    document_sha256: str | None = None


class Resubmission(Record):
    """What a run begins with that takes its records from the exception queue.

    Attributes:
        number: of the report's resubmissions for the business date, from 1.
        tables: all tables: those of records with the claimed ones only, the others as they were.
        sources: extracted tables that rules read, as they were.
    """

    number: int
    tables: dict[str, Dataset]
    sources: dict[str, Dataset]


class Artifact(Record):
    """What is reported, as finished files: several when it was split, none when there is nothing.

    Attributes:
        name: the artifact's name in the spec.
        records: reported records in all its files.
        schema_check: ``valid``, or why the files were not held against a schema.
        files: in the order in which they are delivered.
        version: 1 for the first content of a report and date, 2 for its first correction; 0
            when there was nothing to write.
        content: hash of what the content follows from: inputs, spec, layout and parts.
        sequence: name of the sequence that its numbers come from.
        numbers: its sequence numbers: one for each part, or one for all.
        metadata: what is told of it beside the files: spec, rules, inputs, software.
        sidecar: the file that tells it, which stays in the house.
    """

    name: str
    format: str
    records: int
    schema_check: str
    files: tuple[ArtifactFile, ...]
    version: int = 1
    content: str = ""
    sequence: str | None = None
    numbers: tuple[int, ...] = ()
    metadata: dict[str, Any] = {}
    sidecar: FileRef | None = None

    @property
    def reports(self) -> tuple[ArtifactFile, ...]:
        """The files of the report itself, by part."""
        return tuple(file for file in self.files if file.role == "report")

    @property
    def bytes(self) -> int:
        """The size of all its files."""
        return sum(file.bytes for file in self.files)


class Receipt(Record):
    """Proof that one file of an artifact reached one destination.

    Attributes:
        destination: where it lies, without credentials, e.g. ``sftp://host:22/inbox/file.xml``.
        already_there: the same bytes were found under the final name and nothing was sent.
    """

    route: str
    artifact: str
    destination: str
    filename: str
    bytes: int
    sha256: str
    delivered_at: datetime
    seconds: float
    already_there: bool = False


class RunKey(Record):
    """One run of one report: the key of everything that the run leaves behind."""

    report_id: str
    business_date: date
    run_id: str
