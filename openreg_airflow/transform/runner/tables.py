"""From what a script returned to named Arrow tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .faults import ScriptError

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
_MOST_TABLES = 64
_RETURN = "Return a DataFrame, a pyarrow Table, or a dict of them by table name."


def named_tables(
    result: Any, *, declared: Collection[str], inputs: Collection[str], whole: bool = True
) -> dict[str, Any]:
    """Give each returned table its name.

    Args:
        result: what ``transform`` returned.
        declared: the tables that the spec names.
        inputs: the sources.
        whole: it is the whole result, and no piece that was yielded.

    Returns:
        DataFrames and Tables by name, in the order of the spec or else as returned.

    Raises:
        ScriptError: the result is not tables, or their names are not the declared ones.
    """
    did = "transform() returned" if whole else "transform() yielded"
    if isinstance(result, dict):
        found = result
    else:
        found = {_only_name(result, declared, inputs, did): result}
    if not found:
        message = f"{did} {'an empty dict' if whole else 'nothing'}"
        raise ScriptError(message, hint=_RETURN)
    for name, table in found.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            message = f"{did} a table under the name {_short(name)}"
            hint = "A table's name is lower-case letters, digits and underscores, at most 63."
            raise ScriptError(message, hint=hint)
        if not _is_table(table):
            message = f"{did} {_what(table)} as table {name}"
            raise ScriptError(message, hint=_RETURN)
    if len(found) > _MOST_TABLES:
        message = f"{did} {len(found)} tables; at most {_MOST_TABLES} are possible"
        raise ScriptError(message)
    return {name: found[name] for name in _agreed(found, declared, did, whole=whole)}


def _only_name(result: Any, declared: Collection[str], inputs: Collection[str], did: str) -> str:
    if not _is_table(result):
        hint = "Is a return statement missing? " + _RETURN if result is None else _RETURN
        message = f"{did} {_what(result)}"
        raise ScriptError(message, hint=hint)
    candidates = declared or inputs
    if len(candidates) == 1:
        return next(iter(candidates))
    names = ", ".join(candidates)
    message = f"{did} one table without a name, where there are {names or 'none'}"
    hint = "Name it in the spec, as transform.tables: {NAME: {}}, or return a dict {name: table}."
    raise ScriptError(message, hint=hint)


def _agreed(
    found: Collection[str], declared: Collection[str], did: str, *, whole: bool
) -> Collection[str]:
    if not declared or set(found) == set(declared):
        return declared or found
    if not whole and set(found) < set(declared):
        return found
    message = (
        f"{did} the tables {', '.join(found)}; transform.tables declares {', '.join(declared)}"
    )
    raise ScriptError(message, hint="Make the script and the spec agree.")


def _is_table(value: Any) -> bool:
    if isinstance(value, pa.Table):
        return True
    import pandas as pd

    return isinstance(value, pd.DataFrame)


def _what(value: Any) -> str:
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return f"a value of type {name}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def to_arrow(name: str, table: Any) -> pa.Table:
    """A returned table as an Arrow table; its values are not copied where that can be avoided.

    Args:
        name: the table's name, for messages.
        table: a DataFrame or a Table.

    Raises:
        ScriptError: a column's name or value cannot be stored, or an index would be lost.
    """
    labels = list(table.column_names if isinstance(table, pa.Table) else table.columns)
    _check_labels(name, labels)
    if isinstance(table, pa.Table):
        return table.replace_schema_metadata(None)
    _check_index(name, table)
    columns = [_column(name, labels[i], table.iloc[:, i]) for i in range(len(labels))]
    return pa.Table.from_arrays(columns, names=labels)


def _check_labels(name: str, labels: list[Any]) -> None:
    if not labels:
        message = f"table {name} has no columns"
        raise ScriptError(message, kind="column")
    for label in labels:
        if not isinstance(label, str) or not label:
            message = f"table {name}: a column is named {_short(label)}, which is not a text"
            raise ScriptError(message, hint="Rename it, with df.columns = [...].", kind="column")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        message = f"table {name} has two columns named {twice[0]}"
        raise ScriptError(message, kind="column")


def _check_index(name: str, frame: pd.DataFrame) -> None:
    """Refuse an index that carries data: only row numbers may be dropped without a word."""
    names = [str(label) for label in frame.index.names if label is not None]
    if not names and frame.index.nlevels == 1 and frame.index.dtype.kind in "iu":
        return
    if not names and not len(frame):
        return
    what = ", ".join(names) or frame.index.dtype
    message = f"table {name} has the index {what}, which would be lost"
    hint = "reset_index() makes it a column; reset_index(drop=True) drops it."
    raise ScriptError(message, hint=hint)


def _column(name: str, label: str, series: pd.Series[Any]) -> pa.ChunkedArray:
    try:
        array = pa.array(series, from_pandas=True)
    except OverflowError as error:
        why = _too_large(series) or _reason(error)
        message = f"table {name}, column {label} cannot be stored: {why}"
        hint = "Make them decimals, with decimal.Decimal, or shorter."
        raise ScriptError(message, hint=hint, kind="column") from error
    except (pa.ArrowException, TypeError, ValueError) as error:
        types = _types(series)
        message = f"table {name}, column {label} cannot be stored: {types or _reason(error)}"
        hint = "All values of a column must be of one type; convert it with .astype(...)."
        raise ScriptError(message, hint=hint, kind="column") from error
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def _too_large(series: pd.Series[Any]) -> str:
    """The first whole number that 64 bits do not hold."""
    for row, value in enumerate(series.array):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"the whole number in row {row} has more than 64 bits"
    return ""


def _types(series: pd.Series[Any]) -> str:
    """The types in a column of Python objects, with the first row that holds each."""
    if series.dtype != object:
        return ""
    first: dict[str, int] = {}
    for row, value in enumerate(series.array):
        if value is not None:
            first.setdefault(type(value).__name__, row)
    return "it holds " + ", ".join(f"{kind} (row {row})" for kind, row in first.items())


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
