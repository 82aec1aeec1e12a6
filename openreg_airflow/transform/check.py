"""What ``openreg check`` finds in a transform section without running the script."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from openreg_airflow import settings
from openreg_airflow.problem import Problem
from openreg_airflow.transform.limits import above
from openreg_airflow.transform.packages import hint, modules, not_allowed
from openreg_airflow.transform.runner.imports import explanation, refused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from openreg_airflow.transform.spec import TransformSection

#: Longest script in bytes.
MAX_SCRIPT = 1 << 20
_GIVES = ast.Return | ast.Yield | ast.YieldFrom
_EXAMPLE = "Define it as:  def transform(inputs, context): ..."


def check(spec: TransformSection, folder: Path) -> Iterator[Problem]:
    """Find faults of the section and of the script that it names.

    Args:
        spec: the section.
        folder: the report's folder.
    """
    allowed = settings.names(settings.without_airflow("sandbox_packages", ""))
    for one in not_allowed(spec.packages, allowed):
        name = one.partition("==")[0]
        yield Problem(
            message=f"package {one} is not allowed in the sandbox",
            hint=hint(allowed),
            keys=("packages", name),
        )
    bounds = {
        name: float(settings.without_airflow(f"max_{name}", default))
        for name, default in settings.BOUNDS.items()
    }
    for name, message, advice in above(spec.limits, bounds):
        yield Problem(message=message, hint=advice, keys=("limits", name))
    path = folder / spec.script
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        yield Problem(
            message=f"there is no file {spec.script}",
            hint="Create it in the report's folder, or remove the transform section.",
            keys=("script",),
        )
        return
    except OSError as error:
        yield Problem(message=f"cannot read {spec.script}: {error.strerror}", keys=("script",))
        return
    if len(raw) > MAX_SCRIPT:
        yield Problem(
            message=f"{spec.script} has {len(raw)} bytes; at most {MAX_SCRIPT} are possible",
            keys=("script",),
        )
        return
    listed = settings.without_airflow("sandbox_imports", settings.SANDBOX_IMPORTS)
    yield from _check_source(raw, path, (*settings.names(listed), *modules(spec.packages)))


def _check_source(raw: bytes, path: Path, allowed: Collection[str]) -> Iterator[Problem]:
    try:
        source = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        yield Problem(message="not UTF-8", hint="Save it as UTF-8.", file=path, line=line)
        return
    try:
        module = ast.parse(source, filename=path.name)
    except SyntaxError as error:
        yield Problem(message=str(error.msg), file=path, line=error.lineno, column=error.offset)
        return
    except ValueError as error:
        yield Problem(message=f"not Python: {error}", file=path, line=1)
        return
    yield from _check_imports(module, path, allowed)
    yield from _check_function(module, path)


def _check_imports(module: ast.Module, path: Path, allowed: Collection[str]) -> Iterator[Problem]:
    """Find what the admin's list forbids; the runner refuses the same when the script runs."""
    for node in ast.walk(module):
        place = Problem(message="", file=path)
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            place = replace(place, line=node.lineno, column=node.col_offset + 1)
        if isinstance(node, ast.Import):
            imported: list[tuple[str, list[str]]] = [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported = [(node.module or "", [alias.name for alias in node.names])]
        elif isinstance(node, ast.ImportFrom):
            message = "a script stands alone and has nothing beside it to import"
            yield replace(place, message=message, hint="Write what it needs into the script.")
            continue
        elif isinstance(node, ast.Call) and (called := _imported_by_call(node)):
            imported = [(called, [])]
        else:
            continue
        for name, taken in imported:
            for one in refused(name, [t for t in taken if t != "*"], allowed):
                message = f"{one} may not be imported"
                yield replace(place, message=message, hint=explanation(allowed))


def _imported_by_call(call: ast.Call) -> str:
    """The module that ``__import__("name")`` imports; empty when only the run can tell."""
    if not (isinstance(call.func, ast.Name) and call.func.id == "__import__" and call.args):
        return ""
    first = call.args[0]
    return str(first.value) if isinstance(first, ast.Constant) else ""


def _check_function(module: ast.Module, path: Path) -> Iterator[Problem]:
    found = [
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "transform"
    ]
    if not found:
        if _assigns_transform(module):
            return
        yield Problem(message="there is no function transform", hint=_EXAMPLE, file=path, line=1)
        return
    function = found[-1]
    place = Problem(
        message="transform is async",
        hint=_EXAMPLE,
        file=path,
        line=function.lineno,
        column=function.col_offset + 1,
    )
    if isinstance(function, ast.AsyncFunctionDef):
        yield place
    given = function.args
    positional = len(given.posonlyargs) + len(given.args)
    required = positional - len(given.defaults)
    unmet = [d for d in given.kw_defaults if d is None]
    if (positional < 2 and given.vararg is None) or required > 2 or unmet:
        message = f"transform({ast.unparse(given)}) cannot be called with inputs and context"
        yield replace(place, message=message)
    if not any(isinstance(node, _GIVES) for node in ast.walk(function)):
        yield replace(
            place,
            message="transform returns nothing",
            hint="Return a table or a dict of tables, or yield them piece by piece.",
        )


def _assigns_transform(module: ast.Module) -> bool:
    """Whether the name comes about in another way, such as by an import."""
    return any(
        isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.If | ast.Try | ast.With)
        and any(
            (isinstance(part, ast.Name) and part.id == "transform")
            or (isinstance(part, ast.alias) and (part.asname or part.name) == "transform")
            for part in ast.walk(node)
        )
        for node in module.body
    )
