"""``openreg new``: a working report to start from."""

from __future__ import annotations

import re
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from string import Template

from openreg_airflow.section import NAME_PATTERN

_ID = re.compile(NAME_PATTERN)
_FILES = {
    "report.yaml": "report.yaml.in",
    "trades.sql": "trades.sql.in",
    "transform.py": "transform.py.in",
}


class ScaffoldError(Exception):
    """The report cannot be written there; nothing was."""


def scaffold(report_id: str, into: Path) -> list[Path]:
    """Write the files of a new report.

    Args:
        report_id: id of the report, which is also its folder and its Dag.
        into: the folder of reports.

    Returns:
        The files, ``report.yaml`` first.

    Raises:
        ScaffoldError: the id is not allowed, or there is something of that name already.
    """
    if not _ID.fullmatch(report_id):
        message = (
            f"{report_id!r} is not a report id: use lower-case letters, digits and underscores, "
            "starting with a letter"
        )
        raise ScaffoldError(message)
    target = into / report_id
    if target.exists():
        message = f"{target} is there already"
        raise ScaffoldError(message)
    into.mkdir(parents=True, exist_ok=True)
    title = report_id.replace("_", " ").capitalize()
    # The report appears as a whole: a Dag processor may be looking at this very moment.
    with tempfile.TemporaryDirectory(prefix=".new-", dir=into) as name:
        draft = Path(name) / report_id
        draft.mkdir()
        for file, template in _FILES.items():
            text = files(__package__).joinpath(template).read_text(encoding="utf-8")
            filled = Template(text).substitute(report_id=report_id, title=title)
            (draft / file).write_text(filled, encoding="utf-8")
        shutil.move(draft, target)
    return [target / file for file in _FILES]
