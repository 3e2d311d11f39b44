"""
Peers of a measurement: the limits of the machine, and other software that does the same.

Each is a program of its own, ``python -m bench.peers.<name>``. It prints ``ready``, waits for a line, works, and prints
one line of JSON.
"""

import json
import subprocess
from contextlib import ExitStack
from typing import Any

from shared.isolation import command, isolated


def rate(name: str, *words: str, processes: int = 1) -> float:
    """Operations a second of *processes* copies of a peer together, from the first start to the last end."""
    answers = together(name, *words, processes=processes)
    done = sum(answer["done"] for answer in answers)
    began_s = min(answer["began_s"] for answer in answers)
    return float(done / (max(answer["ended_s"] for answer in answers) - began_s))


def together(name: str, *words: str, processes: int = 1) -> list[dict[str, Any]]:
    """The output of each of *processes* copies of a peer, which start together when all are ready."""
    with ExitStack() as stack:
        started = [stack.enter_context(start(name, *words)) for _ in range(processes)]
        for process in started:
            stack.callback(process.kill)
        for process in started:
            hear(process, "ready")
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(hear(process)) for process in started]


def start(name: str, *words: str) -> subprocess.Popen[str]:
    """One copy of a peer; its ``ready`` has not been read."""
    return subprocess.Popen(
        [*command(f"bench.peers.{name}"), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=isolated({"PATH": "/usr/bin:/bin"}),
        text=True,
    )


def hear(process: subprocess.Popen[str], wanted: str = "") -> str:
    """The next line of a peer. Raises RuntimeError when it ended instead, or said something else than *wanted*."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line or (wanted and line != wanted):
        raise RuntimeError(f"{process.args!r} said {line!r} where {wanted or 'an answer'!r} was expected")
    return line
