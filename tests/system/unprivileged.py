"""
Reads other processes as a task would: as the same user, and without root's right to look into everybody.

Root may read what it likes, so where tests are run by root, both sides have to be started ``ORDINARY``.
"""

import re
import sys
from pathlib import Path
from typing import Final

from tests.commands import run_command

_DROP: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for number in range(64):
    libc.prctl(24, number, 0, 0, 0)  # from the bounding set, so that exec gives none back
class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
if libc.capset(ctypes.byref(Header(0x20080522, 0)), (ctypes.c_uint32 * 6)()):
    sys.exit("capset failed")
os.execvp(sys.argv[1], sys.argv[1:])
"""
ORDINARY: Final = (sys.executable, "-I", "-S", "-c", _DROP)
"""Put before a command: it runs without any capability."""

_READ: Final = """
import os, sys
folder = "/proc/" + sys.argv[1]

def first_byte(path):
    with open(path, "rb") as file:
        file.read(1)

def memory():
    with open(folder + "/maps") as maps:
        start = int(maps.readline().partition("-")[0], 16)
    with open(folder + "/mem", "rb") as file:
        file.seek(start)
        file.read(1)

for what, look in {
    "environ": lambda: first_byte(folder + "/environ"),
    "maps": lambda: first_byte(folder + "/maps"),
    "memory": memory,
    "descriptors": lambda: os.readlink(folder + "/fd/0"),
}.items():
    try:
        look()
        print(what)
    except PermissionError:
        pass
"""


def readable(pid: int) -> set[str]:
    """What a task could read of a process: "environ", "maps", "memory", "descriptors"."""
    reader = [*ORDINARY, sys.executable, "-I", "-S", "-c", _READ, str(pid)]
    answered = run_command(reader, check=True)
    return set(answered.stdout.split())


def memory_of(pid: int) -> bytes:
    """All that a process may write to: its heap, stack and data."""
    ranges = re.findall(r"^(\w+)-(\w+) rw", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)
    parts = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in ranges:
            try:
                memory.seek(int(start, 16))
                parts.append(memory.read(int(end, 16) - int(start, 16)) or b"")
            except OSError:  # a guard page
                continue
    return b"".join(parts)
