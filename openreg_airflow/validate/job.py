"""What the process that evaluates the rules is given, and what it gives back."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydantic import Field

from openreg_airflow.exception_queue.spec import RecordTable
from openreg_airflow.language.look_up import LookUp
from openreg_airflow.language.scope import CodeSet, columns_of
from openreg_airflow.mapping_records import TypedColumn
from openreg_airflow.records import Record
from openreg_airflow.validate.spec import RuleSpec, ValidateLimits


class Rule(Record):
    """A rule with its SQL at hand.

    Attributes:
        sql: the SELECT, whether it stood in the spec or in a file; empty until a rule that is
            written in another way has met the tables.
        fault: why the rule does not fit the tables of the run.
        demand: what a condition demands of every row, in SQL; NULL where it is unknown.
        reads: the columns that the demand reads.
        joined: the SELECT over the table with the columns of ``look_ups`` added.
        look_ups: what the rule looks up in mapping sets as of a date of the row.
    """

    rule_id: str
    spec: RuleSpec
    sql: str = ""
    fault: str | None = None
    demand: str | None = None
    reads: tuple[str, ...] = ()
    joined: str = ""
    look_ups: tuple[LookUp, ...] = ()


class TableFile(Record):
    """A table of the report as a local Parquet file."""

    path: Path
    rows: int


class MappingTable(Record):
    """A mapping set as a local Parquet file, with its key and value columns."""

    path: Path
    keys: tuple[TypedColumn, ...]
    values: tuple[TypedColumn, ...]

    def codes(self, name: str) -> CodeSet:
        """The set as conditions know it."""
        keys, values = (
            columns_of({one.name: one.type for one in columns})
            for columns in (self.keys, self.values)
        )
        return CodeSet(name, keys, values)


class Job(Record):
    """All rules of one stage of one run.

    Attributes:
        rules: in the order of the spec, which is the order of the results.
        tables: the tables that rules may read, by name.
        sources: extracted tables that rules may read, by name.
        mappings: the mapping sets that rules may use, by name.
        business_date: the value of ``$business_date``.
        limits: what the rules together may use.
        failing_rows: most failing rows that are kept of each rule.
        failures: where the failing rows are written as Parquet.
        scratch: a private folder for temporary files.
        records: what names the records of a table; correctable rules need it.
        reasons: where the rows that correctable rules set aside are written, as a file of
            :mod:`openreg_airflow.exception_queue.reasons`.
    """

    rules: tuple[Rule, ...]
    tables: dict[str, TableFile]
    sources: dict[str, TableFile] = Field(default_factory=dict)
    mappings: dict[str, MappingTable] = Field(default_factory=dict)
    business_date: date
    limits: ValidateLimits
    failing_rows: int
    failures: Path
    scratch: Path
    records: dict[str, RecordTable] = Field(default_factory=dict)
    reasons: Path | None = None
