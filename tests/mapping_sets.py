"""Mapping sets in a store, for the tests of what runs make of them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from openreg_airflow.mappings.entries import Entries
from openreg_airflow.mappings.sets import Sets
from openreg_airflow.store.actor import Actor

if TYPE_CHECKING:
    from openreg_airflow.mappings.model import MappingEntry

ACTOR = Actor("tester", "a test")
NEW_YEAR = date(2026, 1, 1)


def make_set(
    url: str,
    name: str = "venues",
    keys: tuple[tuple[str, str], ...] = (("code", "string"),),
    values: tuple[tuple[str, str], ...] = (("mic", "string"),),
) -> None:
    """An empty set."""
    Sets(url, ACTOR).create(name, keys=keys, values=values)


def add(
    url: str,
    key: dict[str, Any],
    value: dict[str, Any],
    *,
    name: str = "venues",
    begin: date | None = None,
    end: date | None = None,
) -> MappingEntry:
    """One entry."""
    return Entries(url, name, ACTOR).add(key, value, effective_from=begin, effective_to=end)


def make_venues(url: str) -> None:
    """A set with FRA until and after 2026, and PAR."""
    make_set(url)
    add(url, {"code": "FRA"}, {"mic": "XOLD"}, end=NEW_YEAR)
    add(url, {"code": "FRA"}, {"mic": "XFRA"}, begin=NEW_YEAR)
    add(url, {"code": "PAR"}, {"mic": "XPAR"})
