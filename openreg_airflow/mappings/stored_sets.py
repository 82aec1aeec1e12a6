"""The sets of the store, as snapshots read them."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openreg_airflow.errors import MappingError
from openreg_airflow.mapping_records import TypedColumn
from openreg_airflow.mappings.reading import known_now, set_version, snapshot_entries
from openreg_airflow.mappings.snapshot import SetState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    import pyarrow as pa

    from openreg_airflow.mappings.reading import SetVersion

log = logging.getLogger(__name__)


class StoredSets:
    """Mapping sets in the product's own tables.

    Args:
        url: SQLAlchemy URL of the store.
        tenant: whose sets they are. Where the tenant has none of a name, the set of that name
            counts which has no tenant, such as one of reference data.
    """

    def __init__(self, url: str, tenant: str = "") -> None:
        self._url = url
        self._tenants = tuple(dict.fromkeys((tenant, "")))
        #: Whose set each one is that was asked for.
        self._of_set: dict[int, str] = {}

    def known_now(self, names: Collection[str]) -> datetime:
        """The instant at which all that is recorded of the sets of these names is known."""
        return known_now(self._url, names, self._tenants)

    def state(self, name: str, known_at: datetime) -> SetState:
        """A set as it was known at an instant.

        Raises:
            MappingError: there is no such set, or there was none then.
            StoreUnavailableError: the database cannot be reached.
        """
        version = self._version(name, known_at)
        found = version.set
        self._of_set[found.id] = found.tenant
        if found.archived_at is not None and found.archived_at <= known_at:
            log.warning(
                "mapping set %s was archived at %s; name another, or take it out of the archive",
                name,
                found.archived_at.isoformat(),
            )
        keys, values = (
            tuple(TypedColumn(name=one.name, type=one.type) for one in columns)
            for columns in (found.shape.keys, found.shape.values)
        )
        return SetState(name, found.id, version.revision, keys, values)

    def _version(self, name: str, known_at: datetime) -> SetVersion:
        errors = []
        for tenant in self._tenants:
            try:
                return set_version(self._url, name, known_at, tenant=tenant)
            except MappingError as error:
                errors.append(error)
        raise errors[0]

    @contextmanager
    def entries(self, state: SetState, known_at: datetime) -> Iterator[pa.RecordBatchReader]:
        """The entries known at an instant, by key and period; read them inside the block."""
        tenant = self._of_set[state.set_id]
        found = snapshot_entries(self._url, state.name, None, known_at, tenant=tenant)
        with found as (_, batches):
            yield batches
