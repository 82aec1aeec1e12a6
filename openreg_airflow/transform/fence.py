"""What runs a runner: a container, or in development a plain process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

#: The streams of a runner: frames of :mod:`openreg_airflow.transform.runner.wire`, and log text.
REPLY, LOG = 1, 2

#: The same in a container and outside: nothing of the task's own environment reaches a script.
#: One thread for every numeric library, since sums depend on how they are split.
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}

#: Options of the interpreter: no user site, and no import from the working folder.
PYTHON_OPTIONS = ("-s", "-P", "-B")


@dataclass(frozen=True)
class Ending:
    """How a runner ended.

    Attributes:
        status: exit status of its first process.
        out_of_memory: the engine saw a process being killed for memory.
    """

    status: int
    out_of_memory: bool = False


class Fence(Protocol):
    """One runner; used as a context manager, and gone after the block whatever happens."""

    @property
    def image(self) -> str | None:
        """Digest of the image that it runs in; None outside a container."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def start(self) -> None:
        """Start the runner and send it its request."""

    def read(self, seconds: float) -> list[tuple[int, bytes]]:
        """Wait at most ``seconds`` for bytes; give them with their stream.

        Raises:
            EOFError: the runner has ended and everything has been read.
        """

    def kill(self) -> None:
        """Stop everything inside at once; may be called at any time, from a signal handler."""

    def ending(self) -> Ending:
        """How the runner ended; after :meth:`read` has raised EOFError."""
