"""What changed between the records of two runs, by their key; DuckDB spills what does not fit."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from openreg_airflow.artifacts.writer import unknown_column
from openreg_airflow.errors import ArtifactError, StorageError
from openreg_airflow.sql_quoting import named, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import duckdb

Kind = Literal["added", "removed", "changed"]

_MEMORY = "400MB"
_COLUMNS_AT_ONCE = 8
_BATCH = 1000


@dataclass(frozen=True)
class Change:
    """One record that is not the same in both runs.

    Attributes:
        kind: what became of it.
        key: the values of the key's columns, as text.
        fields: of a changed record, the columns that differ: name, before, after, as text; NULL
            is None.
    """

    kind: Kind
    key: tuple[str | None, ...]
    fields: tuple[tuple[str, str | None, str | None], ...] = ()


@dataclass(frozen=True)
class Summary:
    """How much changed.

    Attributes:
        before: records of the first run.
        after: records of the second one.
        fields: in how many records each column changed, the most often changed first.
        only_before: columns that only the first run's table has.
        only_after: columns that only the second run's table has.
    """

    before: int
    after: int
    added: int
    removed: int
    changed: int
    fields: tuple[tuple[str, int], ...]
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing changed at all."""
        changes = self.added + self.removed + self.changed
        return not (changes or self.only_before or self.only_after)


class Difference:
    """The difference of two tables; made by :func:`between`."""

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        tables: tuple[_Table, _Table],
        key: Sequence[str],
        columns: Sequence[str],
    ) -> None:
        self._database = database
        self._tables = tables
        self._key = list(key)
        self._columns = list(columns)
        self.summary = self._find()

    def _find(self) -> Summary:
        """Find the keys whose records differ, by a hash of each record, and count what differs."""
        keys = ", ".join(f"k{n}" for n in range(len(self._key)))
        self._database.execute(
            "CREATE TABLE changes AS "  # noqa: S608
            f"SELECT {keys}, max(h) FILTER (WHERE side = 0) AS ha, "
            "max(h) FILTER (WHERE side = 1) AS hb, ha IS NOT NULL AS in_a, hb IS NOT NULL AS in_b "
            f"FROM {self._both([f'{_record_hash(self._tables, self._columns)} AS h'])} "
            f"GROUP BY {keys} HAVING ha IS DISTINCT FROM hb"
        )
        row = self._database.execute(
            "SELECT count(*) FILTER (WHERE NOT in_a), count(*) FILTER (WHERE NOT in_b), "
            "count(*) FILTER (WHERE in_a AND in_b) FROM changes"
        ).fetchone()
        added, removed, changed = row or (0, 0, 0)
        first, second = self._tables[0], self._tables[1]
        return Summary(
            before=_rows(self._database, first),
            after=_rows(self._database, second),
            added=added,
            removed=removed,
            changed=changed,
            fields=self._fields() if changed else (),
            only_before=tuple(name for name in first.types if name not in second.types),
            only_after=tuple(name for name in second.types if name not in first.types),
        )

    def _fields(self) -> tuple[tuple[str, int], ...]:
        """In how many records each column changed; a few columns at a time, so rows stay short."""
        keys = ", ".join(f"k{n}" for n in range(len(self._key)))
        often = []
        for begin in range(0, len(self._columns), _COLUMNS_AT_ONCE):
            names = self._columns[begin : begin + _COLUMNS_AT_ONCE]
            hashes = [
                f"hash({_spelled(self._tables, name)}) AS h{n}" for n, name in enumerate(names)
            ]
            differs = ", ".join(
                f"max(h{n}) FILTER (WHERE side = 0) <> max(h{n}) FILTER (WHERE side = 1) AS d{n}"
                for n in range(len(names))
            )
            counts = ", ".join(f"count(*) FILTER (WHERE d{n})" for n in range(len(names)))
            row = self._database.execute(
                f"SELECT {counts} FROM (SELECT {differs} FROM {self._both(hashes)} "  # noqa: S608
                f"GROUP BY {keys} HAVING count(*) = 2)"
            ).fetchone()
            often += [pair for pair in zip(names, row or (), strict=True) if pair[1]]
        return tuple(sorted(often, key=lambda pair: (-pair[1], pair[0])))

    def _both(self, wanted: list[str]) -> str:
        """SQL for the keys of both tables with something of each record."""
        columns = ", ".join([*_columns_as(self._tables, self._key, "k", _comparable), *wanted])
        sides = (
            f"SELECT {side} AS side, {columns} FROM {table.sql}"  # noqa: S608
            for side, table in enumerate(self._tables)
        )
        return f"({' UNION ALL '.join(sides)})"

    def changes(self, most: int) -> Iterator[Change]:
        """The first changes in the order of the key.

        Args:
            most: how many.
        """
        keys = [f"k{n}" for n in range(len(self._key))]
        self._database.execute(
            "CREATE OR REPLACE TEMP TABLE shown AS SELECT * FROM changes "  # noqa: S608
            f"ORDER BY {', '.join(keys)} LIMIT {most:d}"
        )
        fields = "".join(f", a.c{n}, b.c{n}" for n in range(len(self._columns)))
        sides = []
        for table in self._tables:
            wanted = _columns_as(self._tables, self._key, "k", _comparable)
            wanted += _columns_as(self._tables, self._columns, "c", _spelled)
            sides.append(
                f"(SELECT * FROM (SELECT {', '.join(wanted)} FROM {table.sql}) AS w "  # noqa: S608
                f"SEMI JOIN shown ON {_same('w', 'shown', self._key)})"
            )
        told = ", ".join(f"CAST(shown.{name} AS VARCHAR)" for name in keys)
        found = self._database.execute(
            f"SELECT in_a, in_b, {told}{fields} FROM shown "  # noqa: S608
            f"LEFT JOIN {sides[0]} AS a ON {_same('a', 'shown', self._key)} "
            f"LEFT JOIN {sides[1]} AS b ON {_same('b', 'shown', self._key)} "
            f"ORDER BY {', '.join('shown.' + name for name in keys)}"
        )
        while rows := found.fetchmany(_BATCH):
            for row in rows:
                yield self._change(row)

    def _change(self, row: tuple[Any, ...]) -> Change:
        before, after, *values = row
        key = tuple(values[: len(self._key)])
        if not (before and after):
            return Change("added" if after else "removed", key)
        rest = values[len(self._key) :]
        pairs = zip(self._columns, rest[::2], rest[1::2], strict=True)
        return Change("changed", key, tuple((n, a, b) for n, a, b in pairs if a != b))


@contextmanager
def between(
    before: Path, after: Path, key: Sequence[str], folder: Path, labels: tuple[str, str]
) -> Iterator[Difference]:
    """Compare two Parquet tables by the key of their records.

    Values are compared as they are, not as they are written: 1.50 and 1.5 are the same decimal.

    Args:
        before: the first table.
        after: the second one.
        key: columns that tell records apart, in both tables.
        folder: an empty folder for what does not fit into memory.
        labels: what the two are called in messages.

    Raises:
        ArtifactError: a column of the key is missing, or two records have the same key.
        StorageError: there is no room for what is compared.
    """
    import duckdb

    tables = (_Table(before, labels[0]), _Table(after, labels[1]))
    for table in tables:
        for name in key:
            if name not in table.types:
                raise unknown_column(table.label, name, list(table.types))
    columns = [name for name in tables[0].types if name in tables[1].types and name not in key]
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _MEMORY,
        "threads": 2,
        "temp_directory": str(folder / "spill"),
        "autoinstall_known_extensions": False,
        "preserve_insertion_order": False,
    }
    try:
        with duckdb.connect(str(folder / "difference.duckdb"), config=settings) as database:
            # It would be printed into what the command prints.
            database.execute("SET enable_progress_bar = false")
            for table in tables:
                _refuse_twice(database, table, key)
            yield Difference(database, tables, key, columns)
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        message = f"the runs cannot be compared: {error}"
        raise StorageError(
            message, where=str(folder), hint="Free space for temporary files."
        ) from error


class _Table:
    """A Parquet table and the types of its columns."""

    def __init__(self, path: Path, label: str) -> None:
        import pyarrow.parquet as pq

        self.label = label
        self.types = {field.name: field.type for field in pq.read_schema(path)}
        self.sql = f"read_parquet({quoted(str(path))})"


def _refuse_twice(database: duckdb.DuckDBPyConnection, table: _Table, key: Sequence[str]) -> None:
    """Make sure that each record has a key of its own.

    Raises:
        ArtifactError: two records have the same one.
    """
    keys = ", ".join(map(named, key))
    twice = database.execute(
        f"SELECT {keys}, count(*) FROM {table.sql} GROUP BY {keys} "  # noqa: S608
        f"HAVING count(*) > 1 ORDER BY {keys} LIMIT 1"
    ).fetchone()
    if twice:
        *values, count = twice
        record = ", ".join(f"{each} {value}" for each, value in zip(key, values, strict=True))
        message = f"{table.label} has {count} records with {record}"
        raise ArtifactError(message, hint="Name the columns that tell records apart: --key.")


def _rows(database: duckdb.DuckDBPyConnection, table: _Table) -> int:
    found = database.execute(f"SELECT count(*) FROM {table.sql}").fetchone()  # noqa: S608
    return int(found[0]) if found else 0


def _same(one: str, other: str, key: Sequence[str]) -> str:
    """SQL for two rows with the same key; NULL is like NULL."""
    return " AND ".join(f"{one}.k{n} IS NOT DISTINCT FROM {other}.k{n}" for n in range(len(key)))


def _columns_as(
    tables: tuple[_Table, _Table],
    names: Sequence[str],
    letter: str,
    spell: Callable[[tuple[_Table, _Table], str], str],
) -> list[str]:
    return [f"{spell(tables, name)} AS {letter}{n}" for n, name in enumerate(names)]


def _record_hash(tables: tuple[_Table, _Table], columns: Sequence[str]) -> str:
    """SQL for a hash of a whole record: no two different ones are written alike."""
    texts = (_spelled(tables, name) for name in columns)
    parts = (f"coalesce(length({text}) || ':' || {text}, '-')" for text in texts)
    return f"sha256(concat('', {', '.join(parts)}))" if columns else "''"


def _comparable(tables: tuple[_Table, _Table], name: str) -> str:
    """A key's column as SQL: in its own type, unless the two runs have different ones."""
    if tables[0].types[name] == tables[1].types[name]:
        return named(name)
    return _spelled(tables, name)


def _spelled(tables: tuple[_Table, _Table], name: str) -> str:
    """A column as text that is the same for equal values."""
    text = f"CAST({named(name)} AS VARCHAR)"
    if tables[0].types[name] != tables[1].types[name]:
        # Decimals of two scales are the same number with more or fewer zeros.
        text = f"regexp_replace(regexp_replace({text}, '(\\.[0-9]*?)0+$', '\\1'), '\\.$', '')"
    return text
