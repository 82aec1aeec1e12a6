"""Loading and calling the author's script."""

from __future__ import annotations

import inspect
import linecache
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .faults import ScriptError
from .imports import ANY, guarded_builtins

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .context import Context

_EXAMPLE = "Define it as:  def transform(inputs, context): ..."


def load(name: str, source: str, allowed: Collection[str] = (ANY,)) -> Callable[..., Any]:
    """Run the script's top level and give its ``transform``.

    Args:
        name: the script's file name, as tracebacks shall show it.
        source: its text.
        allowed: the modules that it may import.

    Raises:
        ScriptError: there is no such function, or it does not take inputs and context.
        BaseException: whatever the script itself raises.
    """
    # A time of None keeps traceback from looking for the file on the disk.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    module = ModuleType("transform")
    module.__file__ = name
    module.__dict__["__builtins__"] = guarded_builtins(allowed)
    # Pickling and dataclasses look their module up by name.
    sys.modules[module.__name__] = module
    exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    transform = module.__dict__.get("transform")
    if not callable(transform):
        message = "the script defines no function transform"
        raise ScriptError(message, hint=_EXAMPLE)
    _check_signature(transform)
    return transform  # type: ignore[no-any-return]


def _check_signature(transform: Callable[..., Any]) -> None:
    if inspect.iscoroutinefunction(transform) or inspect.isasyncgenfunction(transform):
        message = "transform is async"
        raise ScriptError(message, hint=_EXAMPLE)
    try:
        signature = inspect.signature(transform)
    except (TypeError, ValueError):
        return
    try:
        signature.bind({}, None)
    except TypeError as error:
        message = f"transform{signature} cannot be called with inputs and context"
        raise ScriptError(message, hint=_EXAMPLE) from error


def call(transform: Callable[..., Any], inputs: Mapping[str, Any], context: Context) -> Any:
    """Call the script; this module's frame is cut off its traceback."""
    return transform(inputs, context)
