"""A child process of ``runfleet up``, and when it is restarted."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Final

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
STEADY_S: Final = 30.0
"""A child that lived this long starts its next back-off from the beginning."""

CANNOT_START: Final = 126
"""The exit code of a child that is not restarted and could not be started; shells use the same."""


@dataclass(eq=False)
class Child:
    """
    One child process.

    ``order``: those with lower numbers are ended first. ``restarts``: it is restarted when it ends. ``spared``: a
    second Ctrl-C does not kill it (the store, which only writes its file and exits). ``reloads``: it receives SIGHUP.
    """

    name: str
    argv: list[str]
    env: Mapping[str, str]
    _: KW_ONLY
    order: int = 0
    restarts: bool = True
    spared: bool = False
    reloads: bool = False
    process: subprocess.Popen[bytes] | None = None
    code: int | None = None
    started_s: float = 0.0
    due_s: float | None = None
    failures: int = 0
    unfinished_line: bytes = b""

    @property
    def is_running(self) -> bool:
        """Whether it runs, or ended and was not collected yet."""
        return self.process is not None

    def signal(self, number: int, *, group: bool = False) -> None:
        """Signal the process, or its whole group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-self.process.pid if group else self.process.pid, number)

    def delay_s(self, lived_s: float) -> float:
        """Seconds to wait before it is restarted after it lived *lived_s*; doubles while it keeps dying."""
        self.failures = 1 if lived_s >= STEADY_S else self.failures + 1
        return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(self.failures - 1, 10)))


def how_it_ended(code: int) -> str:
    """An exit code of ``Popen`` in words."""
    if code < 0:
        known = -code in set(signal.Signals)
        return f"was killed by {signal.Signals(-code).name}" if known else f"was killed by signal {-code}"
    return f"ended with exit code {code}"
