"""The name under which an artifact is delivered, from a template such as
``DEMO_DATTRA_DE_{business_date:%Y%m%d}.xml``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from openreg_airflow.artifacts import placeholder, value_format

if TYPE_CHECKING:
    from datetime import date

    from openreg_airflow.artifacts.placeholder import Placeholder
    from openreg_airflow.records import RunKey

FIELDS = ("business_date", "report_id", "artifact")
_LONGEST = 200  # leaves room for temporary prefixes below the usual limit of 255 bytes
_FORBIDDEN = re.compile(r"[/\\:\x00-\x1f\x7f]")


def render(template: str, run: RunKey, artifact: str) -> str:
    """Fill in a template; the same run and artifact give the same name.

    Raises:
        ValueError: the template, or the name that it gives, is not allowed.
    """
    values = {"report_id": run.report_id, "artifact": artifact}
    name = ""
    for part in placeholder.parse(template):
        if isinstance(part, str):
            name += part
        elif part.name == "business_date":
            name += _date_text(run.business_date, part)
        elif part.name not in values:
            message = f"{part} is unknown in a file name; known are {', '.join(FIELDS)}"
            raise ValueError(message)
        elif part.format:
            message = f"{part}: {part.name} takes no format"
            raise ValueError(message)
        else:
            name += values[part.name]
    _refuse_bad(name)
    return name


def _date_text(day: date, part: Placeholder) -> str:
    form = value_format.parse(part.format)
    if isinstance(form, value_format.Plain):
        return day.isoformat()
    if not isinstance(form, value_format.Pattern) or not form.directives <= {"Y", "m", "d"}:
        message = f"{part}: a date is written with %Y, %m and %d"
        raise ValueError(message)
    values = {"Y": f"{day.year:04d}", "m": f"{day.month:02d}", "d": f"{day.day:02d}"}
    return "".join(text if isinstance(text, str) else values[text[1]] for text in form.parts)


def _refuse_bad(name: str) -> None:
    if found := _FORBIDDEN.search(name):
        message = f"file name {name!r} holds {found[0]!r}, which is not allowed in a file name"
        raise ValueError(message)
    if not name or name.startswith((".", "-", " ")) or name.endswith((".", " ")):
        message = f"file name {name!r} is empty or begins or ends with a dot, dash or space"
        raise ValueError(message)
    if len(name.encode()) > _LONGEST:
        message = f"file name {name!r} is longer than {_LONGEST} bytes"
        raise ValueError(message)


def _check(template: str) -> str:
    from datetime import date

    from openreg_airflow.records import RunKey

    sample = RunKey(report_id="report", business_date=date(2026, 1, 5), run_id="check")
    render(template, sample, "artifact")
    return template


#: A file name template in a spec, checked when the spec is read.
FilenameTemplate = Annotated[str, AfterValidator(_check)]
