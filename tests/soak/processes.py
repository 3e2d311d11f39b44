"""What the processes did: how many there were at once, how long they lived, and how soon it was known."""

import itertools
from collections import defaultdict
from typing import Final

from tests.soak.evidence_index import FOREVER_US, LEASE_S, EvidenceIndex, Findings, S, state
from tests.soak.history import Life, moment_us

OVERLAP_S: Final = LEASE_S + 1
CRASH_SEEN_S: Final = 8.0
GONE_S: Final = 2.0
STOP_S: Final = 2.0
MEMORY_KB: Final = {
    "web": 160_000,
    "scheduler": 100_000,
    "launcher": 40_000,
    "worker": 130_000,
    "spawner": 40_000,
    "store": 128_000,
}


def one_process(index: EvidenceIndex) -> Findings:
    """I3 a run is executed once, and attempts of a chain overlap no longer than a lease (strict ones never)"""
    for run, lives in index.found.lives.items():
        told = [f"pid {life.pid} at {life.started_us}" for life in lives]
        yield f"run {run} was executed {len(lives)} times: {told}" if len(lives) > 1 else None
    chains: dict[tuple[str, str, int], list[Life]] = defaultdict(list)
    for life in index.lives:
        chains[life.execution, life.task, life.replica].append(life)
    for chain in chains.values():
        chain.sort(key=lambda life: life.started_us)
        strict = index.found.tasks[chain[0].task]["strict"]
        for earlier, later in itertools.pairwise(chain):
            overlap_s = (earlier.last_us - later.started_us) / S
            most_s = 0.0 if strict else OVERLAP_S
            if overlap_s > most_s:
                yield f"{earlier.task}: run {earlier.run} lived {overlap_s:.3f} s into {later.run} (at most {most_s:g})"
            else:
                yield None


def stops_heard(index: EvidenceIndex) -> Findings:
    """I6 a run that was stopped ended within graceful_stop + 2 s, its process too"""
    for post in index.found.posts:
        if post["status"] != 202 or "/runs/" not in post["path"]:
            continue
        run = post["path"].split("/")[3]
        record = index.found.records.get(run)
        if record is None or "end_at" not in record:
            yield f"stopped run {run} is {state(record)}"
            continue
        limits = index.found.tasks[record["task_name"]]
        deadline_us = index.deadline_us(post["at_us"], limits["graceful_stop_s"] + STOP_S)
        lives = index.found.lives.get(run, [])
        if any(start < deadline_us and end > post["sent_us"] for start, end in index.disturbances(record)):
            continue  # its worker did not live: that is I10
        late_s = (max([moment_us(record["end_at"]), *(one.last_us for one in lives)]) - deadline_us) / S
        yield f"{record['task_name']}: run {run} ended {late_s:.3f} s too late after its stop" if late_s > 0 else None


def never_more(index: EvidenceIndex) -> Findings:
    """I8 never more executions of a task at once than max_concurrent"""
    for task, limits in index.found.tasks.items():
        most = limits["max_concurrent"]
        if not most:
            continue
        steps: list[tuple[int, int, Life]] = []
        for life in (one for one in index.lives if one.task == task):
            # One whose worker sleeps through the lease is no longer counted by anybody but itself (strict ones die).
            last_us = life.last_us if limits["strict"] else min(life.last_us, index.frozen_from_us(life))
            if last_us > life.started_us:
                steps += [(life.started_us, 1, life), (last_us, -1, life)]
        alive: dict[str, int] = defaultdict(int)
        for at_us, step, life in sorted(steps, key=lambda one: one[:2]):
            alive[life.execution] += step
            if not alive[life.execution]:
                del alive[life.execution]
            if step > 0:
                yield f"{task}: {sorted(alive)} at once at {at_us}, at most {most}" if len(alive) > most else None


def memory_bounded(index: EvidenceIndex) -> Findings:
    """I9 the memory of our processes and of the store stays within bounds"""
    most: dict[str, int] = defaultdict(int)
    for entry in index.found.done("memory"):
        for name, used_kb in entry.items():
            if name in MEMORY_KB:
                most[name] = max(most[name], used_kb)
    for name, used_kb in most.items():
        yield f"{name} used {used_kb} kB, at most {MEMORY_KB[name]}" if used_kb > MEMORY_KB[name] else None


def crashes_seen(index: EvidenceIndex) -> Findings:
    """I10 the runs of a worker that died or slept through its lease are on record as ended within 8 s"""
    for kill in index.kills:
        yield from _seen(index, kill["at_us"], kill["pids"], kill.get("worker"), kill["victim"], FOREVER_US)
    for freeze, thaw_us in index.freezes:
        yield from _seen(index, freeze["at_us"], freeze["pids"], freeze["worker"], "frozen worker", thaw_us)


def _seen(index: EvidenceIndex, at_us: int, pids: list[int], worker: int | None, what: str, until_us: int) -> Findings:
    deadline_us = index.deadline_us(at_us, CRASH_SEEN_S, rescue=True)
    if until_us < deadline_us:
        return  # it woke up in time
    runs = {life.run for life in index.lives if life.pid in pids and _lived_at(life, at_us)}
    if worker and what not in ("spawner", "child"):
        for run, record in index.found.records.items():
            is_its = f"-{worker}-" in record.get("worker", "") and moment_us(record["start_at"]) < at_us
            if is_its and ("end_at" not in record or moment_us(record["end_at"]) > at_us):
                runs.add(run)
    for run in runs:
        known = index.found.records.get(run)
        if known is None or "end_at" not in known:
            yield f"run {run} of a killed {what} is {state(known)}"
            continue
        late_s = (moment_us(known["end_at"]) - deadline_us) / S
        yield f"{state(known)} run {run}: the {what} died at {at_us}, seen {late_s:.3f} s late" if late_s > 0 else None


def nothing_left(index: EvidenceIndex) -> Findings:
    """I11 no process outlives its worker, or the end of its run, by two seconds"""
    for entry in index.found.done("gone"):
        yield f"long after a kill at {entry['of_us']} there is {entry['alive']}" if entry["alive"] else None
    for kill in index.kills:
        if kill["victim"] not in ("child", "api", "scheduler"):
            until_us = index.deadline_us(kill["at_us"], GONE_S)
            for life in index.lives:
                if life.pid in kill["pids"] and life.started_us < kill["at_us"]:
                    late = max(life.last_us, life.stray_us) > until_us
                    yield f"run {life.run}, pid {life.pid}, outlived the {kill['victim']} it was of" if late else None
    for life in index.lives:
        record = index.found.records.get(life.run)
        if record is None or "end_at" not in record:
            continue
        until_us = index.deadline_us(moment_us(record["end_at"]), GONE_S)
        for freeze, thaw_us in index.freezes:
            # It may have been frozen itself, or have been started by a worker that woke up in the middle of that.
            is_its = life.pid in freeze["pids"] or f"-{freeze['worker']}-" in record.get("worker", "")
            if is_its and freeze["at_us"] < until_us:
                until_us = max(until_us, index.deadline_us(thaw_us, GONE_S))
        late_s = (max(life.last_us, life.stray_us) - until_us) / S
        yield f"{life.task}: pid {life.pid} lived {late_s:.3f} s too long after {life.run}" if late_s > 0 else None
    for drained in index.found.done("drained"):
        yield f"a worker told to leave ended with {drained['code']}" if drained["code"] != 0 else None


def _lived_at(life: Life, at_us: int) -> bool:
    """Whether a process was there at a time, so far as it said; it says something every tenth of a second."""
    return life.started_us < at_us and (life.ended_us > at_us or (not life.ended_us and life.last_us > at_us - S))
