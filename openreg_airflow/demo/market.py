"""The made-up market of the demonstration: shares, firms and days. No name is a real firm's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, TypeVar

from openreg_airflow.demo.identifiers import isin, lei

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

_NAMES = (
    "Nordlicht Energie", "Rheinbogen Maschinen", "Alpkante Logistik", "Havelstern Pharma",
    "Quellfeld Chemie", "Blauhafen Reederei", "Verdante Semences", "Collines Optique",
    "Atelier Lumisol", "Brise Marine", "Grand Tilleul", "Polder Dynamics",
    "Zeegras Voeding", "Molenwind Techniek", "Lichtkade Media", "Colle Dorato",
    "Ventoso Motori", "Pietrachiara", "Sierra Tejada", "Olivar Digital",
)  # fmt: skip
_FORMS = {"DE": "AG", "FR": "SA", "NL": "NV", "IT": "SpA", "ES": "SA"}
_VENUES = {"DE": "XETR", "FR": "XPAR", "NL": "XAMS", "IT": "MTAA", "ES": "XMAD"}
_COUNTRIES = ("DE",) * 6 + ("FR",) * 5 + ("NL",) * 4 + ("IT",) * 3 + ("ES",) * 2
_CLASSES = ("Ordinary", "Registered")


@dataclass(frozen=True)
class Share:
    """A share admitted to trading; ``reference_price`` is the close before the first day."""

    isin: str
    name: str
    currency: str
    venue: str
    reference_price: Decimal


@dataclass(frozen=True)
class Firm:
    """A legal entity that trades."""

    lei: str
    name: str
    country: str
    role: str


@dataclass(frozen=True)
class Market:
    """Who trades what, and on which days; ``days`` ends with the business date and one more."""

    shares: list[Share]
    firms: list[Firm]
    days: list[date]

    def of_role(self, role: str) -> list[Firm]:
        """The firms of one role."""
        return [firm for firm in self.firms if firm.role == role]


class Dice:
    """Draws that are the same in every Python version: only ``Random.random`` promises that."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - sample data, not a secret

    def unit(self) -> float:
        """A number from 0 to below 1."""
        return self._random.random()

    def integer(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + int(self.unit() * (high - low + 1))

    def one(self, values: Sequence[T]) -> T:
        """One of the values."""
        return values[int(self.unit() * len(values))]

    def bell(self) -> float:
        """About a normal draw around 0 with deviation 1: a sum of twelve even ones."""
        return sum(self.unit() for _ in range(12)) - 6


def market(dice: Dice, business_date: date) -> Market:
    """The market around a business date."""
    return Market(_shares(dice), _firms(), _trading_days(business_date))


def _shares(dice: Dice) -> list[Share]:
    """Two classes of shares of each issuer."""
    found = []
    for number, (name, country) in enumerate(zip(_NAMES, _COUNTRIES, strict=True)):
        for place, share_class in enumerate(_CLASSES):
            price = Decimal(dice.integer(400, 25_000)) / 100
            found.append(
                Share(
                    isin(country, number * 2 + place + 1),
                    f"{name} {_FORMS[country]} {share_class}",
                    "EUR",
                    _VENUES[country],
                    price,
                )
            )
    return found


def _firms() -> list[Firm]:
    """The reporting firm first, then a clearing house, counterparties and clients."""
    places = ("DE", "FR", "NL", "IT", "ES", "IE", "LU", "AT")
    found = [
        Firm(lei(1), "Musterbank Wertpapierhandel AG", "DE", "firm"),
        Firm(lei(2), "Example Clearing House SE", "FR", "clearing"),
    ]
    for number in range(3, 15):
        country = places[number % len(places)]
        found.append(Firm(lei(number), f"Sample Broker {number - 2}", country, "counterparty"))
    for number in range(15, 75):
        country = places[number % len(places)]
        found.append(Firm(lei(number), f"Sample Fund {number - 14}", country, "client"))
    return found


def _trading_days(business_date: date) -> list[date]:
    """Three weekdays before the business date, the date itself, and the weekday after it."""
    days = [business_date]
    while len(days) < 4:
        days.insert(0, _weekday(days[0], -1))
    return [*days, _weekday(business_date, 1)]


def _weekday(day: date, step: int) -> date:
    day += timedelta(days=step)
    while day.weekday() > 4:
        day += timedelta(days=step)
    return day
