"""Parts the records that are set aside from those that go on.

DuckDB finds the numbers of the rows, reading only the columns that name records; the rows
themselves are copied batch by batch with Arrow, so that every type stays as it is. Rows that are
set aside wait in files of the scratch folder until they are asked for.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.errors import PermanentError, SpecError, StorageError
from openreg_airflow.exception_queue.spec import children, family
from openreg_airflow.exception_queue.values import ValueRefusedError, encode
from openreg_airflow.parquet_rows import opened
from openreg_airflow.sql_quoting import named, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.exception_queue.spec import RecordTable

#: Rows that are read at a time, and records that are given at a time.
_ROWS = 16_384
_RECORDS = 1000
#: Records after which the files of rows are mapped anew, which lets go of what was read of them.
_MAPPED = 50_000
#: Reasons that are kept of one record; a record of a thousand inner rows may have as many.
MOST_REASONS = 100
_PROGRESS = 5.0
_HELD = "aside_{}.arrow"
_MEMORY = "96MiB"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AsideRecord:
    """One record that is set aside.

    Attributes:
        table: the table of records.
        key: the values that name it, as JSON values.
        occurrence: 1, or more where several rows have the same key.
        position: 0-based number of its row in the table.
        values: its row by column, as JSON values.
        children: the rows that belong to it, by table, in their order.
        reasons: why: ``rule``, ``message``, ``reference`` and the ``table`` whose row is at fault.
    """

    table: str
    key: tuple[Any, ...]
    occurrence: int
    position: int
    values: dict[str, Any]
    children: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reasons: list[dict[str, Any]] = field(default_factory=list)


class Parting:
    """What is set aside of some tables; a context manager.

    Args:
        records: the report's tables of records; other tables are left alone.
        tables: local Parquet files by table name.
        reasons: a file of :mod:`openreg_airflow.exception_queue.reasons`.
        scratch: a private folder for temporary files.
        waived: rules that records need not meet: by table of records, the 0-based row and the
            rule.

    Raises:
        SpecError: a table or column that the section names is not there.
        PermanentError: a reason names a row that is not there, or one without a record.
    """

    def __init__(
        self,
        records: Mapping[str, RecordTable],
        tables: Mapping[str, Path],
        reasons: Path,
        scratch: Path,
        waived: Mapping[str, Iterable[tuple[int, str]]] | None = None,
    ) -> None:
        self._records = dict(records)
        self._tables = tables
        self._reasons = reasons
        self._scratch = scratch
        self._waived = waived or {}
        self._pairs: dict[str, tuple[Any, Any]] = {}
        self._database = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": _MEMORY,
                "threads": 1,
                "temp_directory": str(scratch / "parting_spill"),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        try:
            # The rules' own session casts instants to text in UTC.
            self._database.execute("SET TimeZone = 'UTC'")
            self._find()
        except duckdb.Error as error:
            self._database.close()
            message = f"the rows that are set aside cannot be found: {error}"
            raise StorageError(message, hint="See whether the disk is well.") from error
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    @property
    def roots(self) -> tuple[str, ...]:
        """The tables of records."""
        return tuple(name for name, table in self._records.items() if table.key)

    def watched(self) -> Iterator[AsideRecord]:
        """The same as :meth:`records`, with a line in the log now and then."""
        total = sum(map(self.aside, self.roots))
        spoken = time.monotonic()
        for number, one in enumerate(self.records(), start=1):
            if time.monotonic() - spoken >= _PROGRESS:
                spoken = time.monotonic()
                log.info("%d of %d records are in the queue.", number, total)
            yield one

    def aside(self, table: str) -> int:
        """How many rows of a table are set aside."""
        return len(self._numbers[table]) if table in self._numbers else 0

    def write(self, table: str, target: Path) -> int:
        """Write a table without the rows that are set aside, in its own order and types.

        Returns:
            The rows that were written.
        """
        written = 0
        aside = self._numbers[table]
        with opened(self._tables[table]) as file:
            text = [f.name for f in file.schema_arrow if pa.types.is_string(f.type)]
            with pq.ParquetWriter(
                target,
                file.schema_arrow,
                compression="zstd",
                use_dictionary=text,
                dictionary_pagesize_limit=64 << 10,
            ) as writer:
                first = 0
                for batch in file.iter_batches(_ROWS):
                    kept = np.ones(batch.num_rows, bool)
                    kept[_within(aside, first, batch.num_rows)] = False
                    first += batch.num_rows
                    rows = batch.filter(pa.array(kept))
                    written += rows.num_rows
                    if rows.num_rows:
                        writer.write_batch(rows)
        return written

    def records(self) -> Iterator[AsideRecord]:
        """The records that are set aside, by table and in the order of their rows.

        Raises:
            PermanentError: a column's type cannot be kept.
        """
        for table in self.roots:
            if self.aside(table):
                yield from self._records_of(table)

    @cached_property
    def _numbers(self) -> dict[str, Any]:
        """The numbers of the rows that are set aside, sorted, by table."""
        return {name: _distinct(rows) for name, (rows, _) in self._pairs.items()}

    def _find(self) -> None:
        self._require_columns()
        reasons = quoted(str(self._reasons))
        self._database.execute(
            "CREATE VIEW reasons AS SELECT *, file_row_number AS n "  # noqa: S608 - our own file
            f"FROM read_parquet({reasons}, file_row_number = true)"
        )
        found = self._database.execute("SELECT DISTINCT reasons.table FROM reasons").fetchall()
        for (table,) in found:
            if table not in self._records:
                message = f"rows of {table} are to be set aside, but it is no table of records"
                raise SpecError(message, hint="Declare it under records: with its key or parent.")
        for name in self._records:
            self._database.execute(f"CREATE TABLE hit_{name} (rn BIGINT, n BIGINT)")
        for (table,) in sorted(found):
            self._hit(table)
        for name in self.roots:
            self._climb(name)
        self._require_all_found()
        for name in self.roots:
            self._waive(name)
            self._descend(name)

    def _require_columns(self) -> None:
        for name, table in self._records.items():
            if name not in self._tables:
                message = f"records: there is no table {name} in this run"
                raise SpecError(message, hint=f"Its tables are {', '.join(sorted(self._tables))}.")
            wanted = {*table.naming}
            wanted.update(
                outer for c in children(self._records, name)
                for outer in self._records[c].shared.values()
            )  # fmt: skip
            there = pq.read_schema(self._tables[name]).names
            if missing := sorted(wanted - set(there)):
                message = f"records: the table {name} has no column {missing[0]!r}"
                raise SpecError(message, hint=f"Its columns are {', '.join(there)}.")
            if "file_row_number" in there:
                message = f"records: the table {name} has a column file_row_number"
                raise SpecError(message, hint="Give the column another name.")

    def _hit(self, table: str) -> None:
        """The rows of a table that reasons name by their number or their key."""
        same = " AND ".join(
            f"CAST(t.{named(name)} AS VARCHAR) IS NOT DISTINCT FROM r.key[{place}]"
            for place, name in enumerate(self._records[table].naming, start=1)
        )
        for way in ("r.row IS NOT NULL AND t.rn = r.row", f"r.key IS NOT NULL AND {same}"):
            self._database.execute(
                f"INSERT INTO hit_{table} SELECT t.rn, r.n FROM reasons AS r "  # noqa: S608
                f"JOIN {self._rows(table)} AS t ON {way} WHERE r.table = ?",
                [table],
            )

    def _climb(self, name: str) -> None:
        """From the rows at fault to the records that they belong to."""
        for child in reversed(family(self._records, name)[1:]):
            parent = self._records[child].parent or ""
            self._database.execute(
                f"INSERT INTO hit_{parent} SELECT DISTINCT p.rn, h.n FROM hit_{child} AS h "  # noqa: S608
                f"JOIN {self._rows(child)} AS c ON c.rn = h.rn "
                f"JOIN {self._rows(parent)} AS p ON {self._same(child)}"
            )

    def _waive(self, name: str) -> None:
        """Forget what is wrong with records that somebody released as they are."""
        if waived := list(self._waived.get(name, ())):
            table = pa.table(
                {"row": [row for row, _ in waived], "rule": [rule for _, rule in waived]}
            )
            self._database.register("waived", table)
            self._database.execute(
                f"DELETE FROM hit_{name} AS h USING reasons AS r, waived AS w "  # noqa: S608
                "WHERE h.n = r.n AND w.row = h.rn AND w.rule = r.rule"
            )
            self._database.unregister("waived")

    def _descend(self, name: str) -> None:
        """From the records to all rows that belong to them."""
        self._database.execute(
            f"CREATE TABLE aside_{name} AS SELECT DISTINCT rn, rn AS record FROM hit_{name}"  # noqa: S608
        )
        for table in family(self._records, name):
            if table != name:
                parent = self._records[table].parent
                self._database.execute(
                    f"CREATE TABLE aside_{table} AS SELECT DISTINCT c.rn, a.record "  # noqa: S608
                    f"FROM aside_{parent} AS a JOIN {self._rows(parent or '')} AS p "
                    f"ON p.rn = a.rn JOIN {self._rows(table)} AS c ON {self._same(table)}"
                )
            found = self._database.execute(
                f"SELECT rn, record FROM aside_{table} ORDER BY record, rn"  # noqa: S608
            ).fetchnumpy()
            if len(found["rn"]):
                rows, owners = (np.asarray(found[n], np.int64) for n in ("rn", "record"))
                self._pairs[table] = (rows, owners)

    def _require_all_found(self) -> None:
        listed = " UNION ".join(f"SELECT n FROM hit_{name}" for name in self.roots)  # noqa: S608
        lost = self._database.execute(
            "SELECT count(*) OVER (), r.table, r.row, r.key, r.rule FROM reasons AS r "  # noqa: S608
            f"WHERE r.n NOT IN ({listed}) ORDER BY r.n LIMIT 1"
        ).fetchall()
        if not lost:
            return
        [(count, table, row, key, rule)] = lost
        which = f"row {row + 1}" if row is not None else f"the row with {key}"
        message = f"{count} rows cannot be set aside: {which} of {table} belongs to no record"
        raise PermanentError(
            message,
            where=f"rule {rule}",
            hint="The rule must return the columns of the record's key, unchanged; a row of an "
            "inner table must have its parent.",
        )

    def _same(self, child: str) -> str:
        pairs = self._records[child].shared.items()
        return " AND ".join(f"c.{named(inner)} = p.{named(outer)}" for inner, outer in pairs)

    def _rows(self, table: str) -> str:
        names = {*self._records[table].naming}
        for child in children(self._records, table):
            names.update(self._records[child].shared.values())
        columns = ", ".join(map(named, sorted(names)))
        return (
            f"(SELECT {columns}, file_row_number AS rn FROM "  # noqa: S608
            f"read_parquet({quoted(str(self._tables[table]))}, file_row_number = true))"
        )

    def _records_of(self, name: str) -> Iterator[AsideRecord]:
        tables = [t for t in family(self._records, name) if self.aside(t)]
        for table in tables:
            self._hold(table)
        held: dict[str, pa.Table] = {}
        numbers = self._numbers[name]
        reasons = self._reasons_of(name)
        repeated = self._repeated(name)
        seen: dict[str, int] = defaultdict(int)
        key = self._records[name].key or ()
        for first in range(0, len(numbers), _RECORDS):
            part = numbers[first : first + _RECORDS]
            if first % _MAPPED == 0:
                held = {table: self._held(table) for table in tables}
            below = {t: self._below(t, held[t], part) for t in held if t != name}
            rows = held[name].slice(first, len(part)).to_pylist()
            again = np.isin(part, repeated).tolist()
            for number, row, counted in zip(part.tolist(), rows, again, strict=True):
                values = _encoded(row, name)
                names = tuple(values[column] for column in key)
                if counted:
                    seen[repr(names)] += 1
                yield AsideRecord(
                    table=name,
                    key=names,
                    occurrence=seen[repr(names)] if counted else 1,
                    position=number,
                    values=values,
                    children={t: rows[number] for t, rows in below.items() if number in rows},
                    reasons=next(reasons),
                )

    def _repeated(self, name: str) -> Any:
        """The numbers of rows whose key may stand in others that are set aside, too; sorted.

        Equal keys have equal hashes. Only the keys of these rows are counted, so that memory does
        not grow with records whose keys are their own.
        """
        key = ", ".join(f"t.{named(column)}" for column in self._records[name].key or ())
        found = self._database.execute(
            f"WITH keys AS (SELECT t.rn, hash({key}) AS h FROM {self._rows(name)} AS t "  # noqa: S608
            f"SEMI JOIN aside_{name} AS a ON a.rn = t.rn) SELECT k.rn FROM keys AS k SEMI JOIN "
            "(SELECT h FROM keys GROUP BY h HAVING count(*) > 1) AS r ON r.h = k.h ORDER BY k.rn"
        ).fetchnumpy()
        return np.asarray(found["rn"], np.int64)

    def _below(self, table: str, held: pa.Table, part: Any) -> dict[int, list[dict[str, Any]]]:
        """The rows of an inner table that belong to some records, by the record's row."""
        rows, owners = self._pairs[table]
        begin, end = np.searchsorted(owners, [part[0], part[-1] + 1])
        places = np.searchsorted(self._numbers[table], rows[begin:end])
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        if not len(places):
            return found
        # Arrow joins all pieces of a table before it takes of it.
        low, high = int(places.min()), int(places.max())
        taken = held.slice(low, high + 1 - low).take(pa.array(places - low)).to_pylist()
        for owner, row in zip(owners[begin:end].tolist(), taken, strict=True):
            found[owner].append(_encoded(row, table))
        return found

    def _held(self, table: str) -> pa.Table:
        """The rows of a table that are set aside, from a file that is mapped into memory."""
        return pa.ipc.open_file(pa.memory_map(str(self._scratch / _HELD.format(table)))).read_all()

    def _hold(self, table: str) -> None:
        """Write the rows of a table that are set aside to a file of their own."""
        path = self._scratch / _HELD.format(table)
        aside = self._numbers[table]
        with opened(self._tables[table]) as file:
            schema = file.schema_arrow
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                first = 0
                for batch in file.iter_batches(_ROWS):
                    within = _within(aside, first, batch.num_rows)
                    first += batch.num_rows
                    if len(within):
                        writer.write_batch(batch.take(pa.array(within)))

    def _reasons_of(self, name: str) -> Iterator[list[dict[str, Any]]]:
        """The reasons of each record, in the order of the records."""
        cursor = self._database.cursor()
        cursor.execute(
            f"SELECT DISTINCT h.rn, r.n, r.table, r.rule, r.message, r.reference "  # noqa: S608
            f"FROM hit_{name} AS h JOIN reasons AS r ON r.n = h.n ORDER BY h.rn, r.n"
        )
        current: int | None = None
        found: list[dict[str, Any]] = []
        while rows := cursor.fetchmany(_RECORDS):
            for number, _, table, rule, message, reference in rows:
                if number != current and current is not None:
                    yield found
                if number != current:
                    current, found = number, []
                reason = {"rule": rule, "message": message, "table": table}
                if reference is not None:
                    reason["reference"] = reference
                if len(found) < MOST_REASONS and reason not in found:
                    found.append(reason)
        if current is not None:
            yield found


def _encoded(row: dict[str, Any], table: str) -> dict[str, Any]:
    try:
        return {name: encode(value) for name, value in row.items()}
    except ValueRefusedError as error:
        message = f"a row of {table} cannot be set aside: {error}"
        raise PermanentError(message, hint="Declare a plain type for the column.") from error


def _distinct(numbers: Any) -> Any:
    """Numbers, sorted and each once; by sorting, where numpy would build a table of hashes."""
    ordered = np.sort(numbers)
    return ordered[np.flatnonzero(np.diff(ordered, prepend=-1))]


def _within(numbers: Any, first: int, rows: int) -> Any:
    """Which of some rows are among sorted numbers, as places from ``first`` on."""
    begin, end = np.searchsorted(numbers, [first, first + rows])
    return numbers[begin:end] - first
