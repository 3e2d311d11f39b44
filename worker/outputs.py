"""What a run hands on: the lines of its output file, and what a callable returned."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any, Final

import msgspec

from worker.process import Exit
from worker.tapes import Tape

OUTPUT_KEYS: Final = 64
OUTPUT_CHARACTERS: Final = 4096
RETURN_BYTES: Final = 256 * 1024


def collect(path: str, exit_: Exit | None, tape: Tape | None) -> dict[str, Any]:
    """``key=value`` lines of the output file and what a callable returned; what is too much is said in the log."""
    found: dict[str, Any] = {}
    if exit_ is not None and exit_.result is not None:
        if len(exit_.result) <= RETURN_BYTES:
            found["return"] = msgspec.json.decode(exit_.result)
        elif tape is not None:
            tape.system(f"the returned value was left out: its JSON has more than {RETURN_BYTES // 1024} KiB")
    for line in _read(path).splitlines():
        key, equals, value = line.partition("=")
        if not equals or not key.strip():
            continue
        if len(found) >= OUTPUT_KEYS or len(value) > OUTPUT_CHARACTERS:
            if tape is not None:
                tape.system(f"output {key[:100]} was left out: at most {OUTPUT_KEYS} of {OUTPUT_CHARACTERS} characters")
            continue
        found[key.strip()[:100]] = value
    return _masked(found, tape)


def _read(path: str) -> str:
    """The text of the file, "" when there is none; what the run put there instead of a file is not opened."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(fd, "rb") as file:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        text = file.read(OUTPUT_KEYS * (OUTPUT_CHARACTERS * 4 + 256)).decode(errors="replace") if regular else ""
    with contextlib.suppress(OSError):
        os.unlink(path)
    return text


def _masked(found: dict[str, Any], tape: Tape | None) -> dict[str, Any]:
    return {key: tape.mask(value) for key, value in found.items()} if tape is not None else found
