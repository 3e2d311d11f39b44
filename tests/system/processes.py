"""Which processes there are, told from ``/proc``: who carries a mark, who descends from whom, and who still lives."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Identity(NamedTuple):
    """A process for good: its number may be given out again, but not with the same start (ticks since boot)."""

    pid: int
    started: int


def identity(pid: int) -> Identity | None:
    """The process *pid*; None when there is none, or only a dead one that nobody has asked about yet."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else Identity(pid, int(words[19]))


def is_alive(process: Identity) -> bool:
    """Whether this very process still lives."""
    return identity(process.pid) == process


def marked(mark: str) -> set[int]:
    """Process ids of all whose environment holds the text *mark*."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes():
                found.add(int(path.name))
        except OSError:  # gone meanwhile, or somebody else's
            continue
    return found


def family(roots: Iterable[int]) -> set[int]:
    """*roots* and all that descends from them."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, ())
    return found


def command_line(pid: int) -> str:
    """The words a process was started with; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal processes; one that is gone does not mind."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
