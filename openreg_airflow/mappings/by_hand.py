"""Mapping sets outside a run: commands that try scripts and rules see what is known now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from openreg_airflow.mappings import fill
from openreg_airflow.mappings.needed import entries_for
from openreg_airflow.mappings.snapshot import take
from openreg_airflow.mappings.stored_sets import StoredSets
from openreg_airflow.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date
    from pathlib import Path

    from openreg_airflow.mapping_records import MappingSnapshot
    from openreg_airflow.mappings.spec import MapStep


class _Unknown:
    """Nothing was made before, as far as a command looks."""

    def same_state(self, set_id: int, version: int) -> MappingSnapshot | None:
        del set_id, version
        return None


def current_snapshots(
    names: Iterable[str], store_url: str, root: Path, tenant: str = ""
) -> dict[str, MappingSnapshot]:
    """Snapshots of some sets as they are known now; no store is asked when there are none.

    Args:
        names: the sets.
        store_url: SQLAlchemy URL of the store.
        root: a folder for the files.
        tenant: whose sets they are, as the spec says.

    Raises:
        MappingError: there is no such set.
    """
    wanted = tuple(names)
    if not wanted:
        return {}
    reader = StoredSets(store_url, tenant)
    return take(
        wanted,
        reader.known_now(wanted),
        reader=reader,
        known=_Unknown(),
        workspace=Workspace(root),
    )


def filled(  # noqa: PLR0917 - all are needed
    tables: Mapping[str, Path],
    steps: Mapping[str, MapStep],
    snapshots: Mapping[str, MappingSnapshot],
    business_date: date,
    into: Path,
    report_id: str,
) -> dict[str, Path]:
    """Tables after map steps, as files; those that no step fills, or that are not there, stay.

    Args:
        tables: Parquet files by table.
        steps: the steps, in order.
        snapshots: the sets, as :func:`current_snapshots` gives them.
        business_date: the day.
        into: an existing folder.
        report_id: the report, for messages.

    Raises:
        SpecError: a step does not fit its set or table.
        UnmappedError: a value has no entry and must have one.
    """
    from pathlib import Path

    made, uses = dict(tables), []
    for table, own in fill.by_table(steps).items():
        if table not in tables:
            continue
        schema = pq.read_schema(tables[table]).remove_metadata()
        fillings: list[fill.Filling] = []
        for name, step in own.items():
            snapshot, earlier = snapshots[step.set_], [one.step for one in fillings]
            entries = entries_for(step, snapshot, Path(snapshot.uri), tables[table], earlier)
            fillings.append(fill.Filling(name, step, entries, schema, business_date))
            schema = fillings[-1].schema
        made[table] = into / f"{table}.parquet"
        fill.fill(tables[table], made[table], fillings)
        uses += [one.use() for one in fillings]
    fill.report(uses)
    if error := fill.unmapped_error(uses, report_id):
        raise error
    return made
