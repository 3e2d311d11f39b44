"""The outputs of a run: the lines of its output file and the return value of a callable; masked and limited."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from worker.logs.masking import Mask
    from worker.processes.handle import Exit


OUTPUT_KEYS: Final = 64
OUTPUT_CHARACTERS: Final = 4096
RETURN_BYTES: Final = 256 * 1024
RETURN_DEPTH: Final = 100
"""How deep lists and objects of a returned value may be nested; ``worker/spawner/interpreter.py`` refuses more, too."""

FILE_BYTES: Final = OUTPUT_KEYS * (OUTPUT_CHARACTERS * 4 + 256)

_TEXTS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')


def collect(path: str, exit_: Exit | None, mask: Mask, say: Callable[[str], None]) -> dict[str, Any]:
    """
    Collect the ``key=value`` lines of the output file and a callable's return value, and remove the file.

    *mask* is applied to values and keys, before a line is split. *say* is called with a sentence about omitted outputs.
    """
    found: dict[str, Any] = {}
    if exit_ is not None and exit_.result is not None:
        try:
            found["return"] = mask.value(_decode(exit_.result))
        except ValueError as error:
            say(f"the returned value was left out: {error}")
    raw = _take(path, say)
    if len(raw) > FILE_BYTES:
        raw = raw[:FILE_BYTES].rpartition(b"\n")[0]
        say(f"$RUNFLEET_OUTPUT has more than {FILE_BYTES} bytes: only the lines in the first {FILE_BYTES} were taken")
    unread: list[int] = []
    refused: list[str] = []
    for number, line in enumerate(mask.raw(raw).decode(errors="replace").splitlines(), 1):
        key, equals, value = line.partition("=")
        key = key.strip()[:100]
        if not equals or not key:
            unread += [number] if line.strip() else []
        elif len(value) > OUTPUT_CHARACTERS or (len(found) >= OUTPUT_KEYS and key not in found):
            refused.append(key)
        else:
            found[key] = value
    if unread:
        say(f"{_lines(unread)} of $RUNFLEET_OUTPUT left out: write key=value, one to a line")
    if refused:
        others = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        say(f"output {refused[0]}{others} left out: at most {OUTPUT_KEYS} of {OUTPUT_CHARACTERS} characters each")
    return found


def _decode(result: bytes) -> Any:
    """The returned value. Raises ValueError with the problem, to follow a colon."""
    if len(result) > RETURN_BYTES:
        raise ValueError(f"its JSON has more than {RETURN_BYTES // 1024} KiB")
    if result.count(b"[") + result.count(b"{") > RETURN_DEPTH:
        depth = 0
        for bracket in re.findall(rb"[\[\]{}]", _TEXTS.sub(b"", result)):
            depth += 1 if bracket in b"[{" else -1
            if depth > RETURN_DEPTH:
                raise ValueError(f"it is nested more than {RETURN_DEPTH} deep")
    try:
        return msgspec.json.decode(result)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not JSON ({error})") from None


def _take(path: str, say: Callable[[str], None]) -> bytes:
    """
    The content of the file, which is removed; b"" when it is missing.

    If the run replaced it with something other than a file, that is not read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError as error:
        why = "it is a symbolic link" if os.path.islink(path) else error.strerror
        say(f"$RUNFLEET_OUTPUT could not be read, so there are no outputs: {why}")
        _remove(path)
        return b""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            say("$RUNFLEET_OUTPUT is not a plain file any more, so there are no outputs")
            return b""
        with open(fd, "rb", closefd=False) as file:
            return file.read(FILE_BYTES + 1)
    finally:
        os.close(fd)
        _remove(path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def _lines(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    return f"{len(numbers)} lines (the first is line {numbers[0]})"
