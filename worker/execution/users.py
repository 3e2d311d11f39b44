"""Other operating-system users for runs: which are allowed, and which rights the worker needs."""

import contextlib
import grp
import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from shared.errors import Misconfigured
from shared.tasks import Task
from worker.execution.environment import Unprepared

_CAPABILITIES: Final = {"CHOWN": 0, "KILL": 5, "SETGID": 6, "SETUID": 7}


class Account(NamedTuple):
    """An operating-system user; ``groups`` are all of its groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that describe the user."""
        return {"USER": self.name, "LOGNAME": self.name, "HOME": self.home, "SHELL": self.shell}

    @property
    def ids(self) -> tuple[str, int, int, tuple[int, ...]]:
        """Name, ids and groups, as a process is started with them."""
        return self.name, self.uid, self.gid, self.groups


def account(task: Task, allowed: Sequence[str]) -> Account | None:
    """
    The user for runs of *task*, None for the worker's own.

    Raises Unprepared for a user that is not *allowed* or does not exist, and when this worker may not change users.
    """
    name = task.user
    if name is None:
        return None
    if name not in allowed:
        raise Unprepared(f"task {task.name} has user = {name}, which RUNFLEET_RUN_USERS of this worker does not list")
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise Unprepared(f"task {task.name} has user = {name}, which does not exist on this worker's machine") from None
    if found.pw_uid != os.geteuid() and (missing := _missing()):
        raise Unprepared(
            f"task {task.name} has user = {name}, but this worker may not change users: "
            f"it needs root, or the capabilities {', '.join(missing)}"
        )
    groups = {found.pw_gid, *(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)}
    return Account(name, found.pw_uid, found.pw_gid, tuple(sorted(groups)), found.pw_dir, found.pw_shell or "/bin/sh")


def check(names: Sequence[str]) -> None:
    """
    Check that this process can execute runs as the users *names* of RUNFLEET_RUN_USERS.

    Raises Misconfigured, with the cure, when a user does not exist or this process may not switch to it.
    """
    for name in names:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            raise Misconfigured(
                f"RUNFLEET_RUN_USERS lists the user {name}, which does not exist on this machine: create or remove it"
            ) from None
        if found.pw_uid != os.geteuid() and (missing := _missing()):
            raise Misconfigured(
                f"RUNFLEET_RUN_USERS lists the user {name}, but this worker may not change users: start it as root or "
                f"with the capabilities {', '.join(missing)}, or remove {name}"
            )


def make_output(path: str, user: Account) -> None:
    """Create the output file of a run as *user*, who owns it. Raises Unprepared."""
    try:
        os.chmod(os.path.dirname(path), 0o711)  # reachable, but not listable or writable
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # left by a failed start of the same run
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.fchown(fd, user.uid, user.gid)
        finally:
            os.close(fd)
    except OSError as error:
        raise Unprepared(f"the file for the outputs of a run as {user.name} cannot be created: {error}") from None


def _missing() -> list[str]:
    """The capabilities that this process lacks to start and end processes of another user."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        held = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    except (OSError, StopIteration):  # not Linux
        held = -1 if os.geteuid() == 0 else 0
    return [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
