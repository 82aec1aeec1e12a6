"""Holds an XBRL report package against its taxonomy, by Arelle, in a process of its own.

Arelle keeps state that threads share, and all facts in memory: its memory grows with the report.
It fetches nothing; the taxonomy is in packages on this machine.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import ArtifactError
from openreg_airflow.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from openreg_airflow.artifacts.formats.xbrl_spec import XbrlTable

log = logging.getLogger(__name__)

_SECONDS = 3600
_ERRORS = frozenset({"error", "critical", "error-semantic"})
#: How Arelle names a fact: table, row and column.
_FACT = re.compile(r"(?P<table>[\w.-]+?)\.r_(?P<row>\d+)\.(?P<column>[\w.-]+)")
_PREFIX = re.compile(r"^\[[^\]]*\]\s*")


def installed() -> bool:
    """Whether Arelle is installed."""
    return find_spec("arelle") is not None


def validate(
    package: Path, name: str, taxonomy: Sequence[Path], tables: Mapping[str, XbrlTable]
) -> None:
    """Hold a report package against its taxonomy.

    Args:
        package: the finished file.
        name: its name, whose ending says what kind of package it is.
        taxonomy: the authority's taxonomy packages.
        tables: the tables in the report, by the names of their files.

    Raises:
        ArtifactError: it is invalid; the message says the reason, ``where`` table, record and
            column.
    """
    begun = time.monotonic()
    with scratch_folder() as folder:
        report = folder / name
        try:
            report.symlink_to(package.resolve())
            findings = _run(report, taxonomy, folder)
        except subprocess.TimeoutExpired as error:
            message = f"Arelle was not done with {name} after {_SECONDS} seconds"
            raise ArtifactError(
                message, hint="Split the report, or give it more memory."
            ) from error
    faults = [finding for finding in findings if finding["level"].lower() in _ERRORS]
    for finding in findings:
        if finding["level"].lower() == "warning":
            log.warning("Arelle: %s", _text(finding))
    if faults:
        raise _error(faults, tables)
    log.info("schema check: %s valid by Arelle in %.1f s", name, time.monotonic() - begun)


def _run(report: Path, taxonomy: Sequence[Path], folder: Path) -> list[dict[str, Any]]:
    found = folder / "log.json"
    command = [sys.executable, "-m", "arelle.CntlrCmdLine"]
    command += ["--file", str(report), "--validate", "--plugins", "loadFromOIM"]
    command += ["--packages", "|".join(str(path.resolve()) for path in taxonomy)]
    command += ["--internetConnectivity", "offline", "--disablePersistentConfig"]
    command += ["--logFile", str(found), "--logLevel", "info"]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    try:
        findings: list[dict[str, Any]] = json.loads(found.read_text(encoding="utf-8"))["log"]
    except (OSError, ValueError, KeyError) as error:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        message = f"Arelle ended with {done.returncode} and did not say what it found: {last}"
        raise ArtifactError(message, hint="Install the package's extra xbrl anew.") from error
    done_with = any("validated in" in _text(finding) for finding in findings)
    # Of a report that it could not open at all, it says an error or nothing.
    if not done_with and not any(finding["level"].lower() in _ERRORS for finding in findings):
        last = _text(findings[-1]) if findings else "nothing"
        message = f"Arelle did not validate the report; the last it said is: {last}"
        raise ArtifactError(message)
    return findings


def _error(faults: list[dict[str, Any]], tables: Mapping[str, XbrlTable]) -> ArtifactError:
    first = faults[0]
    place = next(
        (match for fault in faults if (match := _FACT.search(_fact(fault)))), None
    )  # fmt: skip
    where = f"XBRL {first['code']}"
    if place is not None:
        table = tables.get(place["table"])
        own = f" (table {table.table})" if table else ""
        where = (
            f"{place['table']}.csv{own} record {place['row']}, column {place['column']}, {where}"
        )
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return ArtifactError(
        f"the report is invalid: {_text(first)}{more}",
        where=where,
        hint="Mend the data, the transform or the columns.",
    )


def _fact(fault: dict[str, Any]) -> str:
    message = fault.get("message", {})
    named = message.get("args", {}).get("factId", "") if isinstance(message, dict) else ""
    return f"{named} {_text(fault)}"


def _text(finding: dict[str, Any]) -> str:
    message = finding.get("message", "")
    text = message.get("text", "") if isinstance(message, dict) else str(message)
    return _PREFIX.sub("", text).strip()
