"""Rows of an inner table that belong to no row of the table around them: they are not left out."""

from __future__ import annotations

from openreg_airflow.errors import ArtifactError


def orphaned(count: int, parent: str, where: str) -> ArtifactError:
    """The error that says so.

    Args:
        count: how many rows.
        parent: the table around theirs.
        where: the first of them.
    """
    rows = "row belongs" if count == 1 else "rows belong"
    return ArtifactError(
        f"{count} {rows} to no row of {parent}, and would be lost",
        where=where,
        hint="Mend the data, or leave these rows out in the transform.",
    )
