"""
The data folder of ``runfleet up`` (``.runfleet/``): the store's files, the secret, the token and a lock.

Only one ``up`` may use a folder. The lock is a ``flock`` on ``lock``, so it ends with the processes that hold it. The
orphan guard holds it too, so that no other ``up`` starts while the processes of a killed one are still ending.
"""

import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from shared.cli import valkey_server
from shared.errors import Misconfigured

SOCKET_PATH_MAX: Final = 100
"""Maximum length of a Unix socket's path, in bytes (macOS allows 104, Linux 108, both with the final zero)."""


class DataFolder:
    """A data folder. It is created if it is missing, and only its owner has access."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.lock_fd = -1
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o700)  # created by hand, perhaps; it holds the secret and all data
            (self.path / ".gitignore").write_text("*\n")
        except OSError as error:
            raise Misconfigured(
                f"{path} cannot be written ({error.strerror}); choose another data folder with --data"
            ) from None

    def lock(self, *, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Lock the folder for this process until it ends.

        Waits up to *patience_s* for the processes of an ``up`` that has ended. Raises Misconfigured, with the holder,
        if one is running.
        """
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = clock() + patience_s
        while not _try_lock(fd):
            holder = self.holder()
            pid = holder.get("pid", 0)
            if (isinstance(pid, int) and _is_alive(pid)) or clock() > deadline:
                os.close(fd)
                raise Misconfigured(
                    f"runfleet up is already running here: process {pid}, {holder.get('url') or 'still starting'}, "
                    f"data in {self.path}. Stop it with `kill {pid}`, or start another one with --data and --port."
                )
            time.sleep(0.1)  # flock has no wait with a deadline
        self.lock_fd = fd
        self.announce("")

    def missing(self) -> str:
        """
        Name a missing file of a folder with an own store; "" if none is missing, or the disk does not answer.

        The lock also counts as missing when it is a different file, because the folder was then replaced.
        """
        try:
            ours, there = os.fstat(self.lock_fd), os.stat(self.path / "lock")
            (self.path / valkey_server.APPENDED).stat()
        except FileNotFoundError as error:
            return Path(error.filename).name
        except OSError:  # a disk error may be temporary
            return ""
        return "" if os.path.samestat(ours, there) else "lock"

    def announce(self, url: str, redis: str = "") -> None:
        """
        Record the holder of the folder, and the addresses of its API and Redis ("" for an own store).

        This is only for information, so a full disk is ignored.
        """
        text = json.dumps({"pid": os.getpid(), "url": url, "redis": redis}).encode()
        with suppress(OSError):
            os.pwrite(self.lock_fd, text, 0)
            os.ftruncate(self.lock_fd, len(text))

    def holder(self) -> dict[str, object]:
        """The record of the last holder: ``pid``, ``url`` and ``redis``; empty when there was none."""
        try:
            read = json.loads((self.path / "lock").read_text())
        except (OSError, ValueError):
            return {}
        return read if isinstance(read, dict) else {}

    def is_in_use(self) -> bool:
        """Whether an ``up`` (or its remaining processes) uses the folder now."""
        try:
            fd = os.open(self.path / "lock", os.O_RDWR)
        except OSError:
            return False
        try:
            return not _try_lock(fd)
        finally:
            os.close(fd)

    def keep(self, name: str, make: Callable[[], str]) -> str:
        """The text of file *name*; if it is missing, *make* creates the text, readable by the owner only."""
        path = self.path / name
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            text = path.read_text().strip()
            if text:
                return text
            fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        text = make()
        with os.fdopen(fd, "w") as file:
            file.write(text + "\n")
        return text

    def kept(self, name: str) -> str:
        """The text of file *name*; "" when it is missing or cannot be read. Creates nothing."""
        try:
            return (self.path / name).read_text().strip()
        except (OSError, ValueError):
            return ""

    def secret(self) -> str:
        """The secret that signs definitions, the same over restarts."""
        return self.keep("secret", lambda: secrets.token_hex(32))

    def token(self) -> str:
        """The bootstrap token of the API, the same over restarts."""
        return self.keep("token", lambda: "rf_" + secrets.token_urlsafe(24))

    def header(self, token: str) -> Path:
        """A file for `curl -H @file`: the header that carries *token*, for the owner only."""
        path = self.path / "header"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(f"Authorization: Bearer {token}\n")
        return path

    def socket(self) -> Path:
        """The socket of the store: in the folder, or in a private temporary one if that path is too long."""
        path = self.path / "valkey.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        digest = sha256(os.fsencode(self.path)).hexdigest()[:12]
        private = Path(tempfile.gettempdir()) / f"runfleet-{os.getuid()}-{digest}"
        private.mkdir(mode=0o700, exist_ok=True)
        if private.stat().st_uid != os.getuid() or private.is_symlink():
            raise Misconfigured(f"{private} belongs to another user; choose a data folder with a shorter path (--data)")
        return private / "valkey.sock"


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
