"""Returned tables are data from a stranger: another process decodes them before the task does."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from openreg_airflow.errors import SandboxLimitError, TransformError
from openreg_airflow.records import Column
from openreg_airflow.transform.fence import ENVIRONMENT, PYTHON_OPTIONS
from openreg_airflow.transform.script_log import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    import pyarrow as pa

_MODULE = "openreg_airflow.transform.inspector"
_OWN_REPLY = "Return tables from transform(); the script must not write to the reply itself."


class Inspection:
    """A process that decodes tables; it starts at once, so that it is ready when they come.

    Args:
        seconds: the longest that decoding may take.
    """

    def __init__(self, seconds: float = 600) -> None:
        self._seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, *PYTHON_OPTIONS, "-m", _MODULE],
            env={**ENVIRONMENT, "PATH": os.defpath},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()

    def begin(self, paths: Mapping[str, Path], declared: Mapping[str, pa.Schema | None]) -> None:
        """Start to decode tables; may be called once.

        Args:
            paths: the received file of each table.
            declared: the columns that the spec demands of a table, if it does.
        """
        asked = {
            name: {"path": str(path.resolve()), "declared": _encoded(declared.get(name))}
            for name, path in paths.items()
        }
        assert self._process.stdin is not None  # noqa: S101  # for the type checker
        # A decoder that has ended already is noticed when its answer is wanted.
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(json.dumps(asked).encode())
        self._process.stdin = None

    def tables(self) -> dict[str, tuple[int, tuple[Column, ...]]]:
        """Wait for the number of rows and the columns of each table.

        Raises:
            TransformError: one is not a Parquet file, or its columns are not the declared ones.
            SandboxLimitError: one is larger than any table may be, however small its file.
        """
        try:
            answer, said = self._process.communicate(timeout=self._seconds)
        except subprocess.TimeoutExpired as error:
            message = f"the returned tables were not decoded within {self._seconds:g} s"
            raise SandboxLimitError(message, hint="Return fewer rows or columns.") from error
        if self._process.returncode:
            # A decoder that a crafted file brings down says nothing more.
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            message = (
                "the returned tables cannot be decoded: the decoder ended with status "
                f"{self._process.returncode} {printable(' '.join(last))}".rstrip()
            )
            raise TransformError(message, hint=_OWN_REPLY)
        return {name: _taken(name, table) for name, table in json.loads(answer).items()}


def _encoded(schema: pa.Schema | None) -> str | None:
    return schema and base64.b64encode(schema.serialize().to_pybytes()).decode()


def _taken(name: str, table: dict[str, Any]) -> tuple[int, tuple[Column, ...]]:
    if problem := table.get("problem"):
        message = f"table {name} {printable(problem)[:2000]}"
        if table["limit"]:
            raise SandboxLimitError(message, hint="Return fewer or narrower rows.")
        raise TransformError(message, hint=_OWN_REPLY)
    return table["rows"], tuple(
        Column(name=column, type=kind, nullable=nullable)
        for column, kind, nullable in table["columns"]
    )
