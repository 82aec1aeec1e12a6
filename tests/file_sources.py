"""File sources as tests read them: a file of an allowed folder, a table back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from openreg_airflow.extract.files.extraction import FileExtraction
from openreg_airflow.extract.files.places import opener
from openreg_airflow.extract.spec import SourceSpec

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from openreg_airflow.extract.extracted import Extracted
    from openreg_airflow.extract.files.place import FileConnection

DAY = date(2026, 3, 2)


@dataclass(frozen=True)
class Inbox:
    """A folder that file sources may read, or a connection to elsewhere."""

    folder: Path
    output: Path
    connection: FileConnection | None = None

    def extraction(
        self, path: str, columns: dict[str, str] | None = None, **given: Any
    ) -> FileExtraction:
        """An extraction of a file; bounds of the source by keyword, the rest is the file's."""
        of_source = {
            k: given.pop(k) for k in ("max_rows", "max_bytes", "timeout_seconds") if k in given
        }
        if self.connection is not None:
            given["connection"] = self.connection.id
        spec = SourceSpec.model_validate(
            {"file": {"path": path} | given, "columns": columns or {}} | of_source
        )
        return FileExtraction(spec, DAY, opener(self.connection, [self.folder]))

    def done(self, path: str, columns: dict[str, str] | None = None, **given: Any) -> Extracted:
        """What an extraction reports."""
        return self.extraction(path, columns, **given).run(self.output)

    def extract(self, path: str, columns: dict[str, str] | None = None, **given: Any) -> pa.Table:
        """The table that an extraction leaves."""
        self.done(path, columns, **given)
        return pq.read_table(self.output)

    def csv(self, text: str | bytes, columns: dict[str, str] | None = None, **given: Any) -> Any:
        """The rows of a CSV file of this content."""
        content = text.encode() if isinstance(text, str) else text
        (self.folder / "f.csv").write_bytes(content)
        return self.extract("f.csv", columns, format="csv", **given).to_pylist()


def inbox(tmp_path: Path) -> Inbox:
    """A new folder that may be read."""
    folder = tmp_path / "in"
    folder.mkdir()
    return Inbox(folder, tmp_path / "out.parquet")
