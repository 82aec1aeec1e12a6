"""Which modules a script may import: the admin's list.

The list is a policy and an aid to reviewers, not the fence: whoever tries gets around it, and
meets the container. The same rules serve ``openreg check`` and the runner.
"""

from __future__ import annotations

import builtins
import sys
from typing import TYPE_CHECKING, Any

from .faults import ForbiddenImportError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

#: In a list of modules: the standard library without :data:`DANGEROUS`.
STDLIB = "stdlib"
#: In a list of modules: every module.
ANY = "*"
#: The modules of the standard library that reach out of the script: to processes, devices,
#: networks, other code or the interpreter itself.
DANGEROUS = frozenset(
    {
        "_ctypes",
        "_multiprocessing",
        "_posixsubprocess",
        "_socket",
        "_ssl",
        "_thread",
        "asyncio",
        "bdb",
        "builtins",
        "cProfile",
        "code",
        "codeop",
        "concurrent",
        "ctypes",
        "curses",
        "dbm",
        "ensurepip",
        "fcntl",
        "ftplib",
        "gc",
        "http",
        "idlelib",
        "imaplib",
        "importlib",
        "marshal",
        "mmap",
        "multiprocessing",
        "netrc",
        "nntplib",
        "nt",
        "os",
        "pdb",
        "pickle",
        "pickletools",
        "pkgutil",
        "poplib",
        "posix",
        "posixpath",
        "profile",
        "pty",
        "pwd",
        "readline",
        "resource",
        "rlcompleter",
        "runpy",
        "select",
        "selectors",
        "shelve",
        "shutil",
        "signal",
        "site",
        "smtplib",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "syslog",
        "telnetlib",
        "termios",
        "test",
        "threading",
        "tkinter",
        "tty",
        "urllib.request",
        "urllib.robotparser",
        "venv",
        "webbrowser",
        "wsgiref",
        "xmlrpc",
        "zipapp",
        "zipimport",
    }
)


def may_import(name: str, allowed: Collection[str]) -> bool:
    """Whether a list of modules allows one.

    Args:
        name: a module with its packages, such as ``lxml.etree``.
        allowed: modules; each stands for what is below it as well.
    """
    parents = _parents(name)
    if ANY in allowed or any(parent in allowed for parent in parents):
        return True
    standard = STDLIB in allowed and parents[0] in sys.stdlib_module_names
    return standard and not any(parent in DANGEROUS for parent in parents)


def refused(module: str, names: Sequence[str], allowed: Collection[str]) -> Iterator[str]:
    """What a list forbids of ``import module`` or ``from module import names``.

    Args:
        module: the module.
        names: what is taken from it; empty for a plain import.
        allowed: the list of modules.
    """
    if may_import(module, allowed):
        for name in names:
            if f"{module}.{name}" in DANGEROUS and not may_import(f"{module}.{name}", allowed):
                yield f"{module}.{name}"
    elif not names or not all(may_import(f"{module}.{name}", allowed) for name in names):
        yield module


def explanation(allowed: Collection[str]) -> str:
    """What to do about a refused import, for a hint."""
    return (
        f"Allowed are {', '.join(allowed)}; an admin decides by [openreg] sandbox_imports. "
        f"{STDLIB} is the standard library without what reaches out of a script."
    )


def guarded_builtins(allowed: Collection[str]) -> dict[str, Any]:
    """The builtins of a module in which ``import`` follows a list of modules."""

    def guarded(
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if level == 0:
            names = [one for one in fromlist or () if one != "*"]
            for one in refused(name, names, allowed):
                message = f"{one} may not be imported"
                raise ForbiddenImportError(message, explanation(allowed))
        return builtins.__import__(name, globals_, locals_, fromlist or (), level)

    return {**vars(builtins), "__import__": guarded}


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]
