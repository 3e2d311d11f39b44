"""
Does to a real fleet what the plan says, and writes down what it did and what it was answered.

Three actors at once: clients that trigger and stop, a platform that kills and starts processes again as a cloud would,
and somebody who takes Valkey away. At the end the faults stop, everything is given time to drain, and what the API and
the store say then is saved.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import shutil
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import redis

from tests.soak.history import Recorder, now_us, read_lives
from tests.soak.plan import (
    LIMITS,
    RUN_AGAIN,
    SCHEDULERS,
    SLOTS,
    WORKERS,
    Action,
    backlog_of,
    kinds,
    make_plan,
    task_file,
)
from tests.system.fleet import TOKEN, Fleet, Process
from tests.system.processes import Identity, command_line, family, identity, is_alive, send
from tests.waiting import wait_until

DRAIN_S: Final = 60.0
DRAINED_PER_S: Final = 50
"""Runs that six slots on a busy machine of two cores are through with in a second when nothing hits them."""

GONE_S: Final = 2.0
ROUND_S: Final = 0.05
STALL_S: Final = 0.4
"""A round of ours that comes so much too late says that this machine had no time for anybody."""

GRACE_S: Final = 3.0
TAKEOVER_S: Final = 5.0
HOME: Final = Path(__file__).parent
PREFIX: Final = b"{runfleet}:"


class Soak:
    """One soak in a folder. ``older`` is a folder with another release, which then runs half of the processes."""

    def __init__(self, folder: Path, seed: int, seconds: float, older: Path | None = None) -> None:
        self.folder, self.seconds, self.older = folder, seconds, older
        self.plans = older is None or (older / "shared" / "store" / "lua" / "lib" / "plan.lua").exists()
        self.plan = make_plan(seed, seconds, plans=self.plans)
        self.chaos = Recorder(folder / "chaos.jsonl")
        self.answers = Recorder(folder / "answers.jsonl")
        limits = {name: LIMITS[name] for name in kinds(plans=self.plans)}
        self.chaos.add("plan", seed=seed, seconds=seconds, tasks=limits, mixed=older is not None)
        (folder / "plan.jsonl").write_text("".join(json.dumps(action._asdict()) + "\n" for action in self.plan))
        shutil.copy(HOME / "work.py", folder / "work.py")
        self.drain_s = DRAIN_S + backlog_of(seconds) / DRAINED_PER_S
        self.started_s = 0.0
        self.calm = threading.Event()
        self.over = threading.Event()

    def run(self) -> None:
        """From the first process to the last fact; what was started is gone afterwards."""
        with Fleet(
            self.folder, task_file(plans=self.plans), grace_s=GRACE_S, threads=SLOTS, RUNFLEET_LOG_LEVEL="info"
        ) as fleet:
            platform = Platform(self, fleet)
            clients, weather, witness = Clients(self, fleet), Weather(self, fleet), Witness(self, fleet)
            platform.start_all()
            self.started_s = time.monotonic()
            self.chaos.add("started")
            threads = [
                threading.Thread(target=target, name=target.__qualname__)
                for target in (platform.work, weather.work, witness.watch, clients.work, clients.work)
            ]
            for thread in threads:
                thread.start()
            try:
                for thread in threads[3:]:
                    thread.join(self.seconds + DRAIN_S)
                self.wait_for(self.seconds)
                self.calm.set()
                threads[1].join(DRAIN_S)
                platform.calmed.wait(DRAIN_S)
                witness.see_drained()
            finally:
                self.calm.set()
                self.over.set()
                for thread in threads:
                    thread.join(DRAIN_S)
            witness.save()
        self.chaos.add("closed")  # nothing was left behind, or the fleet would have said so
        self.chaos.close()
        self.answers.close()

    def actions(self, who: str) -> list[Action]:
        """What somebody has to do."""
        return [action for action in self.plan if action.who == who]

    def wait_for(self, at_s: float) -> bool:
        """Wait until so long after the start; False when it is too late for faults."""
        return not self.calm.wait(max(0.0, self.started_s + at_s - time.monotonic()))


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
        found = {"launcher": process.pid, "worker": worker, "keeper": _keeper_of(worker)}[victim]
        if not found:
            return
        pid = found
        doomed = {one for one in map(identity, family([pid])) if one}
        if victim == "launcher":
            self._killed.add(pid)
        send([pid], signal.SIGKILL)
        at_us = now_us()
        keeper = _keeper_of(worker)
        doomed |= {one for one in map(identity, family([keeper] if keeper else [])) if one}
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
            of = {name if name != "worker" else "launcher": process.pid, "worker": worker, "keeper": _keeper_of(worker)}
            for what, pid in of.items():
                if pid:
                    weights[what] = max(weights.get(what, 0), _resident_kb(pid))
        self._soak.chaos.add("memory", **weights)


class Weather:
    """Takes Valkey away: frozen, or killed and started again; and makes it forget the scripts."""

    def __init__(self, soak: Soak, fleet: Fleet) -> None:
        self._soak, self._server = soak, fleet.redis

    def work(self) -> None:
        """Do the plan."""
        for action in self._soak.actions("store"):
            if not self._soak.wait_for(action.at_s):
                return
            from_us = now_us()
            if action.what == "flush_scripts":
                with self._server.client() as client:
                    client.script_flush()
                self._soak.chaos.add("flush_scripts")
                continue
            if action.what == "freeze":
                self._server.freeze()
                self._soak.calm.wait(action.args["for_s"])
                self._server.thaw()
            else:
                self._server.kill()
                self._server.start()
            self._soak.chaos.add("away", of="store", how=action.what, from_us=from_us, to_us=now_us())


class Clients:
    """Those who trigger, stop, rerun and repeat. Two threads share one plan."""

    def __init__(self, soak: Soak, fleet: Fleet) -> None:
        self._soak, self._fleet = soak, fleet
        self._todo = iter(list(enumerate(soak.actions("client"))))
        self._lock = threading.Lock()
        self._asks: list[tuple[str, dict[str, Any], str, str]] = []
        self._run = uuid.uuid4().hex[:8]

    def work(self) -> None:
        """Do the plan."""
        with _client(self._fleet) as http:
            while True:
                with self._lock:
                    n, action = next(self._todo, (0, None))
                if action is None or not self._soak.wait_for(action.at_s):
                    return
                getattr(self, "_" + action.what)(http, n, **action.args)

    def _trigger(
        self, http: httpx.Client, n: int, task: str, body: dict[str, Any], key: bool, hasty: bool, times: int
    ) -> None:
        for time_ in range(times):
            ask = f"{n}.{time_}"
            made = (
                f"/api/tasks/{task}/run",
                {**body, "labels": {"ask": ask}},
                f"{self._run}-{ask}" if key else "",
                ask,
            )
            if key:
                self._asks.append(made)
            self._post(http, *made, hasty=hasty)

    def _repeat(self, http: httpx.Client, n: int, pick: int) -> None:
        if self._asks:
            self._post(http, *self._asks[pick % len(self._asks)])

    def _stop(self, http: httpx.Client, n: int, pick: int, force: bool) -> None:
        run = self._some(http, pick, "pending,running")
        if run:
            self._post(http, f"/api/runs/{run['id']}/stop" + ("?force=true" if force else ""), None, "", "")

    def _stop_execution(self, http: httpx.Client, n: int, pick: int) -> None:
        run = self._some(http, pick, "running")
        if run and run["task_name"] != "backlog":
            self._post(http, f"/api/executions/{run['execution_id']}/stop", None, "", "")

    def _rerun(self, http: httpx.Client, n: int, pick: int) -> None:
        run = self._some(http, pick, "ended")
        if run and run["task_name"] in RUN_AGAIN:
            self._post(http, f"/api/runs/{run['id']}/rerun", None, "", run.get("labels", {}).get("ask", ""))

    def _some(self, http: httpx.Client, pick: int, status: str) -> dict[str, Any] | None:
        with contextlib.suppress(httpx.HTTPError):
            answer = http.get("/api/runs", params={"status": status, "limit": 30})
            if answer.status_code == 200:
                runs: list[dict[str, Any]] = answer.json()["runs"]
                return runs[pick % len(runs)] if runs else None
        return None

    def _post(
        self, http: httpx.Client, path: str, body: dict[str, Any] | None, key: str, ask: str, *, hasty: bool = False
    ) -> None:
        """
        Ask once; with a key again until there is an answer. Every attempt is noted, ``status`` 0 when none came.

        A hasty one does not wait for its first answer.
        """
        while True:
            sent_us = now_us()
            status, run = 0, None
            try:
                answer = http.post(
                    path,
                    json=body,
                    headers={"Idempotency-Key": key} if key else {},
                    timeout=0.003 if hasty else 8,
                )
                status, run = answer.status_code, answer.json()
            except (httpx.HTTPError, ValueError):
                pass
            self._soak.answers.add("post", path=path, key=key, ask=ask, sent_us=sent_us, status=status, answer=run)
            if (status and status < 500) or not key or self._soak.over.is_set():
                return
            hasty = False
            self._soak.over.wait(0.2)


class Witness:
    """Looks at the records while they change, and at everything when nothing changes any more."""

    def __init__(self, soak: Soak, fleet: Fleet) -> None:
        self._soak, self._fleet = soak, fleet
        self._seen: set[str] = set()

    def watch(self) -> None:
        """Keep each record as it is when it is first seen to have ended, and what the store weighs."""
        with _client(self._fleet) as http:
            while not self._soak.over.wait(0.7):
                with contextlib.suppress(httpx.HTTPError, redis.RedisError):
                    answer = http.get("/api/runs", params={"status": "ended", "limit": 300})
                    for record in answer.json()["runs"] if answer.status_code == 200 else ():
                        if record["id"] not in self._seen:
                            self._seen.add(record["id"])
                            self._soak.answers.add("first_end", record=record)
                    with self._fleet.redis.client() as client:
                        self._soak.chaos.add("memory", store=client.info("memory")["used_memory"] // 1024)

    def see_drained(self) -> None:
        """Pause the schedule and wait until nothing is live any more; says whether that came true."""
        with _client(self._fleet) as http:
            # What is owed is made first: the ticks of a pause are not missed ones, whoever was late.
            calm = datetime.now(UTC).isoformat()
            wait_until(lambda: _last_tick(http) > calm, "the schedule has caught up", DRAIN_S)
            self._soak.chaos.add("paused")
            wait_until(lambda: _answers(http, "POST", "/api/tasks/tick/pause"), "the schedule is paused", DRAIN_S)
            drained = True
            try:
                wait_until(lambda: _live(http) == 0, "all runs have ended", self._soak.drain_s)
            except AssertionError:
                drained = False
            self._soak.chaos.add("drained_all", drained=drained)

    def save(self) -> None:
        """All records and logs by the API, and all that the store holds by plain commands."""
        with _client(self._fleet) as http:
            cursor, records = "o0", []
            while cursor:
                query = {"limit": "500", "sort_field": "created_at", "sort_direction": "asc", "cursor": cursor}
                page = http.get("/api/runs", params=query).json()
                records += page["runs"]
                cursor = page.get("next_cursor", "")
            for record in records:
                self._soak.answers.add("final", record=record)
                log = http.get(f"/api/runs/{record['id']}/log", params={"limit": 10000}).json()
                self._soak.answers.add("log", run=record["id"], **{k: v for k, v in log.items() if k != "$schema"})
        with (
            self._fleet.redis.client() as client,
            contextlib.closing(Recorder(self._soak.folder / "store.jsonl")) as to,
        ):
            for key in client.scan_iter(PREFIX + b"*", count=1000):
                held = _held(client, key)
                if held is not None:
                    to.add("key", key=key[len(PREFIX) :].decode("latin-1"), held=held)


def _held(client: Any, key: bytes) -> Any:
    """What a key of interest holds, in text; None for the others."""
    name = key[len(PREFIX) :]
    if name == b"leases" or name == b"due" or name.startswith((b"queue:", b"gate:")):
        return [_id(member) for member in client.zrange(key, 0, -1)] if client.type(key) == b"zset" else []
    if name.startswith(b"plans:"):
        return [_id(member) for member in client.smembers(key)]
    if name.startswith(b"exec:"):
        return [_id(name[5:])]
    if name == b"events":
        return [
            [fields[b"type"].decode(), _id(fields[b"run"]), fields[b"data"].decode()]
            for _, fields in client.xrange(key)
        ]
    return None


def _id(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw)) if len(raw) == 16 else raw.decode("latin-1")


def _client(fleet: Fleet) -> httpx.Client:
    return httpx.Client(base_url=fleet.http.base_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=8)


def _answers(http: httpx.Client, method: str, path: str) -> bool:
    try:
        return http.request(method, path).is_success
    except httpx.HTTPError:
        return False


def _last_tick(http: httpx.Client) -> str:
    """The newest tick that has a run; "" when there is none, or no answer."""
    try:
        answer = http.get("/api/tasks/tick/runs", params={"limit": 20})
        return max((run.get("scheduled_for", "") for run in answer.json()["runs"]), default="")
    except (httpx.HTTPError, KeyError):
        return ""


def _live(http: httpx.Client) -> int:
    try:
        answer = http.get("/api/runs", params={"status": "pending,running", "limit": 1})
        return int(answer.json()["total"]) if answer.status_code == 200 else -1
    except httpx.HTTPError:
        return -1


def _process_of(launcher: Process) -> int | None:
    """The worker process of a launcher, if it has one now."""
    return next((pid for pid in _children(launcher.pid) if "--process" in command_line(pid)), None)


def _keeper_of(worker: int | None) -> int | None:
    return next((pid for pid in _children(worker) if "keeper.py" in command_line(pid)), None) if worker else None


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
