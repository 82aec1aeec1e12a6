"""Which rows belong to the records that are set aside, and why they are.

DuckDB finds the numbers of the rows, reading only the columns that name records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openreg_airflow.errors import PermanentError, SpecError, StorageError
from openreg_airflow.exception_queue.spec import children, family
from openreg_airflow.sql_quoting import named, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from openreg_airflow.exception_queue.spec import RecordTable

#: Reasons that are kept of one record; a record of a thousand inner rows may have as many.
_MOST_REASONS = 100
#: Reasons that are fetched at a time.
_FETCHED = 1000
_MEMORY = "96MiB"


class AsideRows:
    """The numbers of the rows that are set aside, until it is closed.

    Args:
        records: the report's tables of records; other tables are left alone.
        tables: local Parquet files by table name.
        reasons: a file of :mod:`openreg_airflow.exception_queue.reasons`.
        scratch: a private folder for temporary files.
        waived: rules that records need not meet: by table of records, the 0-based row and the
            rule.

    Attributes:
        records, tables, scratch: as they were given.
        pairs: by table, the numbers of its rows and those of the records that they belong to, in
            the order of the records.

    Raises:
        SpecError: a table or column that the section names is not there.
        PermanentError: a reason names a row that is not there, or one without a record.
        StorageError: the disk is not well.
    """

    def __init__(
        self,
        records: Mapping[str, RecordTable],
        tables: Mapping[str, Path],
        reasons: Path,
        scratch: Path,
        waived: Mapping[str, Iterable[tuple[int, str]]] | None = None,
    ) -> None:
        self.records = dict(records)
        self.tables = tables
        self.scratch = scratch
        self._reasons = reasons
        self._waived = waived or {}
        self.pairs: dict[str, tuple[Any, Any]] = {}
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

    def close(self) -> None:
        """Forget what was found."""
        self._database.close()

    @property
    def roots(self) -> tuple[str, ...]:
        """The tables of records."""
        return tuple(name for name, table in self.records.items() if table.key)

    def _find(self) -> None:
        self._require_columns()
        reasons = quoted(str(self._reasons))
        self._database.execute(
            "CREATE VIEW reasons AS SELECT *, file_row_number AS n "  # noqa: S608 - our own file
            f"FROM read_parquet({reasons}, file_row_number = true)"
        )
        found = self._database.execute("SELECT DISTINCT reasons.table FROM reasons").fetchall()
        for (table,) in found:
            if table not in self.records:
                message = f"rows of {table} are to be set aside, but it is no table of records"
                raise SpecError(message, hint="Declare it under records: with its key or parent.")
        for name in self.records:
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
        for name, table in self.records.items():
            if name not in self.tables:
                message = f"records: there is no table {name} in this run"
                raise SpecError(message, hint=f"Its tables are {', '.join(sorted(self.tables))}.")
            wanted = {*table.naming}
            wanted.update(
                outer for c in children(self.records, name)
                for outer in self.records[c].shared.values()
            )  # fmt: skip
            there = pq.read_schema(self.tables[name]).names
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
            for place, name in enumerate(self.records[table].naming, start=1)
        )
        for way in ("r.row IS NOT NULL AND t.rn = r.row", f"r.key IS NOT NULL AND {same}"):
            self._database.execute(
                f"INSERT INTO hit_{table} SELECT t.rn, r.n FROM reasons AS r "  # noqa: S608
                f"JOIN {self._rows(table)} AS t ON {way} WHERE r.table = ?",
                [table],
            )

    def _climb(self, name: str) -> None:
        """From the rows at fault to the records that they belong to."""
        for child in reversed(family(self.records, name)[1:]):
            parent = self.records[child].parent or ""
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
        for table in family(self.records, name):
            if table != name:
                parent = self.records[table].parent
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
                self.pairs[table] = (rows, owners)

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
        pairs = self.records[child].shared.items()
        return " AND ".join(f"c.{named(inner)} = p.{named(outer)}" for inner, outer in pairs)

    def _rows(self, table: str) -> str:
        names = {*self.records[table].naming}
        for child in children(self.records, table):
            names.update(self.records[child].shared.values())
        columns = ", ".join(map(named, sorted(names)))
        return (
            f"(SELECT {columns}, file_row_number AS rn FROM "  # noqa: S608
            f"read_parquet({quoted(str(self.tables[table]))}, file_row_number = true))"
        )

    def repeated(self, name: str) -> Any:
        """The numbers of rows whose key may stand in others that are set aside, too; sorted.

        Equal keys have equal hashes. Only the keys of these rows are counted, so that memory does
        not grow with records whose keys are their own.
        """
        key = ", ".join(f"t.{named(column)}" for column in self.records[name].key or ())
        found = self._database.execute(
            f"WITH keys AS (SELECT t.rn, hash({key}) AS h FROM {self._rows(name)} AS t "  # noqa: S608
            f"SEMI JOIN aside_{name} AS a ON a.rn = t.rn) SELECT k.rn FROM keys AS k SEMI JOIN "
            "(SELECT h FROM keys GROUP BY h HAVING count(*) > 1) AS r ON r.h = k.h ORDER BY k.rn"
        ).fetchnumpy()
        return np.asarray(found["rn"], np.int64)

    def reasons_of(self, name: str) -> Iterator[list[dict[str, Any]]]:
        """The reasons of each record, in the order of the records."""
        cursor = self._database.cursor()
        cursor.execute(
            f"SELECT DISTINCT h.rn, r.n, r.table, r.rule, r.message, r.reference "  # noqa: S608
            f"FROM hit_{name} AS h JOIN reasons AS r ON r.n = h.n ORDER BY h.rn, r.n"
        )
        current: int | None = None
        found: list[dict[str, Any]] = []
        while rows := cursor.fetchmany(_FETCHED):
            for number, _, table, rule, message, reference in rows:
                if number != current and current is not None:
                    yield found
                if number != current:
                    current, found = number, []
                reason = {"rule": rule, "message": message, "table": table}
                if reference is not None:
                    reason["reference"] = reference
                if len(found) < _MOST_REASONS and reason not in found:
                    found.append(reason)
        if current is not None:
            yield found
