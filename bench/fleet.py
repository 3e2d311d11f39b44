"""The real processes of one measurement, started as an operator would, and ended with it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from bench.client import Client
from bench.valkey import PREFIX, Valkey, free_port
from shared import ops
from shared.config import read_config
from shared.isolation import command, isolated
from shared.signing import Keys
from shared.store import open_store
from shared.store.redis.call import Operation

T = TypeVar("T")

CHECKOUT = Path(__file__).parents[1]
SECRET = "a secret of this measurement"
START_S = 30.0
END_S = 30.0


class Fleet:
    """
    Processes on one Valkey, with the tasks of *tasks* (the text of a task file) applied. Use it as a context manager.

    Nothing runs until ``start`` is called. Their output goes to files in *folder*.
    """

    def __init__(self, valkey: Valkey, folder: Path, tasks: str = "", *, over_tcp: bool = False) -> None:
        self.valkey = valkey
        self.folder = folder
        self.port = free_port()
        self.store = open_store(valkey.settings())
        self.catalog = ops.Catalog()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._url = f"redis://127.0.0.1:{valkey.port}/0" if over_tcp else valkey.url
        if tasks:
            file = folder / "tasks.toml"
            file.write_text(tasks)
            self.store.run(ops.apply_config(read_config(file, {}), Keys(SECRET, prefix=PREFIX)))

    def start(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start ``api``, ``scheduler`` or ``worker`` with settings of its own, and wait until an API answers."""
        env = isolated(_plain(os.environ)) | {
            "RUNFLEET_REDIS_URL": self._url,
            "RUNFLEET_KEY_PREFIX": PREFIX,
            "RUNFLEET_CONFIG": str(self.folder / "none.toml"),
            "RUNFLEET_PORT": str(self.port),
            "RUNFLEET_SECRET": SECRET,
            "RUNFLEET_OPEN": "on",
            "RUNFLEET_LOG_LEVEL": "warning",
            **environment,
        }
        output = (self.folder / f"{name}.log").open("ab")
        with output:
            process = subprocess.Popen(
                command(name), env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._processes[name] = process
        if name == "api":
            self._until_ready(process)
        elif name == "scheduler":
            wait_until(lambda: self.count("EXISTS", f"{PREFIX}:leader"), "a scheduler leads", START_S)
        return process

    def start_worker(self, processes: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker and wait until all its processes are known to the store."""
        process = self.start("worker", RUNFLEET_WORKER_PROCESSES=str(processes), **environment)
        key = f"{PREFIX}:workers"
        wait_until(lambda: self.count("ZCARD", key) >= processes, f"{processes} worker processes joined", START_S)
        return process

    def stop(self, name: str) -> None:
        """End one of the processes as an operator would. Raises RuntimeError when it had ended by itself."""
        process = self._processes.pop(name)
        if process.poll() is not None:
            words = (self.folder / f"{name}.log").read_text()[-2000:]
            raise RuntimeError(f"the {name} ended by itself, with exit code {process.returncode}: {words}")
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def client(self) -> Client:
        """A connection to the API."""
        return Client(self.port)

    def run(self, operation: Operation[T]) -> T:
        """Make an operation of the product from here, without the API."""
        return self.store.run(operation)

    def count(self, *words: str) -> int:
        """A command's whole number."""
        return int(self.valkey.ask(*words) or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with contextlib.ExitStack() as stack:
                for name in self._processes:
                    stack.callback(self.stop, name)
        finally:
            self.store.close()

    def _until_ready(self, process: subprocess.Popen[bytes]) -> None:
        def is_ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"the API ended: {(self.folder / 'api.log').read_text()[-2000:]}")
            try:
                with self.client() as client:
                    return client.get("/ready")[0] == 200
            except OSError:
                return False

        wait_until(is_ready, "the API is ready", START_S)


def wait_until(predicate: Any, description: str, timeout_s: float = 60.0, pause_s: float = 0.02) -> None:
    """Look every *pause_s* until *predicate* is true. Raises TimeoutError with *description*."""
    end_s = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > end_s:
            raise TimeoutError(f"waited {timeout_s:g} s in vain until {description}")
        time.sleep(pause_s)  # the poll itself; nothing tells when it is true


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _plain(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the caller's own settings."""
    ours = ("RUNFLEET_", "REDIS_", "VALKEY_")
    return {name: value for name, value in environ.items() if not name.startswith(ours) and name != "PORT"}
