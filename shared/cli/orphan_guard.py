"""
The orphan guard: ends the processes of ``runfleet up`` if ``up`` itself is killed.

A separate process. It reads from a pipe, whose other end only the supervisor holds, which processes run:
``+ <order> <pid>`` and ``- <pid>``. At the end of the pipe it ends the remaining ones, lower orders first, so that
workers can report how their runs ended before the store stops. It is run as ``python -I -S orphan_guard.py <grace_s>``
and uses only the standard library, to stay small.
"""

import contextlib
import os
import signal
import sys
import time


def main() -> None:
    """Read until the supervisor ends, then end the remaining processes."""
    grace_s = float(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    orders: dict[int, int] = {}
    for line in sys.stdin.buffer:
        words = line.split()
        if len(words) == 3 and words[0] == b"+":
            orders[int(words[2])] = int(words[1])
        elif len(words) == 2 and words[0] == b"-":
            orders.pop(int(words[1]), None)
    for order in sorted(set(orders.values())):
        end([pid for pid, its_order in orders.items() if its_order == order], grace_s)


def end(pids: list[int], grace_s: float) -> None:
    """Ask *pids* to end; after *grace_s* seconds kill them and their process groups."""
    for pid in pids:
        send(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)  # they are not our children, so there is no signal when they end
    for pid in pids:
        if is_alive(pid):
            send(-pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    """Signal a process, or a group if negative; it may have ended already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (ProcessLookupError, PermissionError):
        return False
    except OSError:
        return not os.path.exists("/proc/self/stat")  # no /proc (macOS): the signal arrived, so it lives


if __name__ == "__main__":
    main()
