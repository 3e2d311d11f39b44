"""
The orphan guard: ends what ``runfleet up`` started when ``up`` itself was killed and could not.

A process of its own that reads, from a pipe whose other end only the supervisor holds, which processes live:
``+ <order> <pid>`` and ``- <pid>``. At the end of the pipe it ends those that are left, lower orders first, so that
workers can still write down how their runs ended before the store goes. Standard library only; run as
``python -I -S orphan_guard.py <grace_s>``, so that it is small.
"""

import contextlib
import os
import signal
import sys
import time


def main() -> None:
    """Listen until the supervisor is gone, then end what it left."""
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
        time.sleep(0.05)  # they are not our children: nothing tells us when they end
    for pid in pids:
        if is_alive(pid):
            send(-pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    """Signal a process, or a group when negative, that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not collected by its parent does not."""
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
