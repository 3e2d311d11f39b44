"""
The data folder of ``runfleet up`` (``.runfleet/``): the store's files, the secret, the token, and who is using it.

Only one ``up`` may use a folder. The lock is a ``flock`` on ``lock``, so it ends with its holders, however they end;
the orphan guard holds it too, so that nobody starts while the processes of a killed ``up`` are still winding down.
"""

from __future__ import annotations

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
"""Bytes of a Unix socket's path that every platform takes (macOS allows 104, Linux 108, both with the final zero)."""


class DataFolder:
    """One data folder, made if it is not there. Whether or not, it is its owner's only from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.lock_fd = -1
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o700)  # made by an earlier release, or by hand: the secret and all data are in it
            (self.path / ".gitignore").write_text("*\n")
        except OSError as error:
            raise Misconfigured(
                f"{path} cannot be written ({error.strerror}); choose another data folder with --data"
            ) from None

    def lock(self, *, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Take the folder for this process until it ends.

        Waits up to *patience_s* for the leftovers of an ``up`` that is gone itself. Raises Misconfigured, naming the
        holder, when one is running.
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
        What of it is no longer there under its path, with a store of our own in it; "" when all is, or nobody can tell.

        The lock counts as missing, too, when it is another one: somebody has made the folder anew.
        """
        try:
            ours, there = os.fstat(self.lock_fd), os.stat(self.path / "lock")
            (self.path / valkey_server.APPENDED).stat()
        except FileNotFoundError as error:
            return Path(error.filename).name
        except OSError:  # a disk that does not answer well: what is on it may come back
            return ""
        return "" if os.path.samestat(ours, there) else "lock"

    def announce(self, url: str, redis: str = "") -> None:
        """
        Write down who holds the folder, where its API is, and where its Redis is ("" for a store of its own).

        It is for people who ask later: a disk that is full ends nothing.
        """
        text = json.dumps({"pid": os.getpid(), "url": url, "redis": redis}).encode()
        with suppress(OSError):
            os.pwrite(self.lock_fd, text, 0)
            os.ftruncate(self.lock_fd, len(text))

    def holder(self) -> dict[str, object]:
        """What the last holder wrote: ``pid``, ``url`` and ``redis``; empty when nobody ever did."""
        try:
            read = json.loads((self.path / "lock").read_text())
        except (OSError, ValueError):
            return {}
        return read if isinstance(read, dict) else {}

    def is_in_use(self) -> bool:
        """Whether an ``up`` (or what is left of one) uses the folder now."""
        try:
            fd = os.open(self.path / "lock", os.O_RDWR)
        except OSError:
            return False
        try:
            return not _try_lock(fd)
        finally:
            os.close(fd)

    def keep(self, name: str, make: Callable[[], str]) -> str:
        """The text of file *name*; made by *make* and written for the owner only when it is not there yet."""
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
        """The text of file *name*; "" when it is not there, or cannot be read. Makes nothing."""
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
        """Where the store listens: in the folder, or in a private temporary one if that path is too long."""
        path = self.path / "valkey.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        digest = sha256(os.fsencode(self.path)).hexdigest()[:12]
        private = Path(tempfile.gettempdir()) / f"runfleet-{os.getuid()}-{digest}"
        private.mkdir(mode=0o700, exist_ok=True)
        if private.stat().st_uid != os.getuid() or private.is_symlink():
            raise Misconfigured(
                f"{private} belongs to somebody else; choose a data folder with a shorter path (--data)"
            )
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
