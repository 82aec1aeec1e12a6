"""Header and trailer records: lines of text around the records, which speak of the whole file."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from openreg_airflow.artifacts.values import placeholder, value_format
from openreg_airflow.artifacts.values.placeholder import RUN_PREFIX
from openreg_airflow.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa

    from openreg_airflow.artifacts.values.placeholder import Placeholder

_parse = lru_cache(maxsize=256)(placeholder.parse)


def placeholders(lines: Iterable[str]) -> Iterator[Placeholder]:
    """The placeholders of some lines."""
    for line in lines:
        yield from (part for part in _parse(line) if not isinstance(part, str))


def fill(
    line: str, values: Mapping[str, Any], *, decimal_mark: str = ".", forbidden: str = ""
) -> str:
    """A line with its placeholders filled in.

    Args:
        line: the template.
        values: from :func:`openreg_airflow.artifacts.values.run_values.of`.
        decimal_mark: what stands between a whole number and its decimals.
        forbidden: characters that no value may bring into the line.

    Raises:
        ArtifactError: a value does not fit its format, or would break the line.
    """
    from openreg_airflow.artifacts.values.value_text import UnwritableValueError

    text = ""
    for part in _parse(line):
        if isinstance(part, str):
            text += part
            continue
        value = values[part.name.removeprefix(RUN_PREFIX)]
        try:
            spelled = str(spell(value, part.format, decimal_mark)[0])
        except UnwritableValueError as error:
            raise ArtifactError(str(error), where=f"{part} in {line!r}") from error
        if broken := [character for character in forbidden if character in spelled]:
            message = f"{spelled!r} holds {broken[0]!r}, which would break the line"
            raise ArtifactError(message, where=f"{part} in {line!r}")
        text += spelled
    return text


def spell(value: Any, form: str, decimal_mark: str = ".") -> pa.StringArray:
    """One value as a column of one text.

    Raises:
        UnwritableValueError: the value does not fit the format.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from openreg_airflow.artifacts.values.value_text import is_number, text_of

    column = pa.array([value])
    text = text_of(column, value_format.parse(form))
    if decimal_mark != "." and is_number(column.type):
        text = pc.replace_substring(text, ".", decimal_mark)
    return text
