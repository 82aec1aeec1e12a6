"""Numbers for the values of keys: what is looked up by a text is then looked up by a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Codes = NDArray[np.int32]
    Flags = NDArray[np.bool_]

#: Digits of the widest decimal.
_DIGITS = 76


class KeyMismatchError(TypeError):
    """What is looked up is of another type than the keys, or there are too many or too few."""


class KeyNumbers:
    """Numbers for the values of one key column, combined with those of the keys before it.

    Args:
        column: the key of each entry.
        before: the numbers that the keys before it have made of each entry; None for the first.
    """

    def __init__(self, column: pa.Array, before: Numbers | None) -> None:
        self._distinct, own = _numbered(column)
        self._pairs: pa.Array | None = None
        self.entry_codes = own
        if before is not None:
            self._pairs, self.entry_codes = _numbered(pa.array(self._pair(before, own)))

    def codes(self, name: str, column: pa.ChunkedArray, before: Codes | None) -> Codes:
        """The numbers of values that are looked up; -1 for one that no entry has.

        Args:
            name: the key, for the error.
            column: the values, as :func:`plain` gives them.
            before: the numbers that the keys before it have made of each row.

        Raises:
            KeyMismatchError: the column is of another kind than the key.
        """
        if pa.types.is_dictionary(column.type):
            parts = [self._of_dictionary(name, chunk) for chunk in column.chunks]
            found = pa.chunked_array(parts, pa.int32())
        else:
            found = _places_in(*_alike(name, column, self._distinct))
        own = _or_none(found)
        if self._pairs is None or before is None:
            return own
        pair = self._pair(before, own)
        pair[(before < 0) | (own < 0)] = -1
        return _or_none(_places_in(pa.array(pair), self._pairs))

    def _pair(self, before: Numbers | Codes, own: Numbers | Codes) -> Numbers:
        return np.asarray(before.astype(np.int64) * len(self._distinct) + own)

    def _of_dictionary(self, name: str, column: pa.DictionaryArray) -> pa.Array:
        return _places_in(*_alike(name, column.dictionary, self._distinct)).take(column.indices)


def _numbered(column: pa.Array) -> tuple[pa.Array, Numbers]:
    """The distinct values of a column, and the number of each of its rows."""
    encoded = column.dictionary_encode(null_encoding="encode")
    return encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)


def _places_in(column: pa.Array | pa.ChunkedArray, distinct: pa.Array) -> Any:
    # A NULL is in no entry.
    return pc.index_in(column, value_set=distinct, skip_nulls=True)


def _or_none(places: pa.Array | pa.ChunkedArray) -> Codes:
    return np.asarray(flat(places.fill_null(-1)).to_numpy())


def _alike(name: str, column: Any, keys: pa.Array) -> tuple[Any, pa.Array]:
    """A column and the keys that it is held against, in one type.

    Raises:
        KeyMismatchError: the two are not of one kind.
    """
    kind, wanted = column.type, keys.type
    if kind == wanted:
        return column, keys
    if pa.types.is_null(kind):
        return column.cast(wanted), keys
    if _kind(kind) != _kind(wanted):
        message = f"key {name} is {wanted}, but what is looked up is {kind}"
        raise KeyMismatchError(message)
    if _kind(kind) == "number" and not (_narrow(kind) and _narrow(wanted)):
        # A number that the keys' type cannot hold is no key, and no error.
        scale = max(getattr(one, "scale", 0) for one in (kind, wanted))
        wanted = pa.decimal256(_DIGITS, scale)
    try:
        return column.cast(wanted), keys.cast(wanted)
    except pa.ArrowInvalid as error:
        message = f"key {name} is {wanted}, and a value of type {kind} does not fit: {error}"
        raise KeyMismatchError(message) from error


def _kind(kind: pa.DataType) -> str:
    text = str(kind)
    if text in ("string", "large_string", "string_view"):
        return "text"
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return "number"
    return text.partition("[")[0].removesuffix("32").removesuffix("64")


def _narrow(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind)) and kind != pa.uint64()


def flat(column: Any) -> pa.Array:
    """An array without chunks."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            return column.chunk(0)
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column


def chunked(column: Any) -> pa.ChunkedArray:
    """An array in chunks."""
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def plain(column: Any) -> pa.ChunkedArray:
    """A column in chunks; without its dictionary where that holds a NULL."""
    column = chunked(column)
    if not pa.types.is_dictionary(column.type):
        return column
    blank = any(chunk.dictionary.null_count for chunk in column.chunks)
    return column.cast(column.type.value_type) if blank else column


def as_values(column: Any, missing: pa.Array, kind: pa.DataType) -> pa.Array:
    """The keys of some rows as values of a type; NULL for all others, which need not fit it.

    Raises:
        pyarrow.ArrowException: such a key does not fit the type.
    """
    column = flat(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type == pa.string_view():
        column = column.cast(pa.string())
    return pc.if_else(missing, column, pa.scalar(None, column.type)).cast(kind)


def mark_nulls(column: pa.ChunkedArray, blank: Flags) -> None:
    """Set the flags of the rows that are NULL."""
    if column.null_count:
        blank |= flat(column.is_null()).to_numpy(zero_copy_only=False)
