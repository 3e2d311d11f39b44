"""
A whole fleet for a test: a Valkey of its own and the processes of the ``Procfile``, on a free port, in a folder.

Whatever it starts carries ``FLEET_MARK`` in its environment, and so do the processes of runs (which get nothing named
``RUNFLEET_``); at the end nothing with the mark, and nothing that was ever seen to descend from it, may be left.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx
import redis

from shared import ops
from shared.cli.valkey_server import find_server
from shared.config import read_config
from shared.isolation import isolated
from shared.settings import Settings
from shared.signing import Keys
from shared.store import open_store
from shared.store.redis.sync_store import Store
from tests.system.processes import Identity, command_line, family, identity, is_alive, marked, send
from tests.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
TOKEN: Final = "rf_system_tests_0123456789"
SECRET: Final = "a secret of the system tests, which Redis never sees"
START_S: Final = 40.0

Json = dict[str, Any]


def procfile() -> dict[str, list[str]]:
    """The process types of the ``Procfile`` and their commands, run by this very interpreter."""
    found = {}
    for line in (ROOT / "Procfile").read_text().splitlines():
        name, _, text = line.partition(":")
        python, *words = shlex.split(text)
        assert python == "python", line
        found[name] = [sys.executable, "-P", *words]
    return found


class Process:
    """One started process of the Procfile, leader of a session of its own; what it says goes to a file."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], folder: Path) -> None:
        self.name = name
        self._log = folder / f"{name}-{uuid.uuid4().hex[:6]}.log"
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.pid = self.popen.pid

    def said(self) -> str:
        """All it has said so far."""
        return self._log.read_text(errors="replace")

    def events(self, event: str) -> list[str]:
        """The lines in which it reported *event*."""
        return [line for line in self.said().splitlines() if f"event={event}" in line]

    def wait_for(self, event: str, timeout_s: float = START_S) -> str:
        """The first line in which it reports *event*."""

        def first() -> str:
            assert self.popen.poll() is None, f"{self.name} ended with {self.popen.returncode}:\n{self.said()}"
            return next(iter(self.events(event)), "")

        return wait_until(first, f"{self.name} reports {event}", timeout_s)

    def wait_for_any(self, *events: str, timeout_s: float = START_S) -> str:
        """The first line in which it reports one of *events*."""

        def first() -> str:
            assert self.popen.poll() is None, f"{self.name} ended with {self.popen.returncode}:\n{self.said()}"
            return next((line for event in events for line in self.events(event)), "")

        return wait_until(first, f"{self.name} reports {' or '.join(events)}", timeout_s)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal it and its process group, as platforms do that stop a container."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL it, and only it."""
        self.popen.kill()
        self.popen.wait()

    def wait(self, timeout_s: float = 30.0) -> int:
        """Its exit code, once it has ended."""
        return self.popen.wait(timeout_s)

    def worker_process(self) -> int:
        """The process id of the (first) worker process that this launcher has now."""

        def child() -> int:
            pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            return next((int(pid) for pid in pids if "--process" in command_line(int(pid))), 0)

        return wait_until(child, "the launcher has a worker process")

    def spawner(self) -> int:
        """The process id of the spawner of its worker process."""
        worker = self.worker_process()
        return wait_until(
            lambda: next((pid for pid in family([worker]) if "worker/spawner " in f"{command_line(pid)} "), 0),
            "there is a spawner",
        )


class Server:
    """
    The fleet's Valkey: append-only file on, reached by a unix socket whose path is short enough for one.

    *options* are words of its command line; they win over ours.
    """

    def __init__(self, folder: Path, mark: str, options: tuple[str, ...] = ()) -> None:
        self._options = options
        self.socket = Path(tempfile.mkdtemp(prefix="rf-")) / "s"
        self._folder = folder
        self._env = os.environ | {"FLEET_MARK": mark}
        self.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, with the data it had, and wait until it answers."""
        command = [find_server(), "--port", "0", "--unixsocket", self.socket, "--dir", self._folder]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", *self._options]
        self.popen = subprocess.Popen(
            [str(word) for word in command],
            env=self._env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            restore_signals=False,  # SIGXFSZ is ignored: a file that may not grow is an error, as on a full disk
        )
        wait_until(self._answers, "Valkey answers")

    def freeze(self) -> None:
        """SIGSTOP: connections stand, nothing answers."""
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.popen.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        self.popen.kill()
        self.popen.wait()

    def close(self) -> None:
        """End it for good."""
        self.kill()
        shutil.rmtree(self.socket.parent, ignore_errors=True)

    def client(self) -> redis.Redis:
        """A connection for the test itself; to be closed."""
        return redis.Redis(unix_socket_path=str(self.socket))

    def written(self) -> bytes:
        """Every byte that it ever wrote to its disk."""
        return b"".join(
            path.read_bytes() for path in self._folder.rglob("*") if "append" in str(path) and path.is_file()
        )

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class Fleet:
    """
    Processes and how to talk to them. A context manager: at its end all is ended, and that nothing is left is asserted.

    ``history`` is a file that the commands of tasks may write to (``$HISTORY``), because in questions of what ran when,
    the system's own records are not to be trusted.
    """

    def __init__(
        self,
        folder: Path,
        tasks: str,
        *,
        grace_s: float = 3.0,
        threads: int = 8,
        redis_options: tuple[str, ...] = (),
        **env: str,
    ) -> None:
        self.folder = folder
        self.mark = f"FLEET_MARK={uuid.uuid4().hex}"
        self.history = folder / "history"
        self.history.touch()
        self.processes: list[Process] = []
        self.through: tuple[str, ...] = ()
        """Words that go before the command of a process."""
        self._seen: set[Identity] = set()
        self._url = ""
        (folder / "valkey").mkdir()
        self.redis = Server(folder / "valkey", self.mark.partition("=")[2], redis_options)
        self.temporary = self.redis.socket.with_name(
            "tmp"
        )  # of a killed worker something stays: it goes with the fleet
        self.temporary.mkdir()
        self.env = {
            **isolated(_without_settings(os.environ)),
            "FLEET_MARK": self.mark.partition("=")[2],
            "HISTORY": str(self.history),
            "TMPDIR": str(self.temporary),
            "RUNFLEET_REDIS_URL": self.redis.url,
            "RUNFLEET_TOKEN": TOKEN,
            "RUNFLEET_SECRET": SECRET,
            "RUNFLEET_PORT": "0",
            "RUNFLEET_CONFIG": str(folder / "runfleet.toml"),
            "RUNFLEET_SHUTDOWN_GRACE": f"{grace_s:g}",
            "RUNFLEET_WORKER_THREADS": str(threads),
            "RUNFLEET_QUEUES": "default,aside",
            **env,
        }
        (folder / "runfleet.toml").write_text(tasks)
        self.http = httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=15)
        self.store: Store = open_store(Settings(redis_url=self.redis.url))

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._end(quiet=error is not None)

    def tell(self) -> None:
        """Print what its processes have said last, for the report of a failed test."""
        for process in self.processes:
            print(f"--- {process.name} {process.pid}\n{process.said()[-6000:]}")  # noqa: T201  # pytest shows it

    # Processes

    def start(self, *names: str, **env: str) -> list[Process]:
        """Start processes of the Procfile (``web``, ``worker``, ``scheduler``) and wait until each of them serves."""
        started = [self.launch(name, **env) for name in names]
        for process in started:
            if process.name == "web":
                found = re.search(r"port=(\d+)", process.wait_for("api.started"))
                assert found
                self.env["RUNFLEET_PORT"] = found[1]  # it comes back where it was
                self.http.base_url = httpx.URL(f"http://127.0.0.1:{found[1]}")
            elif process.name == "worker":
                process.wait_for("worker.started")
            elif process.name == "scheduler":
                process.wait_for_any("scheduler.standby", "definitions.applied", "definitions.left_alone")
        self.look()
        return started

    def launch(self, name: str, **env: str) -> Process:
        """Start a process of the Procfile and wait for nothing."""
        self.processes.append(Process(name, [*self.through, *procfile()[name]], self.env | env, self.folder))
        return self.processes[-1]

    def start_all(self, *, workers: int = 1) -> Fleet:
        """Start the API, a scheduler and workers."""
        self.start("web", "scheduler", *["worker"] * workers)
        wait_until(lambda: len(self.workers()) >= workers, "the workers have said who they are")
        return self

    def of(self, name: str) -> Process:
        """The first process of a type that has not ended."""
        return next(process for process in self.processes if process.name == name and process.popen.poll() is None)

    def look(self) -> set[Identity]:
        """All processes of this fleet and of its runs that live now; remembered, so that the end can ask for them."""
        pids = marked(self.mark) | family([process.pid for process in self.processes if process.popen.poll() is None])
        found = {one for one in map(identity, pids) if one is not None}
        self._seen |= found
        return found

    def run_processes(self, run_id: str) -> set[Identity]:
        """The live processes that were started for a run, told by their environment."""
        found = {identity(pid) for pid in marked(f"RUNFLEET_RUN_ID={run_id}")}
        alive = {one for one in found if one is not None}
        self._seen |= alive
        return alive

    # The API

    def get(self, path: str, **query: Any) -> Json:
        """GET, which must answer 200."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def post(self, path: str, body: Json | None = None, *, key: str = "") -> Json:
        """POST, which must succeed; with *key* as idempotency key unless that is empty."""
        answer = self.http.post(path, json=body, headers={"Idempotency-Key": key} if key else {})
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found

    def trigger(self, task: str, **body: Any) -> Json:
        """Start a task; its run as it is at first."""
        return self.post(f"/api/tasks/{task}/run", body)

    def run(self, run_id: str) -> Json:
        """A run as it is now."""
        return self.get(f"/api/runs/{run_id}")

    def started(self, run: Json, timeout_s: float = 10.0) -> Json:
        """The run, once a worker has it."""
        return wait_until(lambda: _if(self.run(run["id"]), "running"), f"{run['task_name']} runs", timeout_s)

    def ended(self, run: Json, timeout_s: float = 20.0) -> Json:
        """The run, once it has ended."""
        return wait_until(lambda: _if(self.run(run["id"]), "ended"), f"{run['task_name']} has ended", timeout_s)

    def perform(self, task: str, **body: Any) -> Json:
        """Start a task and wait until its run has ended."""
        return self.ended(self.trigger(task, **body))

    def over(self, run: Json, timeout_s: float = 20.0) -> Json:
        """The execution of *run*, once it is over."""

        def execution() -> Json:
            found = self.get(f"/api/executions/{run['execution_id']}")
            return found if found["over"] else {}

        return wait_until(execution, f"the execution of {run['task_name']} is over", timeout_s)

    def runs(self, **query: Any) -> list[Json]:
        """Runs by any filter of the API, the oldest first."""
        found = self.get("/api/runs", limit=1000, sort_field="created_at", sort_direction="asc", **query)["runs"]
        return list(found)

    def chain(self, run: Json) -> list[Json]:
        """All runs of a run's execution, the oldest first."""
        return self.runs(execution_id=run["execution_id"])

    def chain_of(self, run: Json, count: int, timeout_s: float = 20.0) -> list[Json]:
        """All runs of a run's execution, once there are *count* and all of them have ended."""

        def whole() -> list[Json]:
            found = self.chain(run)
            return found if len(found) >= count and all(one["status"] == "ended" for one in found) else []

        return wait_until(whole, f"{run['task_name']} has {count} ended runs", timeout_s)

    def log(self, run: Json) -> list[str]:
        """The lines of a run's log, those of the system too."""
        return [line["text"] for line in self.get(f"/api/runs/{run['id']}/log", limit=10000)["lines"]]

    def workers(self) -> list[Json]:
        """The worker processes that are there."""
        return [worker for worker in self.get("/api/workers")["workers"] if worker["alive"]]

    # The rest

    def apply(self, tasks: str) -> None:
        """Make these the tasks of the fleet."""
        path = self.folder / "runfleet.toml"
        path.write_text(tasks)
        self.store.run(ops.apply_config(read_config(path, self.env), Keys(SECRET), allow_removals=True))

    def wrote(self, *words: str) -> list[list[str]]:
        """The lines of the history whose first words these are, split."""
        lines = [line.split() for line in self.history.read_text().splitlines()]
        return [line for line in lines if line[: len(words)] == list(words)]

    def wait_for_word(self, *words: str, timeout_s: float = 10.0) -> list[str]:
        """The first line of the history that begins with these words, once it is there."""
        return wait_until(lambda: self.wrote(*words), f"a run wrote {' '.join(words)}", timeout_s)[0]

    def _end(self, *, quiet: bool) -> None:
        """End exactly what was started here, politely first; then nothing may be left."""
        try:
            self.http.close()
            self.store.close()
            self.look()
            alive = [process for process in self.processes if process.popen.poll() is None]
            for process in alive:
                process.popen.send_signal(signal.SIGTERM)
                process.popen.send_signal(signal.SIGCONT)
            end_s = time.monotonic() + float(self.env["RUNFLEET_SHUTDOWN_GRACE"]) + 8
            for process in alive:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.1, end_s - time.monotonic()))
            stuck = [process.name for process in alive if process.popen.poll() is None]
            self.redis.close()
            if not quiet:
                assert not stuck, f"did not end: {stuck}\n" + "\n".join(process.said() for process in alive)
                wait_until(lambda: not self._left(), f"nothing is left, but there is {self._left()}", 3)
        finally:
            send([one.pid for one in self.look() | self._seen if is_alive(one)], signal.SIGKILL)
            for process in self.processes:
                process.popen.wait()
            self.redis.close()

    def _left(self) -> list[str]:
        return [f"{one.pid} {command_line(one.pid)}" for one in self.look() | self._seen if is_alive(one)]


@contextlib.contextmanager
def followed(fleet: Fleet, path: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """Open a stream of server-sent events: gives (event, its data) as they come."""
    with fleet.http.stream("GET", path, timeout=httpx.Timeout(15, read=30)) as answer:
        assert answer.status_code == 200
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def _if(run: Json, status: str) -> Json:
    return run if run["status"] == status else {}


def _without_settings(environ: os._Environ[str]) -> dict[str, str]:
    unwanted = {"REDIS_URL", "REDIS_TLS_URL", "VALKEY_URL", "PORT", "TRACEPARENT"}
    return {name: value for name, value in environ.items() if not name.startswith("RUNFLEET_") and name not in unwanted}
