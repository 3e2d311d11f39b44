"""
Finds the orphans of runs, and the run to which each belongs.

The spawner is the *subreaper* of all that it starts, so orphans become its children, whatever session they are in. A
child that it did not start belongs to the run whose session it is in or whose id its environment names. If it has
hidden both, it belongs to all runs that lived when it was first seen, and is killed with the last of these.
"""

from __future__ import annotations

import contextlib
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.spawner.run import Run


class Orphans:
    """The children of this process that are not runs. Used by its only thread."""

    def __init__(self) -> None:
        self._suspects: dict[int, set[int]] = {}
        self.guards: set[int] = set()
        """Children of this process that watch over runs."""
        self._own_id = os.environ.get("RUNFLEET_RUN_ID", "")
        self.fd = -1
        """The descriptor with the list of children; -1 where the kernel has none."""
        with contextlib.suppress(OSError):
            self.fd = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY)

    def forget(self, pid: int) -> None:
        """Forget a reaped child; its pid may be reused."""
        self._suspects.pop(pid, None)

    def kill(self, running: Mapping[int, Run], ended: Iterable[Run]) -> set[int]:
        """
        Kill the orphans of *ended* runs; returns the pids of runs whose orphans are still dying.

        *running* are the runs that live, by pid.
        """
        adopted = self.children(running) - running.keys() - self.guards
        if not adopted:
            return set()
        held = set()
        ending = {run.pid: run for run in ended}
        by_id = {run.run_id: run.pid for run in ending.values()}
        living_ids = {run.run_id for run in running.values()}
        for pid in adopted:
            try:
                session = os.getsid(pid)
            except OSError:
                continue
            if session in running:
                continue
            owner = session if session in ending else 0
            if not owner:
                run_id = _run_id_of(pid)
                if run_id == self._own_id:
                    run_id = ""  # a fork that never called exec still shows the environment of this process
                elif run_id in living_ids:
                    continue
                if run_id:
                    owner = by_id.get(run_id, 0)
                else:
                    suspects = self._suspects.setdefault(
                        pid, {run.pid for run in [*running.values(), *ending.values()] if not run.serves}
                    )
                    if suspects & running.keys():
                        continue
                    owner = next(iter(suspects & ending.keys()), 0)
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            held.add(owner)
        return held

    def by_run(self, running: Mapping[int, Run]) -> dict[int, list[int]]:
        """The orphans of live runs, by the pid of the run: those in its session, or with its id."""
        found: dict[int, list[int]] = {}
        by_id = {run.run_id: pid for pid, run in running.items()}
        for pid in self.children(running) - running.keys() - self.guards:
            with contextlib.suppress(OSError):
                session = os.getsid(pid)
                owner = session if session in running else by_id.get(_run_id_of(pid), 0)
                if owner:
                    found.setdefault(owner, []).append(pid)
        return found

    def children(self, running: Iterable[int]) -> set[int]:
        """Our children, including dead ones not yet reaped. Without /proc those that we started."""
        if self.fd < 0:
            return set(running)
        text, offset = b"", 0
        while True:
            chunk = os.pread(self.fd, 65536, offset)
            if not chunk:
                return {int(word) for word in text.split()}
            text += chunk
            offset += len(chunk)


def _run_id_of(pid: int) -> str:
    """The run named in the environment a process was started with; "" if none, or if it cannot be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except OSError:
        return ""
    for entry in environ.split(b"\0"):
        if entry.startswith(b"RUNFLEET_RUN_ID="):
            return entry[16:].decode("utf-8", "replace")
    return ""
