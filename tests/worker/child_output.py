"""Reads a child to its end, as the watch loop of the worker would."""

import os
import select
import time
from pathlib import Path
from typing import NamedTuple

from worker.processes.handle import Exit, ProcessHandle


class Ended(NamedTuple):
    """What a child printed and how it ended."""

    exit: Exit
    stdout: str
    stderr: str


def read_to_end(child: ProcessHandle, timeout_s: float = 15.0) -> Ended:
    """Wait for the start, the end and the last output of *child*, then close it."""
    text = {child.stdout_fd: b"", child.stderr_fd: b""}
    open_fds = set(text)
    deadline = time.monotonic() + timeout_s
    try:
        child.started()
        text = {child.stdout_fd: b"", child.stderr_fd: b""}
        open_fds = set(text)
        ended = child.read_exit()
        while ended is None or open_fds:
            assert time.monotonic() < deadline, f"no end after {timeout_s:g} s; so far {ended} {text}"
            waiting = [*open_fds] if ended else [*open_fds, child.control_fd]
            for fd in select.select(waiting, [], [], 1)[0]:
                if fd == child.control_fd:
                    ended = child.read_exit()
                elif chunk := os.read(fd, 65536):
                    text[fd] += chunk
                else:
                    open_fds.discard(fd)
        return Ended(ended, _text(text[child.stdout_fd]), _text(text[child.stderr_fd]))
    finally:
        child.close()


def _text(printed: bytes) -> str:
    return printed.decode("utf-8", "surrogateescape")


def read_line(fd: int, timeout_s: float = 10.0) -> str:
    """The next line (or what is there) of a pipe."""
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([fd], [], [], timeout_s)[0], f"no line in {timeout_s:g} s; so far {line!r}"
        byte = os.read(fd, 1)
        if not byte:
            break
        line += byte
    return line.decode().rstrip("\n")


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
