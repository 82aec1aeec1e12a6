"""The first rows of a source in a terminal: every value exact, every column with its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from openreg_airflow.extract.shape import spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from rich.console import Console

    from openreg_airflow.extract.extracted import Head

_LONGEST_VALUE = 60
_UNBOUNDED = 1_000_000
_NUMBERS = ("decimal", "integer", "float")


def show(head: Head, console: Console) -> None:
    """Print the rows as a table, or one below the other where the table is too wide."""
    if not head.table.num_rows:
        console.print(_columns_only(head))
        return
    table = _table(head)
    unbounded = console.options.update(max_width=_UNBOUNDED)
    if Measurement.get(console, unbounded, table).maximum <= console.width:
        console.print(table)
        return
    for row, values in enumerate(_rows(head.table), 1):
        console.print(_record(head, row, values))


def _table(head: Head) -> Table:
    table = Table(header_style="bold")
    for field in head.table.schema:
        kind = spelled(field.type)
        title = Text.assemble(_plain(field.name), "\n", (kind, "dim not bold"))
        table.add_column(title, justify="right" if _is_number(kind) else "left", no_wrap=True)
    for values in _rows(head.table):
        table.add_row(*map(_value, values))
    return table


def _record(head: Head, row: int, values: tuple[Any, ...]) -> Table:
    table = Table(title=f"row {row}", title_justify="left", show_header=False)
    for field, value in zip(head.table.schema, values, strict=True):
        table.add_row(_plain(field.name), Text(spelled(field.type), "dim"), _value(value))
    return table


def _columns_only(head: Head) -> Table:
    table = Table("column", "type", "in the database", header_style="bold")
    for field, column in zip(head.table.schema, head.columns, strict=True):
        table.add_row(_plain(field.name), spelled(field.type), _plain(column.source_type))
    return table


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _is_number(kind: str) -> bool:
    return kind.startswith(_NUMBERS)


def _value(value: Any) -> Text:
    if value is None:
        return Text("NULL", "dim")
    if isinstance(value, bytes):
        return _plain(f"0x{value[: _LONGEST_VALUE // 2].hex()}", cut=len(value) > 30)
    return _plain(str(value))


def _plain(text: str, *, cut: bool = False) -> Text:
    """Text as it is, but on one line, and without what could steer a terminal."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if cut or len(shown) > _LONGEST_VALUE:
        return Text.assemble(shown[:_LONGEST_VALUE], ("...", "dim"))
    return Text(shown)
