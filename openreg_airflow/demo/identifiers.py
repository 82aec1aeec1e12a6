"""Made-up identifiers with right check digits: LEI (ISO 17442) and ISIN (ISO 6166)."""

from __future__ import annotations

_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lei(number: int) -> str:
    """The LEI of the made-up entity of that number; no issuer has the prefix 9999."""
    base = f"999900OPENREG{number:05d}"
    return f"{base}{98 - int(_digits(base) + '00') % 97:02d}"


def isin(country: str, number: int) -> str:
    """The ISIN of the made-up share of that number.

    Args:
        country: ISO 3166 code of two letters.
        number: 0 to 9999.
    """
    base = f"{country}000ZX{number:04d}"
    total = 0
    # Luhn: from the right, every other digit counts twice, the check digit's neighbour first.
    for place, digit in enumerate(reversed(_digits(base))):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value // 10 + value % 10
    return f"{base}{-total % 10}"


def _digits(text: str) -> str:
    return "".join(str(_CHARACTERS.index(character)) for character in text)
