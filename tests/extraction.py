"""Extractions as the tests of readers do them: a query, a connection, a table back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from openreg_airflow.extract.engine import Extraction
from openreg_airflow.extract.spec import SourceSpec

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from openreg_airflow.extract.extracted import Extracted
    from openreg_airflow.extract.reader import Reader, SourceConnection
    from tests.services.postgres import PostgresServer

DAY = date(2026, 3, 2)


@dataclass(frozen=True)
class Database:
    """A database of a test's own: where it is read from, and a way to fill it."""

    folder: Path
    connection: SourceConnection

    def extraction(self, sql: str, *, reader: Reader | None = None, **spec: Any) -> Extraction:
        """An extraction of ``sql``; further sections of the source by keyword."""
        (self.folder / "source.sql").write_text(sql)
        given = {"connection": self.connection.conn_id, "sql": "source.sql"} | spec
        source = SourceSpec.model_validate(given)
        return Extraction(source, self.folder, self.connection, DAY, reader=reader)

    def extract(self, sql: str, **spec: Any) -> pa.Table:
        """The table that an extraction of ``sql`` leaves as Parquet."""
        self.done(sql, **spec)
        return pq.read_table(self.file)

    def done(self, sql: str, **spec: Any) -> Extracted:
        """What an extraction of ``sql`` reports."""
        return self.extraction(sql, **spec).run(self.file)

    @property
    def file(self) -> Path:
        """The Parquet file of the last extraction."""
        return self.folder / "source.parquet"


def columns(table: pa.Table) -> dict[str, str]:
    """Names and types of a table, in order."""
    return {field.name: str(field.type) for field in table.schema}


def active(postgres: PostgresServer) -> int:
    """How many queries of ours run in a database, says the server."""
    [[count]] = postgres.execute(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = %s AND application_name = 'openreg' AND state <> 'idle'",
        [postgres.database],
    )
    found: int = count
    return found
