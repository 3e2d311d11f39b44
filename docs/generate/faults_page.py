"""
The text of ``docs/faults.md``: each fault that is tested, what must hold, the tests, and what was measured.

A test covers the rows that its docstring begins with, as in ``F8, F9: …``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
_ROWS_OF_A_TEST: Final = re.compile(r"(F\d+(?:, F\d+)*): \S")


class Fault(NamedTuple):
    """What is done to the fleet, and what must hold then. ``note`` says what of it is not done, or done otherwise."""

    what: str
    holds: str
    note: str = ""


FAULTS: Final[dict[str, Fault]] = {
    "F1": Fault("SIGKILL of an idle worker", "seen within 8 s; no run is touched"),
    "F2": Fault("SIGKILL of a worker in a run", "crashed within 8 s, tried again, nothing of it left after 2 s"),
    "F3": Fault("SIGKILL of the command only", "failed with the signal, not crashed"),
    "F4": Fault("SIGKILL between the command's exit and the report of its end", "crashed or success, once"),
    "F5": Fault("SIGKILL after the end was reported, before the answer came", "success stays; no retry"),
    "F6": Fault("SIGTERM five times within 100 ms to every process", "drains in time, exit 0, nothing lost"),
    "F7": Fault(
        "SIGTERM that the command ignores, then SIGKILL of the worker",
        "crash seen within 8 s, nothing left after 2 s",
        "The SIGKILL comes a moment after the SIGTERM and not after 30 s: what counts is that the worker drains.",
    ),
    "F8": Fault(
        "SIGSTOP of a worker for longer than its lease, then SIGCONT",
        "its run crashed; awake, it ends the run within 1 s; its own report is refused",
        "It sleeps for 10 s and not 20 s: what counts is that the lease (6 s) is over.",
    ),
    "F9": Fault("F8 with `strict_lease`", "the command is dead before the next attempt starts"),
    "F10": Fault("SIGSTOP of the command only", "the lease lives on; the timeout works"),
    "F11": Fault("the command starts daemons in sessions of their own", "they end with the run"),
    "F12": Fault("SIGKILL and restart of Redis under load, appendfsync always", "nothing accepted is lost or doubled"),
    "F13": Fault(
        "SIGKILL and restart of Redis under load, appendfsync everysec",
        "at most what was accepted in the last second is lost; no run is stuck",
        "Only the process dies here, not the machine, so what it had handed to the kernel survives.",
    ),
    "F14": Fault("Redis is wiped (FLUSHALL)", "seen within 2 s; running runs are written back; no catch-up storm"),
    "F15": Fault("Redis silent for 4 s, 14 s and 60 s", "no crash verdicts; everybody recovers by itself"),
    "F16": Fault(
        "the connection is cut after every k-th byte of replies",
        "one end a run, whole logs, nothing accepted lost",
        "k is more than the longest reply: one that never fits can never come through.",
    ),
    "F17": Fault("one worker is cut off (black hole), others are not", "as F8"),
    "F18": Fault("requests arrive, replies are lost", "every script may be repeated"),
    "F19": Fault("500 ms latency and 10 kB/s", "leases are kept; no false crash"),
    "F20": Fault(
        "a worker cannot reach Redis when it starts",
        "it waits, without a crash loop, and then serves",
    ),
    "F21": Fault(
        "Redis is full of logs (-OOM)", "ends, stops and rescues work; dropped lines are counted; new runs get 507"
    ),
    "F22": Fault("eviction policy allkeys-lru", "no process starts"),
    "F23": Fault("SCRIPT FLUSH under load", "no error is visible"),
    "F24": Fault(
        "the primary dies with its last writes, a replica takes over",
        "nothing is stuck; ends that were lost are said again",
        "What the replica holds is a copy of a chosen moment, so that what is lost is the same at each run.",
    ),
    "F25": Fault("READONLY answers for 10 s; fail-over by three Sentinels", "as an outage"),
    "F26": Fault(
        "a worker's clock is 70 s slow or an hour fast",
        "nothing changes",
        "The clock is put into the worker's interpreter: libfaketime is not needed.",
    ),
    "F27": Fault("the clock goes 10 minutes back and then right", "no tick fires twice"),
    "F28": Fault("the clock steps 3 h forward", "the gap rule: one record of what was missed"),
    "F29": Fault("two schedulers believe to lead for 10 virtual minutes", "each tick once"),
    "F30": Fault("SIGKILL of the leader 10 ms before a tick; SIGSTOP over three ticks", "at most 12 s late, each once"),
    "F31": Fault(
        "SIGKILL of the scheduler in the middle of a tick",
        "the tick once; its run starts",
        "Run and cursor are written by one script: there is nothing between. The scene is an operation left half-way.",
    ),
    "F32": Fault("an old and a new release with different schedules", "only the newer fires; no tick twice"),
    "F33": Fault("the clocks change, both directions", "the exact expected list"),
    "F34": Fault("50 schedules, down for 30 days, `catch_up` 1 and 3", "exactly so many runs; done within 2 s"),
    "F35": Fault("all wake-ups are lost", "runs start within 3 s"),
    "F36": Fault("wake-ups are tripled and shuffled", "each run once; never more than `max_concurrent`"),
    "F37": Fault("stops at random moments from two clients at once", "ended within `graceful_stop` + 2 s; one verdict"),
    "F38": Fault("a stop while the worker is dead or frozen", "stopped within a lease + 2 s"),
    "F39": Fault(
        "200 triggers at once from four clients, each overlap policy",
        "never more than `max_concurrent`; exact counts; order kept",
    ),
    "F40": Fault(
        "a command prints 200 MB, each policy",
        "the log is whole by its policy; the API stays quick",
        "On a machine that computes slower than an idle one before or after the flood, the bound grows as much.",
    ),
    "F41": Fault(
        "50 MB without a newline, invalid UTF-8, NUL, ANSI, CR", "the log is cut into lines and readable as JSON"
    ),
    "F42": Fault("the command ends, a grandchild keeps its output open", "the run ends within 2 s"),
    "F43": Fault("fork bomb; memory beyond `memory_limit`", "the worker lives; the reason is right"),
    "F44": Fault("a command that kills its worker each time", "given up after three crashes; other runs go on"),
    "F45": Fault(
        "10 000 queued runs, a worker killed every 2 s",
        "every run ends, once",
        "600 runs in the minute that the tests take; all 10 000 in `make soak`, which held with seed 529678.",
    ),
    "F46": Fault("a rolling upgrade under F45", "as F45"),
    "F47": Fault("a client repeats a POST after a time-out", "the same run"),
    "F48": Fault("slow readers, 200 readers, a restart in the stream", "bounded memory; no gap, no repeat"),
    "F49": Fault("20 connections for 3 processes and 10 dashboards", "nobody is refused"),
    "F50": Fault("the disk of the append-only file is full (MISCONF)", "as an outage, with a message that says so"),
    "F51": Fault(
        "SIGKILL of a worker, its launcher, the scheduler or the API while plans run",
        "every step runs, once, after all that it needs; a killed step is tried again",
    ),
    "F52": Fault(
        "the answer to the report that completes a group is lost; then its worker dies, or says it again",
        "the next group begins once",
    ),
    "F53": Fault("the leader is killed or frozen while a schedule starts plans", "each tick makes its whole plan once"),
    "F54": Fault(
        "Redis is wiped in the middle of a plan",
        "what runs is written back and ends; its execution has failed and says why; nothing waits for the rest",
        "The steps that were to follow were only in what was wiped: they are lost, as pending runs are.",
    ),
    "F55": Fault(
        "a stop of an execution while the worker of a step is dead or frozen",
        "stopped within a lease + 2 s; no later step begins",
    ),
    "F56": Fault(
        "a tick cannot be fired: Redis is killed, full, read-only or slow while 300 schedules tick, or it raises",
        "no schedule stops; every tick has run or is on record, once; what fails is told of",
    ),
    "F57": Fault(
        "definitions, records, schedules and logs that this release cannot read",
        "they are passed over and told of, all others go on; a lost run of that kind ends without a retry",
    ),
    "F58": Fault(
        "the clock of Redis goes an hour back, or ahead and back again",
        "leader, leases, workers and schedules wait for no time that was; no tick fires twice",
    ),
    "F59": Fault(
        "Redis is full, with ticks, delayed runs and leases of slots due, runs lost, history and logs to tidy",
        "what frees memory is done first; the ticks are on record, and why, once there is memory",
    ),
    "F60": Fault("`apply` without the secret, with another one, and while secrets are rotated", "no run fails for it"),
    "F61": Fault(
        "a scheduler with an older, an empty or an unreadable task file; a release with an empty one",
        "no task changes, every tick fires, and an error says why",
    ),
    "F62": Fault(
        "Redis is wiped (FLUSHALL) after a newer file was applied elsewhere, also with the leader killed",
        "the tasks that were applied last come back, signed, within 15 s",
    ),
    "F63": Fault(
        "a worker that cannot execute: another secret, too few files, its directory or folder gone, no processes",
        "it takes no runs and says why; others take them, none is failed for it; it goes on when that is mended",
    ),
    "F64": Fault(
        "a spawner that hangs, for a while or for good",
        "nothing is failed or runs twice; what must end ends; runs that were not started are executed later",
    ),
    "F65": Fault(
        "the reply of each script is lost once; an error nobody foresaw in each loop of a worker",
        "the store is as after one call; runs end with the cause or are given back; no loop ends",
    ),
    "F66": Fault(
        "a worker process that cannot be replaced, that can never start, or that hangs; strangers beside the launcher",
        "the others go on and it is tried again; exit code 2 and no restart; killed and replaced; left alone",
    ),
    "F67": Fault(
        "nobody reads what a worker logs",
        "runs go on, a drain ends in time; lines that found no room are counted and said",
    ),
    "F68": Fault(
        "a run attacks its worker: the socket of its interpreter, its output file, a value without an end to its depth",
        "it ends with its own reason; the worker and its other runs are untouched",
    ),
    "F69": Fault(
        "a run prints what is secret: its own, another task's, as JSON, URL or Base64, as a key of its outputs",
        "it is in no log, output, message or byte of Redis, and what is another task's was not inherited",
    ),
    "F70": Fault(
        "logs of ended runs wait to be compressed while others print",
        "a live line waits for none of it",
    ),
    "F71": Fault(
        "SIGTERM of the API while fifty readers follow, wait and talk over WebSockets",
        "gone within 2 s, without a traceback; who waited is answered",
    ),
    "F72": Fault(
        "the store's answer is lost while a run is handed to a consumer outside that stays connected",
        "it is handed over again until it is acknowledged",
    ),
    "F73": Fault(
        "SIGKILL of the API while it makes an execution of ten thousand runs",
        "all of them are made, and no step holds Redis for long",
    ),
}

UNTESTED: Final[dict[str, str]] = {}
"""Row → why there is no test of it; only for rows that no test names."""

_HEAD: Final = """\
# Faults

What Runfleet is tested against. Each row is at least one test, named after what must hold; *bound* and *measured* are
of the slowest of its cases. This page is made from the tests: `make docs`. To measure anew:

```
RUNFLEET_FAULTS_JSON=/tmp/measured.jsonl .venv/bin/pytest tests
.venv/bin/python -m docs.generate /tmp/measured.jsonl
```

The tests of `tests/system` run real processes on a real Valkey: API, scheduler, workers with spawners and commands, as
the `Procfile` starts them, killed, frozen and cut off one by one. What ran when is told by a file that the commands
write themselves. The tests of `tests/store` and `tests/scheduler` run the real scripts with the time handed in.

| row | fault | what must hold | test | bound | measured |
|---|---|---|---|---|---|
"""


def tests_of_rows() -> dict[str, list[str]]:
    """Row → the tests whose docstring begins with it, as ``path::name``, sorted."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                said = _ROWS_OF_A_TEST.match(ast.get_docstring(node) or "")
                for row in said[1].split(", ") if said else ():
                    found.setdefault(row, []).append(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return {row: sorted(tests) for row, tests in found.items()}


def measurements(lines: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Row → (bounds, measured values) as the page shows them, the worst of each name, from lines of JSON."""
    worst: dict[str, dict[str, tuple[float, float, str]]] = {}
    for line in lines:
        one = json.loads(line)
        of_row = worst.setdefault(one["row"], {})
        if one["name"] not in of_row or one["value"] > of_row[one["name"]][0]:
            of_row[one["name"]] = (one["value"], one["bound"], one["unit"])
    return {
        row: (
            "<br>".join(f"{name} ≤ {bound:g} {unit}" for name, (_, bound, unit) in sorted(names.items())),
            "<br>".join(
                f"{value:.{2 * (unit == 's')}f} {unit}".rstrip() for _, (value, _, unit) in sorted(names.items())
            ),
        )
        for row, names in worst.items()
    }


def rows_of_page(text: str) -> dict[str, list[str]]:
    """Row → its cells on the page as it is."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| F"]
    return {row[0]: row[1:] for row in cells}


def faults_page(text: str, new: Iterable[str] = ()) -> str:
    """The page anew. *text* is the page as it is: its numbers stay where *new* (lines of JSON) has no measurement."""
    measured = {row: (cells[3], cells[4]) for row, cells in rows_of_page(text).items()} | measurements(new)
    tests = tests_of_rows()
    lines = []
    for row, fault in FAULTS.items():
        links = "<br>".join(_link(test) for test in tests.get(row, [])) or "–"
        remark = fault.note if row in tests else UNTESTED.get(row, "")
        note = f"<br>*{remark}*" if remark else ""
        bound, value = measured.get(row, ("–", "–"))
        lines.append(f"| {row} | {fault.what} | {fault.holds} | {links}{note} | {bound} | {value} |\n")
    return _HEAD + "".join(lines)


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})"
