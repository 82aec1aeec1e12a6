"""The name under which a file is delivered, from a template such as
``DEMO_DATTRA_DE_{business_date:%Y%m%d}_{part:3}.xml``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from openreg_airflow.artifacts.values import placeholder, value_format

if TYPE_CHECKING:
    from datetime import date

    from openreg_airflow.artifacts.values.placeholder import Placeholder
    from openreg_airflow.records import RunKey

#: Those that stand for a number; a format fills it up with zeros.
_NUMBERS = ("version", "part", "parts")
FIELDS = ("business_date", "report_id", "artifact", "sender", "sequence", *_NUMBERS)
_LONGEST = 200  # leaves room for temporary prefixes below the usual limit of 255 bytes
_FORBIDDEN = re.compile(r"[/\\:\x00-\x1f\x7f]")
_DIGITS = re.compile(r"0?([1-9]|1[0-8])")


@dataclass(frozen=True, kw_only=True)
class FileNumbers:
    """What tells the files of one report and date apart.

    Attributes:
        sender: what the sender is known by; None when the spec does not say.
        sequence: the sequence number as it is written; None without a sequence.
        version: 1 for the first content of a report and date.
        part: which file of the artifact, from 1.
        parts: how many there are.
    """

    sender: str | None = None
    sequence: str | None = None
    version: int = 1
    part: int = 1
    parts: int = 1


def render(template: str, run: RunKey, artifact: str, numbers: FileNumbers | None = None) -> str:
    """Fill in a template; the same run, artifact and numbers give the same name.

    Raises:
        ValueError: the template, or the name that it gives, is not allowed.
    """
    numbers = numbers or FileNumbers()
    texts = {"report_id": run.report_id, "artifact": artifact}
    texts |= {"sender": numbers.sender or "", "sequence": numbers.sequence or ""}
    name = ""
    for part in placeholder.parse(template):
        if isinstance(part, str):
            name += part
        elif part.name == "business_date":
            name += _date_text(run.business_date, part)
        elif part.name in _NUMBERS:
            name += _number_text(getattr(numbers, part.name), part)
        elif part.name not in texts:
            message = f"{part} is unknown in a file name; known are {', '.join(FIELDS)}"
            raise ValueError(message)
        elif part.format:
            message = f"{part}: {part.name} takes no format"
            raise ValueError(message)
        else:
            name += texts[part.name]
    refuse_bad(name)
    return name


def fields(template: str) -> frozenset[str]:
    """The names of a template's placeholders."""
    return frozenset(p.name for p in placeholder.parse(template) if not isinstance(p, str))


def resubmitted(name: str, number: int) -> str:
    """The name of a file of a resubmission, so that no file is taken for another.

    Args:
        name: what the template gives, which is the name of the report's first file too.
        number: of the resubmission, from 1.

    Raises:
        ValueError: the name is too long then.
    """
    stem, dot, suffix = name.rpartition(".")
    name = f"{stem}_R{number}{dot}{suffix}" if stem else f"{name}_R{number}"
    refuse_bad(name)
    return name


def refuse_bad(name: str) -> None:
    """Make sure that a text can be the name of a file everywhere.

    Raises:
        ValueError: it cannot.
    """
    if found := _FORBIDDEN.search(name):
        message = f"file name {name!r} holds {found[0]!r}, which is not allowed in a file name"
        raise ValueError(message)
    if not name or name.startswith((".", "-", " ")) or name.endswith((".", " ")):
        message = f"file name {name!r} is empty or begins or ends with a dot, dash or space"
        raise ValueError(message)
    if len(name.encode()) > _LONGEST:
        message = f"file name {name!r} is longer than {_LONGEST} bytes"
        raise ValueError(message)


def _number_text(number: int, part: Placeholder) -> str:
    if not part.format:
        return str(number)
    if not (match := _DIGITS.fullmatch(part.format)):
        message = f"{part}: the format of a number is its length in digits, such as {{part:3}}"
        raise ValueError(message)
    return str(number).zfill(int(match[1]))


def _date_text(day: date, part: Placeholder) -> str:
    form = value_format.parse(part.format)
    if isinstance(form, value_format.Plain):
        return day.isoformat()
    if not isinstance(form, value_format.Pattern) or not form.directives <= {"Y", "m", "d"}:
        message = f"{part}: a date is written with %Y, %m and %d"
        raise ValueError(message)
    values = {"Y": f"{day.year:04d}", "m": f"{day.month:02d}", "d": f"{day.day:02d}"}
    return "".join(text if isinstance(text, str) else values[text[1]] for text in form.parts)


def _check(template: str) -> str:
    from datetime import date

    from openreg_airflow.records import RunKey

    sample = RunKey(report_id="report", business_date=date(2026, 1, 5), run_id="check")
    render(template, sample, "artifact", FileNumbers(sender="sender", sequence="1"))
    return template


#: A file name template in a spec, checked when the spec is read.
FilenameTemplate = Annotated[str, AfterValidator(_check)]
