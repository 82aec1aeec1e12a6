"""Packages that a report asks for beside the sandbox's own: whose list counts, and whose image."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from openreg_airflow.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Image label: the set of packages as JSON, empty for the image without any.
PACKAGES_LABEL = "org.openreg.sandbox.packages"
#: Image label: SHA-256 of each wheel that was installed for them, as JSON.
WHEELS_LABEL = "org.openreg.sandbox.wheels"
_DIGITS = 16


def canonical(name: str) -> str:
    """A distribution's name in the one spelling in which all its spellings are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def not_allowed(packages: Mapping[str, str], allowed: Sequence[str]) -> Iterator[str]:
    """The packages that are not on the admin's list, each as ``name==version``.

    Args:
        packages: exact versions by name.
        allowed: ``name`` or ``name==version``.
    """
    listed: dict[str, set[str]] = {}
    for entry in allowed:
        name, _, version = entry.partition("==")
        listed.setdefault(canonical(name), set()).add(version)
    for name, version in packages.items():
        versions = listed.get(canonical(name), set())
        if version not in versions and "" not in versions:
            yield f"{name}=={version}"


def check_allowed(packages: Mapping[str, str], allowed: Sequence[str]) -> None:
    """Refuse packages that are not on the admin's list.

    Raises:
        SpecError: names the first one.
    """
    for one in not_allowed(packages, allowed):
        message = f"package {one} is not allowed in the sandbox"
        raise SpecError(message, hint=hint(allowed), where="report.yaml")


def hint(allowed: Sequence[str]) -> str:
    """What to do about a package that is not allowed."""
    what = f"Allowed are {', '.join(allowed)}" if allowed else "None is allowed"
    return f"{what}; an admin decides by [openreg] sandbox_packages."


def modules(packages: Mapping[str, str]) -> list[str]:
    """The modules that packages bring by the usual rule, under which a script may import them."""
    return [canonical(name).replace("-", "_") for name in packages]


def image_name(base: str, packages: Mapping[str, str]) -> str:
    """The name of the image with a set of packages: the sandbox's own, or one addressed by hash.

    Args:
        base: name of the sandbox image.
        packages: exact versions by name.
    """
    if not packages:
        return base
    repository, colon, tag = base.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = base, "latest"
    digest = hashlib.sha256(f"{tag}\n{spelled(packages)}".encode()).hexdigest()
    return f"{repository}:packages-{digest[:_DIGITS]}"


def spelled(packages: Mapping[str, str]) -> str:
    """A set of packages as JSON, the same for equal sets."""
    return json.dumps({canonical(n): packages[n] for n in sorted(packages, key=canonical)})
