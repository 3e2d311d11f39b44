"""Who starts the processes, hits them, and starts again what ended."""

import contextlib
import heapq
import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.soak.history import now_us, read_lives
from tests.soak.plan import SCHEDULERS, WORKERS, Action
from tests.soak.soak import Soak
from tests.system.fleet import Fleet, Process
from tests.system.processes import Identity, command_line, family, identity, is_alive, send

GONE_S: Final = 2.0
ROUND_S: Final = 0.05
STALL_S: Final = 0.4
"""A round of ours that comes so much too late says that this machine had no time for anybody."""

GRACE_S: Final = 3.0
TAKEOVER_S: Final = 5.0


class Platform:
    """Kills, freezes and drains processes, and starts again whatever ended, within a moment."""

    def __init__(self, soak: Soak, fleet: Fleet) -> None:
        self._soak, self._fleet = soak, fleet
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._slots: list[tuple[str, Process]] = []
        self._starts: Counter[int] = Counter()
        self._busy: set[int] = set()
        self._killed: set[int] = set()
        self.calmed = threading.Event()

    def start_all(self) -> None:
        """Start the API, the schedulers and the workers, and wait until they serve."""
        names = ["web", *["scheduler"] * SCHEDULERS, *["worker"] * WORKERS]
        for place, name in enumerate(names):
            self._slots.append((name, self._fleet.start(name, **self._release(place))[0]))

    def work(self) -> None:
        """Do the plan, and what follows from it, until the soak is over."""
        for action in self._soak.actions("platform"):
            self._at(self._soak.started_s + action.at_s, self._doing(action))
        memory_s = seen_s = time.monotonic()
        while not self._soak.over.is_set():
            now_s = time.monotonic()
            if now_s - seen_s > STALL_S:
                self._soak.chaos.add("stall", from_us=now_us() - int((now_s - seen_s) * 1e6), to_us=now_us())
            seen_s = now_s
            while self._later and self._later[0][0] <= now_s:
                heapq.heappop(self._later)[2]()
            self._restart()
            if now_s > memory_s:
                memory_s = now_s + 2
                self._weigh()
            if self._soak.calm.is_set() and not self._later:
                self.calmed.set()
            self._soak.over.wait(ROUND_S)

    def _doing(self, action: Action) -> Callable[[], None]:
        def do() -> None:
            if not self._soak.calm.is_set():
                getattr(self, "_" + action.what)(**action.args)

        return do

    def _at(self, at_s: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._later, (at_s, next(self._order), do))

    def _release(self, place: int) -> dict[str, str]:
        """If there is an older release every other process is of it, and each place changes sides when it restarts."""
        older = self._soak.older
        self._starts[place] += 1
        is_older = (place + self._starts[place]) % 2 == 0 and older is not None
        return {"PYTHONPATH": str(older)} if is_older else {}

    def _restart(self) -> None:
        for place, (name, process) in enumerate(self._slots):
            code = process.popen.poll()
            if code is None:
                continue
            if process.pid not in self._killed:
                self._soak.chaos.add("exited", name=name, pid=process.pid, code=code)
            self._slots[place] = (name, self._fleet.launch(name, **self._release(place)))

    def _worker(self, pick: int) -> int | None:
        """The place of a worker to hit: one that runs and that nothing else is being done to."""
        places = [
            place
            for place, (name, process) in enumerate(self._slots)
            if name == "worker" and process.pid not in self._busy and _process_of(process) is not None
        ]
        return places[pick % len(places)] if places else None

    def _kill(self, victim: str, pick: int) -> None:
        if victim == "child":
            pid = self._child(pick)
            if pid:
                send([pid], signal.SIGKILL)
                self._soak.chaos.add("kill", victim=victim, pid=pid, pids=[pid])
            return
        place = self._worker(pick)
        if place is None:
            return
        process = self._slots[place][1]
        worker = _process_of(process)
        found = {"launcher": process.pid, "worker": worker, "spawner": _spawner_of(worker)}[victim]
        if not found:
            return
        pid = found
        doomed = {one for one in map(identity, family([pid])) if one}
        if victim == "launcher":
            self._killed.add(pid)
        send([pid], signal.SIGKILL)
        at_us = now_us()
        spawner = _spawner_of(worker)
        doomed |= {one for one in map(identity, family([spawner] if spawner else [])) if one}
        self._soak.chaos.add(
            "kill", at_us=at_us, victim=victim, pid=pid, worker=worker, pids=sorted(one.pid for one in doomed)
        )
        self._at(time.monotonic() + GONE_S, lambda: self._see_gone(at_us, doomed))

    def _see_gone(self, at_us: int, doomed: set[Identity]) -> None:
        alive = [f"{one.pid} {command_line(one.pid)}" for one in doomed if is_alive(one)]
        self._soak.chaos.add("gone", of_us=at_us, alive=alive)

    def _child(self, pick: int) -> int:
        """The process of some run that is under way, by the history's last lines."""
        with self._fleet.history.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 20000))
            lines = file.read().decode().splitlines()[1:]
        starts = next((n for n, line in enumerate(lines) if line.split()[1] == "start"), len(lines))
        began = {line.split()[2] for line in lines[starts:] if line.split()[1] == "start"}
        lives = read_lives(line for line in lines[starts:] if line.split()[2] in began).values()
        pids = [life.pid for runs in lives for life in runs if not life.ended_us and identity(life.pid)]
        return pids[pick % len(pids)] if pids else 0

    def _drain(self, pick: int, times: int) -> None:
        place = self._worker(pick)
        if place is None:
            return
        process = self._slots[place][1]
        self._busy.add(process.pid)
        pids = sorted(family([process.pid]))
        for _ in range(times):
            process.signal_group(signal.SIGTERM)
        at_us = self._soak.chaos.add("drain", pid=process.pid, worker=_process_of(process), pids=pids)["at_us"]

        def see() -> None:
            code = process.popen.poll()
            self._soak.chaos.add("drained", of_us=at_us, pid=process.pid, code=code)

        self._at(time.monotonic() + GRACE_S + 4, see)

    def _freeze(self, pick: int, for_s: float) -> None:
        place = self._worker(pick)
        if place is None:
            return
        process = self._slots[place][1]
        frozen = [process.pid, _process_of(process) or process.pid]
        self._busy.add(process.pid)
        send(frozen, signal.SIGSTOP)
        entry = self._soak.chaos.add("freeze", pid=frozen[1], worker=frozen[1], pids=sorted(family(frozen)))

        def thaw() -> None:
            send(frozen, signal.SIGCONT)
            self._soak.chaos.add("thaw", of_us=entry["at_us"], pid=frozen[1])
            self._at(time.monotonic() + 2, lambda: self._busy.discard(process.pid))

        self._at(time.monotonic() + for_s, thaw)

    def _kill_web(self) -> None:
        self._end(next(process for name, process in self._slots if name == "web"), "api")

    def _kill_scheduler(self, pick: int) -> None:
        there = [process for name, process in self._slots if name == "scheduler"]
        self._end(there[pick % len(there)], "scheduler")
        # It may have been the leader: another takes over within that time.
        self._soak.chaos.add("away", of="scheduler", from_us=now_us(), to_us=now_us() + int(TAKEOVER_S * 1e6))

    def _end(self, process: Process, of: str) -> None:
        self._killed.add(process.pid)
        process.kill()
        self._soak.chaos.add("kill", victim=of, pid=process.pid, pids=[process.pid])

    def _weigh(self) -> None:
        """Note the resident memory of our own processes, in kB."""
        weights: dict[str, int] = {}
        for name, process in self._slots:
            worker = _process_of(process) if name == "worker" else None
            of = {
                name if name != "worker" else "launcher": process.pid,
                "worker": worker,
                "spawner": _spawner_of(worker),
            }
            for what, pid in of.items():
                if pid:
                    weights[what] = max(weights.get(what, 0), _resident_kb(pid))
        self._soak.chaos.add("memory", **weights)


def _process_of(launcher: Process) -> int | None:
    """The worker process of a launcher, if it has one now."""
    return next((pid for pid in _children(launcher.pid) if "--process" in command_line(pid)), None)


def _spawner_of(worker: int | None) -> int | None:
    return (
        next((pid for pid in _children(worker) if "worker/spawner " in f"{command_line(pid)} "), None)
        if worker
        else None
    )


def _children(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found = []
    with contextlib.suppress(OSError):  # it is gone, or one of its threads
        for thread in list(Path(f"/proc/{pid}/task").iterdir()):
            with contextlib.suppress(OSError):
                found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def _resident_kb(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0
