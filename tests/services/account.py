"""The account that a server runs as: most refuse to run as root."""

from __future__ import annotations

import os
import pwd
from typing import Any

from tests.services import unavailable


def account(*preferred: str) -> pwd.struct_passwd | None:
    """The first of these accounts that exists, or None to stay what we are, when not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    found = next((known[name] for name in preferred if name in known), None)
    return found or unavailable(f"none of the accounts {', '.join(preferred)} exists")


def as_account(entry: pwd.struct_passwd | None) -> dict[str, Any]:
    """The arguments with which ``subprocess`` starts a program as that account."""
    if entry is None:
        return {}
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
