"""
All that will happen in a soak, made from one seed: the tasks, and who does what when. The same seed, the same plan.

What an action hits is a number of the plan too (``pick``); which worker or run it comes to stand for depends on what is
there at that moment.
"""

import json
import random
import sys
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

WORKERS: Final = 3
SLOTS: Final = 2
SCHEDULERS: Final = 2
LONG_S: Final = 300
BACKLOG: Final = 10_000
BACKLOG_PER_S: Final = 10
"""Runs that are triggered all at once in the beginning: of a soak of five minutes or more, and a second of others."""

Who = Literal["client", "platform", "store"]


class Action(NamedTuple):
    """Something to be done ``at_s`` seconds after the start. ``args`` is what JSON can hold."""

    at_s: float
    who: Who
    what: str
    args: dict[str, Any]


class Kind(NamedTuple):
    """
    A task: what it runs, its keys in the task file, the seconds its runs take at random, and how often it is triggered.
    """

    run: str
    keys: dict[str, Any]
    seconds: tuple[float, float]
    weight: float


KINDS: Final[dict[str, Kind]] = {
    "tick": Kind("quick", {"cron": "* * * * * *", "retry_attempts": 2}, (0, 0), 0),
    "backlog": Kind("quick", {"retry_attempts": 10, "queue": "aside"}, (0, 0), 0),
    "quick": Kind("quick", {"retry_attempts": 3}, (0, 0), 4),
    "slow": Kind("slow", {"retry_attempts": 3}, (0.5, 2), 2),
    "lasting": Kind("slow", {"retry_attempts": 3}, (3, 6), 0.8),
    "strict": Kind("slow", {"retry_attempts": 3, "strict_lease": True}, (3, 6), 0.8),
    "failing": Kind("failing", {"retry_attempts": 3}, (0, 0.2), 1),
    "hopeless": Kind("hopeless", {"retry_attempts": 2, "retry_delay": ["100ms", "300ms"]}, (0, 0), 0.5),
    "slow_down": Kind("slow", {"retry_attempts": 1, "timeout": "800ms"}, (0.6, 1.2), 0.5),
    "replicas": Kind("quick", {"retry_attempts": 3, "replicas": 4}, (0, 0.2), 1),
    "stubborn": Kind("stubborn", {"retry_attempts": 1}, (1, 3), 0.6),
    "leaving": Kind("leaving", {"retry_attempts": 2}, (0, 1), 0.6),
    "chatty": Kind("chatty", {"retry_attempts": 1}, (0, 0), 0.6),
    "loud": Kind("loud", {"retry_attempts": 1, "log_max_size": "4kb"}, (0, 0), 0.5),
    "loud_first": Kind("loud", {"retry_attempts": 1, "log_max_size": "4kb", "log_on_full": "drop_new"}, (0, 0), 0.5),
    "one_queued": Kind(
        "slow", {"max_concurrent": 1, "retry_attempts": 2, "strict_lease": True, "max_queued": 20}, (0.1, 0.8), 0.8
    ),
    "three_queued": Kind("slow", {"max_concurrent": 3, "replicas": 2, "retry_attempts": 1}, (0.1, 1), 0.6),
    "one_skipped": Kind("slow", {"max_concurrent": 1, "on_overlap": "skip", "retry_attempts": 1}, (0.5, 2), 1),
    "one_killed": Kind("slow", {"max_concurrent": 1, "on_overlap": "kill"}, (0.5, 3), 0.8),
    "three_killed": Kind("slow", {"max_concurrent": 3, "on_overlap": "kill"}, (0.5, 3), 1),
    "forked": Kind("", {"call": "work:call", "retry_attempts": 3}, (0, 1), 1),
    "warm": Kind("", {"call": "work:call", "isolate": False, "retry_attempts": 3}, (0, 1), 1),
}
STEPS: Final[dict[str, Kind]] = {
    "fetch": Kind("slow", {"retry_attempts": 3, "replicas": 2}, (0, 0), 0),
    "clean": Kind("failing", {"retry_attempts": 3, "depends_on": ["fetch"]}, (0, 0), 0),
    "index": Kind("slow", {"retry_attempts": 3, "replicas": 3, "depends_on": ["fetch"]}, (0, 0), 0),
    "spoiled": Kind("hopeless", {"retry_attempts": 1, "depends_on": ["fetch"]}, (0, 0), 0),
    "publish": Kind("quick", {"retry_attempts": 3, "depends_on": ["clean", "index"]}, (0, 0.5), 1),
    "never": Kind("quick", {"retry_attempts": 3, "depends_on": ["spoiled", "index"]}, (0, 0.3), 0.4),
}
"""Those of plans, which a release that is mixed with this one may not know."""

LIMITS: Final[dict[str, dict[str, Any]]] = {
    name: {
        "retry_attempts": kind.keys.get("retry_attempts", 0),
        "max_concurrent": kind.keys.get("max_concurrent", 0),
        "strict": kind.keys.get("strict_lease", False),
        "graceful_stop_s": 1.0,
        "keeps": kind.keys.get("log_on_full", "drop_old") if "log_max_size" in kind.keys else "all",
        "log_max_bytes": 4096 if "log_max_size" in kind.keys else 1 << 20,
        "cron_s": 1 if "cron" in kind.keys else 0,
        "replicas": kind.keys.get("replicas", 1),
        "needs": kind.keys.get("depends_on", []),
    }
    for name, kind in (KINDS | STEPS).items()
}
"""What the checker holds the tasks to."""

RUN_AGAIN: Final = KINDS.keys() - {"backlog"}
"""Tasks of which a run may be run again: one backlog is enough, and a step without its plan is no step."""


def kinds(*, plans: bool) -> dict[str, Kind]:
    """The tasks, with those of plans or without."""
    return KINDS | STEPS if plans else KINDS


def task_file(*, plans: bool) -> str:
    """The tasks as the fleet reads them."""
    parts = [
        '[defaults]\ngraceful_stop = "1s"\nretry_delay = "200ms"\nkeep_runs = 1000000\n'
        'params.seconds = {type = "number", default = 0}\n'
    ]
    for name, kind in kinds(plans=plans).items():
        keys = dict(kind.keys)
        if kind.run:
            keys["run"] = [sys.executable, "-I", "-S", "work.py", kind.run]
        parts.append(
            "\n".join([f"[tasks.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]) + "\n"
        )
    return "\n".join(parts)


def backlog_of(seconds: float) -> int:
    """How many runs a soak of that many seconds begins with."""
    return BACKLOG if seconds >= LONG_S else max(10, int(seconds * BACKLOG_PER_S))


def make_plan(seed: int, seconds: float, *, plans: bool = True) -> list[Action]:
    """The actions of a soak of that many seconds, in order."""
    dice = random.Random(seed)
    actions: list[Action] = []

    def often(every_s: float, first_s: float, who: Who, make: Callable[[], tuple[str, dict[str, Any]]]) -> None:
        at_s = first_s + dice.uniform(0, every_s)
        while at_s < seconds:
            actions.append(Action(round(at_s, 3), who, *make()))
            at_s += dice.uniform(0.3, 1.7) * every_s

    def pick() -> int:
        return dice.randrange(1 << 16)

    # More than the workers can take at once, so that whatever dies, something is under way and something waits. It has
    # a queue of its own, and the workers look at both in turn: what else is triggered does not wait for all of it.
    backlog = {"task": "backlog", "body": {"params": {"seconds": 0}, "replicas": backlog_of(seconds)}}
    actions.append(Action(1.0, "client", "trigger", backlog | {"key": True, "hasty": False, "times": 1}))
    often(0.5, 0, "client", lambda: ("trigger", _trigger(dice, kinds(plans=plans))))
    often(4, 2, "client", lambda: ("stop", {"pick": pick(), "force": dice.random() < 0.2}))
    often(12, 4, "client", lambda: ("stop_execution", {"pick": pick()}))
    often(6, 4, "client", lambda: ("rerun", {"pick": pick()}))
    often(4, 2, "client", lambda: ("repeat", {"pick": pick()}))
    victims, weights = ("worker", "launcher", "spawner", "child"), (3, 2, 2, 3)
    often(2, 2, "platform", lambda: ("kill", {"victim": dice.choices(victims, weights)[0], "pick": pick()}))
    often(15, 5, "platform", lambda: ("drain", {"pick": pick(), "times": dice.choice([1, 1, 5])}))
    often(18, 3, "platform", lambda: ("freeze", {"pick": pick(), "for_s": round(dice.uniform(7, 9), 2)}))
    often(15, 3, "platform", lambda: ("kill_web", {}))
    often(12, 3, "platform", lambda: ("kill_scheduler", {"pick": pick()}))
    often(14, 4, "store", lambda: ("freeze", {"for_s": round(dice.uniform(1, 4), 2)}))
    often(22, 8, "store", lambda: ("kill", {}))
    often(7, 1, "store", lambda: ("flush_scripts", {}))
    return sorted(actions, key=lambda action: action.at_s)


def _trigger(dice: random.Random, of: dict[str, Kind]) -> dict[str, Any]:
    name = dice.choices(list(of), [kind.weight for kind in of.values()])[0]
    body: dict[str, Any] = {"params": {"seconds": round(dice.uniform(*of[name].seconds), 2)}}
    if dice.random() < 0.1:
        body["delay_ms"] = dice.randrange(100, 3000)
    if dice.random() < 0.1:
        body["priority"] = dice.randrange(10)
    return {
        "task": name,
        "body": body,
        "key": dice.random() < 0.7,
        "hasty": dice.random() < 0.1,
        "times": dice.choice([1] * 12 + [3, 6]) if of[name].keys.get("max_concurrent") else 1,
    }
