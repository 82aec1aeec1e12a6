"""Alembic's entry: migrates on the connection that :mod:`openreg_airflow.store.schema` gives."""

from __future__ import annotations

from alembic import context

from openreg_airflow.store import (  # noqa: F401 - tables
    acknowledgement_models,
    delivery_models,
    exception_models,
    mapping_models,
    mapping_run_models,
    reference_models,
    source_cache_models,
)
from openreg_airflow.store.models import Base
from openreg_airflow.store.schema import VERSION_TABLE


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Look at our own tables only: the database may hold others."""
    return kind != "table" or (name or "").startswith("openreg_")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_name=include_name,
    # SQLite can change tables only by copying them.
    render_as_batch=True,
    # All or nothing, in SQLite too, where Alembic would commit each statement.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
