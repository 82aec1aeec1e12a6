"""What elements of a layout give for a batch of records.

Each element becomes a row of parts: literal text, and columns of text of one value a record. Parts
are joined once for the record as a whole; only an element that some records of the batch lack is
joined on its own first, so that it can be left out there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

#: What is wrong with a record; of an inner row it is found out only once it is to be said.
#: Gives the message and the inner row's name.
Complaint = str | Callable[[int], tuple[str, str]]


@dataclass
class Fragment:
    """What an element gives for a batch.

    Attributes:
        parts: literal text and columns; a column is NULL where its part is left out.
        present: where the element is written; None when it always is.
        varies: whether the data decide anything in it. An element whose children are all left out
            is left out too, but one that is the same in every record is not.
        missing: faults that count only where the element above is written.
    """

    parts: list[str | pa.StringArray] = field(default_factory=list)
    present: pa.BooleanArray | None = None
    varies: bool = False
    missing: list[tuple[pa.BooleanArray, Complaint]] = field(default_factory=list)

    def add(self, *parts: str | pa.StringArray) -> None:
        """Append parts; neighbouring literals become one."""
        for part in parts:
            if isinstance(part, str) and self.parts and isinstance(self.parts[-1], str):
                self.parts[-1] += part
            else:
                self.parts.append(part)

    def put_before(self, text: str) -> None:
        """Begin with a literal text."""
        if not text:
            return
        if self.parts and isinstance(self.parts[0], str):
            self.parts[0] = text + self.parts[0]
        else:
            self.parts.insert(0, text)

    def joined(self, rows: int) -> pa.StringArray:
        """One column of that many rows: the element, NULL where it is left out."""
        parts = self.parts
        if not any(isinstance(part, str) for part in parts):
            # Arrow drops the rows in which nothing at all is joined.
            parts = [pc.fill_null(parts[0], ""), *parts[1:]]
        whole = pc.binary_join_element_wise(*parts, "", null_handling="skip")
        if isinstance(whole, pa.Scalar):
            whole = pa.repeat(whole, rows)
        if self.present is None:
            return whole
        return pc.if_else(self.present, whole, pa.scalar(None, pa.string()))

    def narrow(self, where: pa.BooleanArray) -> None:
        """Write the element only where that is true."""
        self.varies = True
        if self.present is not None:
            where = pc.and_(self.present, where)
        self.present = None if pc.all(where).as_py() else where

    def settle(self) -> None:
        """Forget the faults of records in which the element is left out, or that none has."""
        if self.present is not None:
            self.missing = [(pc.and_(where, self.present), why) for where, why in self.missing]
        self.missing = [(where, why) for where, why in self.missing if pc.any(where).as_py()]
