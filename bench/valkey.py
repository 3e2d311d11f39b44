"""A Valkey of one measurement: on a Unix socket and a loopback port of its own, nothing on disk, ended with it."""

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from shared.cli.valkey_server import ask, find_server
from shared.settings import Settings

PREFIX = "{bench}"


class Valkey:
    """Starts when made; use it as a context manager. Nothing is persisted, so that the disk is not measured."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "valkey.sock"
        self.port = free_port()
        self.url = f"unix://{self.path}"
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.path),
            "dir": str(folder),
            "save": "",
            "appendonly": "no",
            "latency-tracking": "no",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        self._process = subprocess.Popen([find_server(), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end_s = time.monotonic() + 10
        while ask(self.path, "PING") != "+PONG":
            if time.monotonic() > end_s or self._process.poll() is not None:
                raise RuntimeError(f"the Valkey of this measurement did not start in {folder}")
            time.sleep(0.01)  # a poll until it answers
        self.client = redis.Redis(unix_socket_path=str(self.path))

    def settings(self) -> Settings:
        """Settings that lead here."""
        return Settings(redis_url=self.url, key_prefix=PREFIX, redis_timeout_s=60.0)

    def ask(self, *words: str) -> Any:
        """The answer to one command."""
        return self.client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py has no types here

    def info(self, section: str) -> dict[str, Any]:
        """A section of what the server says of itself."""
        found: Any = self.client.info(section)
        return dict(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    """A loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
