"""How long requests take while something else goes on, as one more client sees it."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

import httpx

from tests.system.fleet import TOKEN, Fleet


class Latency:
    """Seconds that each answer took, by path."""

    def __init__(self) -> None:
        self.took_s: list[float] = []
        self.wrong: list[str] = []

    def p99_s(self) -> float:
        """Of a hundred answers, one took longer than this."""
        assert self.took_s, "nothing was asked"
        return sorted(self.took_s)[int(len(self.took_s) * 0.99) - (len(self.took_s) % 100 == 0)]


@contextlib.contextmanager
def asked_meanwhile(fleet: Fleet, paths: Sequence[str], pause_s: float = 0.01) -> Iterator[Latency]:
    """Ask for the *paths* in turn, one at a time, for as long as this lasts; every answer must be 200."""
    seen, over = Latency(), threading.Event()

    def ask() -> None:
        with httpx.Client(
            base_url=fleet.http.base_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30
        ) as client:
            while not over.is_set():
                for path in paths:
                    began_s = time.monotonic()
                    answer = client.get(path)
                    seen.took_s.append(time.monotonic() - began_s)
                    if answer.status_code != 200:
                        seen.wrong.append(f"{path}: {answer.status_code} {answer.text}")
                over.wait(pause_s)

    thread = threading.Thread(target=ask, name="asker")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    assert not seen.wrong, seen.wrong[:3]


def slowness(work_s: float = 0.2) -> float:
    """
    By how much this machine is slower now than an idle one, at least 1: how long so much computing takes.

    Nothing of ours has a part in it, so that what is slow for our sake is not excused by it.
    """
    began_s, until_s = time.monotonic(), time.thread_time() + work_s
    while time.thread_time() < until_s:
        pass
    return max(1.0, (time.monotonic() - began_s) / work_s)


def resident_mb(pid: int, *, peak: bool = False) -> float:
    """The memory of a process now, or the most that it ever had."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(wanted)) / 1024
