"""
The evidence of a soak, as files in a folder, and how it is read back.

``history`` is written by the runs themselves (``work.py``), ``chaos.jsonl`` says what was done to the fleet and what
was seen of its processes, ``answers.jsonl`` what the API answered, ``store.jsonl`` what is in the store at the end.
Times are microseconds since 1970 by this machine's clock. Nothing here imports the product.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def now_us() -> int:
    """The time."""
    return time.time_ns() // 1000


def moment_us(text: str) -> int:
    """A time of the API, in microseconds."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


class Recorder:
    """Appends entries to a file; thread-safe."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def add(self, what: str, **facts: Any) -> Entry:
        """Write an entry with the time it was written, unless ``at_us`` says another; answers it."""
        entry = {"what": what, "at_us": now_us(), **facts}
        with self._lock:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
        return entry

    def close(self) -> None:
        """Nothing more will come."""
        self._file.close()


@dataclass
class Life:
    """
    One process of a run by its own words. ``ended_us`` and ``code`` are 0 and None when it did not say that it ends,
    ``last_us`` is its last word; it printed ``printed`` lines for certain and no more than ``printing``.
    """

    run: str
    pid: int
    started_us: int
    task: str = ""
    execution: str = ""
    replica: int = 0
    attempt: int = 0
    tick: str = ""
    last_us: int = 0
    ended_us: int = 0
    code: int | None = None
    printed: int = 0
    printing: int = 0
    stray_us: int = 0


@dataclass
class Evidence:
    """All that is known. ``lives`` are by run, in the order they began; ``records`` are the final ones, by id."""

    lives: dict[str, list[Life]] = field(default_factory=dict)
    records: dict[str, Entry] = field(default_factory=dict)
    first_ends: dict[str, Entry] = field(default_factory=dict)
    posts: list[Entry] = field(default_factory=list)
    logs: dict[str, Entry] = field(default_factory=dict)
    chaos: list[Entry] = field(default_factory=list)
    store: list[Entry] = field(default_factory=list)
    tasks: dict[str, Entry] = field(default_factory=dict)

    def done(self, *what: str) -> list[Entry]:
        """Entries of the chaos of these kinds, in order."""
        return [entry for entry in self.chaos if entry["what"] in what]


def read_evidence(folder: Path) -> Evidence:
    """Read all files of a soak's folder."""
    found = Evidence(lives=read_lives((folder / "history").read_text("utf-8").splitlines()))
    found.chaos = _entries(folder / "chaos.jsonl")
    found.store = _entries(folder / "store.jsonl")
    for plan in found.done("plan"):
        found.tasks = plan["tasks"]
    for entry in _entries(folder / "answers.jsonl"):
        if entry["what"] == "post":
            found.posts.append(entry)
        elif entry["what"] == "first_end":
            found.first_ends.setdefault(entry["record"]["id"], entry["record"])
        elif entry["what"] == "final":
            found.records[entry["record"]["id"]] = entry["record"]
        elif entry["what"] == "log":
            found.logs[entry["run"]] = entry
    return found


def read_lives(lines: Iterable[str]) -> dict[str, list[Life]]:
    """What the runs' processes wrote, by run. One process may serve several runs, one after another."""
    lives: dict[str, list[Life]] = defaultdict(list)
    for line in lines:
        at, word, run, pid, *rest = line.split()
        at_us, facts = int(at), dict(fact.partition("=")[::2] for fact in rest)
        if word == "start":
            lives[run].append(
                Life(
                    run,
                    int(pid),
                    at_us,
                    facts["task"],
                    facts["execution"],
                    int(facts["replica"]),
                    int(facts["attempt"]),
                    facts["tick"],
                    last_us=at_us,
                    printing=1,  # the first thing it does
                )
            )
        elif word == "stray":
            lives[run][-1].stray_us = at_us
        else:
            life = next(one for one in reversed(lives[run]) if one.pid == int(pid))
            life.last_us = at_us
            life.printing = max(life.printing, int(facts["lines"]) + (word == "beat"))
            if word != "printing":
                life.printed = int(facts["lines"])
            if word == "end":
                life.ended_us, life.code, life.printing = at_us, int(facts["code"]), int(facts["most"])
    return dict(lives)


def _entries(path: Path) -> list[Entry]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
