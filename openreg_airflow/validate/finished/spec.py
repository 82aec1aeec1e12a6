"""How a finished artifact is read back, as the ``validate`` section says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from openreg_airflow.column_types import ColumnType
from openreg_airflow.section import Name, Section

#: A path of local element names, ending with ``@name`` for an attribute; of members in JSON.
ElementPath = Annotated[
    str, StringConstraints(pattern=r"^([\w.\-]+/)*(@?[\w.\-]+)$", max_length=1000)
]
FieldPath = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class ReadBack(Section):
    """What is taken from the files of one artifact.

    Rules of the phase ``artifact`` find two tables. ``NAME_records`` has a row for each record:
    ``file``, ``record`` (its number in the file, from 1), and the fields. ``NAME_files`` has a row
    for each file: ``file``, ``part``, ``bytes``, ``sha256``,
    ``declared`` (records that the writer counted), ``found`` (records that were read),
    ``first_line`` and ``last_line`` (of CSV, fixed width and JSON lines), and what ``document``
    names.
    """

    record: ElementPath | None = Field(
        default=None,
        description="XML and JSON only: where a record is. In XML names of elements from the root "
        "on without their namespaces, such as Document/FinInstrmRptgTxRpt/Tx; in JSON names of "
        "members to the array of records, such as report/transactions, or . when the document is "
        "that array.",
    )
    fields: dict[Name, FieldPath] = Field(
        default_factory=dict,
        description="The columns, and where their values are in a record: a path of elements in "
        "XML (the last may be @attribute), of members in JSON, a column's title in CSV and Excel, "
        "a column or places such as 1-10 in records of fixed width. Left out: all columns, and "
        "all members of a JSON line.",
    )
    columns: dict[Name, ColumnType] = Field(
        default_factory=dict,
        description="Types of fields and of values of the document; text when left out. A value "
        "that is none is a failure of the whole phase.",
    )
    document: dict[Name, ElementPath] = Field(
        default_factory=dict,
        description="XML and JSON only: values that are in a file once, such as the number of "
        "records in its header, as columns of the table of files.",
    )
