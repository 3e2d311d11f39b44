"""The context that all measurements share: their size, folders, and the one store that is filled once."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.filling import Filled, fill
from bench.fleet import Fleet
from bench.valkey import Valkey


@dataclass
class Bench:
    """
    ``runs``: how many the filled store holds. ``rounds``: how often a figure is measured; its median is shown.

    Everything that is opened through it is closed by ``close``.
    """

    runs: int = 1_000_000
    rounds: int = 3
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _filled: Filled | None = None

    def filled(self) -> Filled:
        """A store with ``runs`` runs in it; filled at the first call."""
        if self._filled is None:
            self._filled = fill(self._stack.enter_context(Valkey(self.folder(self._stack))), self.runs)
        return self._filled

    @contextlib.contextmanager
    def fleet(self, tasks: str = "", *, over_tcp: bool = False) -> Iterator[Fleet]:
        """A fleet on an empty Valkey, with the tasks of *tasks* applied and nothing started."""
        with contextlib.ExitStack() as stack:
            folder = self.folder(stack)
            valkey = stack.enter_context(Valkey(folder))
            yield stack.enter_context(Fleet(valkey, folder, tasks, over_tcp=over_tcp))

    def folder(self, stack: contextlib.ExitStack) -> Path:
        """A temporary folder that goes with *stack*."""
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runfleet-bench-")))

    def close(self) -> None:
        """End what was opened."""
        self._stack.close()
        self._filled = None
