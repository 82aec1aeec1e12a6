"""The tables of the product itself: models, migrations, sessions.

:class:`Store` is imported when it is first asked for: the command line mounts this room's
commands without paying for SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openreg_airflow.store.store import Store as Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    if name == "Store":
        from openreg_airflow.store.store import Store

        return Store
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
