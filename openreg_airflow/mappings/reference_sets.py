"""Read-only sets of the reference data that comes with the product.

Codes and their days are the files from which conditions are made; what else is known of a code is
in files beside this module. tools/reference-data writes both from the published lists.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from openreg_airflow.errors import MappingError
from openreg_airflow.mappings.importing import upsert
from openreg_airflow.mappings.model import MappingColumn
from openreg_airflow.mappings.outcomes import ImportOptions, ImportOutcome
from openreg_airflow.mappings.sets import Sets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openreg_airflow.store.actor import Actor

    Entry = tuple[dict[str, Any], dict[str, Any], date | None, date | None]

_CODES = "openreg_airflow.language"
_DETAILS = "openreg_airflow.mappings"


@dataclass(frozen=True)
class ReferenceSet:
    """A set of reference data.

    Attributes:
        name: its name.
        description: what it is.
        keys: its key columns; the first is the file's ``code``.
        values: its value columns.
        file: the file of codes with their days; empty where a program knows the entries.
    """

    name: str
    description: str
    keys: tuple[MappingColumn, ...]
    values: tuple[MappingColumn, ...]
    file: str


def _columns(**types: str) -> tuple[MappingColumn, ...]:
    return tuple(MappingColumn(name=name, type=kind) for name, kind in types.items())


SETS = (
    ReferenceSet(
        "iso_mic",
        "Market identifier codes, ISO 10383",
        _columns(mic="string"),
        _columns(
            operating_mic="string", kind="string", category="string", country="string",
            name="string", lei="string",
        ),
        "mics",
    ),
    ReferenceSet(
        "iso_country",
        "Countries, ISO 3166-1, past codes too",
        _columns(country="string"),
        _columns(alpha_3="string", number="string", name="string"),
        "countries",
    ),
    ReferenceSet(
        "iso_currency",
        "Currencies, ISO 4217, past codes too",
        _columns(currency="string"),
        _columns(number="string", name="string", decimals="integer"),
        "currencies",
    ),
    ReferenceSet(
        "iso_cfi",
        "Groups of the classification of financial instruments, ISO 10962",
        _columns(cfi_group="string"),
        _columns(category="string", grouping="string", pattern="string"),
        "cfis",
    ),
    ReferenceSet(
        "country_membership",
        "Members of the EU, the EEA and the euro",
        _columns(country="string", club="string"),
        _columns(member="boolean"),
        "memberships",
    ),
    ReferenceSet(
        "target_closing_day",
        "Days beside weekends on which TARGET is closed",
        _columns(day="date"),
        _columns(calendar="string"),
        "",
    ),
)  # fmt: skip


def update(url: str, actor: Actor, tenant: str = "") -> tuple[ImportOutcome, ...]:
    """Make the sets of reference data, or bring them to the state of this version.

    A set whose entries stay adds no revision. Nothing of a set is written when it cannot be
    brought there as a whole.

    Args:
        url: SQLAlchemy URL of the store.
        actor: who does it.
        tenant: for whom.

    Returns:
        What was done, by set.

    Raises:
        MappingError: a set of such a name is maintained by people.
        StoreUnavailableError: the database cannot be reached.
    """
    sources = {row["set"]: row for row in _rows(_DETAILS, "sources")}
    sets = Sets(url, actor, tenant)
    there = {found.name: found for found in sets.list(archived=True)}
    outcomes = []
    for one in SETS:
        source = sources[one.name]["source"]
        day = date.fromisoformat(sources[one.name]["date"])
        found = there.get(one.name) or sets.create(
            one.name,
            keys=one.keys,
            values=one.values,
            description=one.description,
            owner="OpenReg on Airflow",
            read_only=True,
            source=source,
            source_date=day,
        )
        if found.read_only and (found.keys, found.values) != (one.keys, one.values):
            message = f"mapping set {one.name!r} has other columns in this version"
            raise MappingError(message, hint="Rename the old set, then run this again.")
        done = upsert(
            url,
            one.name,
            entries(one),
            actor,
            tenant=tenant,
            options=ImportOptions(mode="replace"),
            reference=True,
        )
        if done.refused:
            message = f"{done.refused} entries of {one.name!r} do not fit the set"
            raise MappingError(message)
        sets.mark_source(one.name, source, day)
        outcomes.append(done)
    return tuple(outcomes)


def entries(one: ReferenceSet) -> Iterator[Entry]:
    """The entries of a set of reference data, as this version has them."""
    if not one.file:
        from openreg_airflow.calendars.business_days import target_holidays

        for day in target_holidays():
            yield {"day": day}, {"calendar": "TARGET"}, None, None
        return
    details = {}
    if one.file != "memberships":
        details = {row.pop("code"): row for row in _rows(_DETAILS, one.file)}
    for row in _rows(_CODES, one.file):
        code, first, last = row.pop("code"), row.get("valid_from"), row.get("valid_to")
        key = {one.keys[0].name: code}
        value: dict[str, Any] = dict(details.get(code, {"member": True}))
        if one.file == "memberships":
            key["club"] = row["club"]
        if "pattern" in row:
            value["pattern"] = row["pattern"]
        begin = date.fromisoformat(first) if first else None
        # The lists name the last day of a code, entries the first day without it.
        end = date.fromisoformat(last) + timedelta(1) if last else None
        yield key, value, begin, end


def _rows(package: str, name: str) -> Iterator[dict[str, str]]:
    source = files(package).joinpath("reference", f"{name}.csv")
    with source.open(encoding="utf-8") as file:
        yield from csv.DictReader(file)
