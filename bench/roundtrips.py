"""
Round trips of a worker for one run, and commands of an idle fleet.

A worker is connected through a relay that counts round trips; the idle fleet is listened to with MONITOR.
"""

import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.context import Bench
from bench.figures import Figure, median
from bench.fleet import Fleet, wait_until
from bench.relay import Relay, Trip
from shared import ops
from shared.store import runs
from shared.store.redis.scripts import script, script_names

TASKS: Final = """
[tasks.quiet]
run = ["true"]
[tasks.talking]
run = 'for line in 1 2 3 4 5 6 7 8 9 10; do echo "line $line"; done'
"""

RUNS: Final = 12
IDLE_S: Final = 20.0
BY_CLOCK: Final = ("heartbeat", "BLPOP wake")
"""Calls that a worker makes periodically, not for a run."""

_LINE = re.compile(rb'\+[\d.]+ \[\d+ (lua|[^\]]+)\] "([^"]+)"(?: "([^"]*)")?')


def measure(bench: Bench) -> Iterator[Figure]:
    """Round trips a run, then commands a second of an idle fleet."""
    with ExitStack() as stack:
        fleet = stack.enter_context(bench.fleet(TASKS))
        relay = stack.enter_context(Relay(fleet.valkey.path))
        fleet.start("worker", RUNFLEET_REDIS_URL=f"redis://127.0.0.1:{relay.port}/0")
        wait_until(lambda: fleet.count("ZCARD", "{bench}:workers"), "the worker joined")
        for task, words in (("quiet", "a quiet run"), ("talking", "a run of 10 lines")):
            once(fleet, relay, task)
            whole = [once(fleet, relay, task) for _ in range(RUNS)]
            inside = [from_claim_to_end(trips) for trips in whole]
            yield Figure(
                part="roundtrips",
                name=f"{words}, claim to end",
                value=median([len(trips) for trips in inside]),
                unit="trips",
                goal=4,
                note=_made_of(inside),
            )
            yield Figure(
                part="roundtrips",
                name=f"{words}, wake-up to silence",
                value=median([len(trips) for trips in whole]),
                unit="trips",
                note=_made_of(whole),
            )
    yield from idle(bench)


def once(fleet: Fleet, relay: Relay, task: str) -> list[Trip]:
    """The round trips that one run of an otherwise idle worker costs."""
    time.sleep(0.2)  # what came before has left the line
    before = len(relay.trips)
    triggered = fleet.run(ops.trigger(fleet.catalog, task, ops.Request()))
    wait_until(lambda: fleet.store.run(runs.is_over(triggered.run.execution_id)), f"{task} ended")
    time.sleep(0.2)  # its log is compressed, its wake-up is put away
    return [trip for trip in relay.trips[before:] if trip.what not in BY_CLOCK]


def from_claim_to_end(trips: list[Trip]) -> list[Trip]:
    """From the claim that got the run up to the end, both included."""
    first = next(number for number, trip in enumerate(trips) if "claim" in trip.what.split("+"))
    last = next(number for number, trip in enumerate(trips) if "end" in trip.what.split("+"))
    return trips[first : last + 1]


def idle(bench: Bench) -> Iterator[Figure]:
    """Commands a second that API, scheduler and one worker process send when there is nothing to do."""
    with bench.fleet(TASKS) as fleet:
        fleet.start("api")
        fleet.start("scheduler")
        fleet.start_worker()
        time.sleep(2)  # what starting costs is not counted
        before = fleet.valkey.info("stats")["total_commands_processed"]
        sent, inside = listen(fleet.valkey.path, IDLE_S)
        processed = fleet.valkey.info("stats")["total_commands_processed"] - before
    yield Figure(
        part="roundtrips",
        name="idle fleet, commands sent",
        value=sent.total() / IDLE_S,
        unit="/s",
        goal=10,
        stretch=5,
        note=_counted(sent, IDLE_S),
    )
    note = f"those inside scripts: {_counted(inside, IDLE_S)}"
    yield Figure(
        part="roundtrips", name="idle fleet, commands processed", value=processed / IDLE_S, unit="/s", note=note
    )


def listen(path: Path, seconds: float) -> tuple[Counter[str], Counter[str]]:
    """The commands of a Valkey during *seconds*: those that clients send, and those that scripts call."""
    names = {script(name).sha.encode(): name for name in script_names()}
    sent: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    end_s = time.monotonic() + seconds
    data = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        connection.sendall(b"MONITOR\r\n")
        while (left_s := end_s - time.monotonic()) > 0:
            connection.settimeout(left_s)
            try:
                data += connection.recv(1 << 16)
            except TimeoutError:
                break
            *lines, data = data.split(b"\r\n")
            for line in lines:
                found = _LINE.match(line)
                if found is not None:
                    origin, word, first = found.groups()
                    known = names.get(first or b"")
                    (inside if origin == b"lua" else sent)[known or word.decode().upper()] += 1
    return sent, inside


def _made_of(whole: list[list[Trip]]) -> str:
    return _counted(Counter(trip.what for trips in whole for trip in trips), len(whole))


def _counted(counts: Counter[str], by: float) -> str:
    return ", ".join(f"{name} {count / by:.2g}" for name, count in counts.most_common(9))
