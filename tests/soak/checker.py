"""
Judges a soak by its evidence: ``python -m tests.soak.checker FOLDER`` says PASS or FAIL of each invariant, and why.

What the runs wrote of themselves is believed, what the driver did and saw of processes is believed; what the API
answered and what the store holds is what is judged. It imports nothing of the product and asks it nothing.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.soak.history import Entry, Evidence, Life, moment_us, read_evidence

S: Final = 1_000_000
FOREVER_US: Final = 1 << 62
LEASE_S: Final = 6.0
OVERLAP_S: Final = LEASE_S + 1
CRASH_SEEN_S: Final = 8.0
GONE_S: Final = 2.0
STOP_S: Final = 2.0
DRAIN_S: Final = 3.0 + 4.0
HOLD_S: Final = LEASE_S + 1
"""After Valkey was away nothing is rescued for one lease, and the next look is a second later."""

LONG_AWAY_S: Final = 1.0
"""Gaps that are shorter than this and a beat are not noticed."""

POISON_CRASHES: Final = 3
FATE_UNKNOWN: Final = -2
KILLED: Final = 128 + 9
RETRIED: Final = {"failed", "timeout", "crashed", "log_overflow"}
MEMORY_KB: Final = {
    "web": 160_000,
    "scheduler": 100_000,
    "launcher": 40_000,
    "worker": 130_000,
    "keeper": 40_000,
    "store": 128_000,
}
_MISSED = re.compile(r"skipped: missed \d+ ticks? \((\S+?)(?: to (\S+))?\) while no scheduler was there")
_LINE = re.compile(r"line (\d+) of (\S+)")


class Verdict(NamedTuple):
    """What became of one invariant: ``checked`` things were looked at, and ``problems`` is empty when it held."""

    name: str
    says: str
    checked: int
    problems: list[str]


Findings = Iterator[str | None]
"""One for each thing that was looked at: None, or what is wrong with it."""


class Scene:
    """The evidence, sorted by what the invariants ask for."""

    def __init__(self, evidence: Evidence) -> None:
        self.found = evidence
        self.lives = [life for lives in evidence.lives.values() for life in lives]
        self.kills = evidence.done("kill")
        self.freezes = [
            (
                freeze,
                next((one["at_us"] for one in evidence.done("thaw") if one["of_us"] == freeze["at_us"]), FOREVER_US),
            )
            for freeze in evidence.done("freeze")
        ]
        self.drains = evidence.done("drain")
        self.stalls = [(one["from_us"], one["to_us"]) for one in evidence.done("stall")]
        self.store_away = [(one["from_us"], one["to_us"]) for one in evidence.done("away") if one["of"] == "store"]
        self.away = [(one["from_us"], one["to_us"]) for one in evidence.done("away")]
        self.held = [(start, end + int(HOLD_S * S)) for start, end in self.store_away if end - start > LONG_AWAY_S * S]
        self.chains: dict[tuple[str, str, int], list[Entry]] = defaultdict(list)
        for record in evidence.records.values():
            self.chains[record["execution_id"], record["task_name"], record["replica_index"]].append(record)
        for chain in self.chains.values():
            chain.sort(key=lambda record: record["created_at"])

    def deadline_us(self, from_us: int, seconds: float, *, rescue: bool = False) -> int:
        """
        When so many seconds are over, not counting those in which nobody could do anything.

        With *rescue* the schedulers' absence and the hold after an outage don't count either.
        """
        left_us, at_us = int(seconds * S), from_us
        gaps = self.stalls + (self.away + self.held if rescue else self.store_away)
        for start, end in _merged(gaps):
            if end <= at_us:
                continue
            if start - at_us >= left_us:
                break
            left_us -= max(0, start - at_us)
            at_us = end
        return at_us + left_us

    def disturbances(self, record: Entry) -> list[tuple[int, int]]:
        """When something was done to the worker that had a run: from then until it was over."""
        pids = {life.pid for life in self.found.lives.get(record["id"], ())}
        worker = record.get("worker", "")

        def is_its(entry: Entry) -> bool:
            return not pids.isdisjoint(entry["pids"]) or f"-{entry.get('worker')}-" in worker

        return (
            [(kill["at_us"], FOREVER_US) for kill in self.kills if is_its(kill)]
            + [(freeze["at_us"], thaw_us) for freeze, thaw_us in self.freezes if is_its(freeze)]
            + [(drain["at_us"], FOREVER_US) for drain in self.drains if is_its(drain)]
        )

    def lives_of(self, record: Entry) -> list[Life]:
        """The processes of a run."""
        return self.found.lives.get(record["id"], [])

    def frozen_from_us(self, life: Life) -> int:
        """When the worker of a process was frozen while it lived; far in the future when it never was."""
        return min(
            (f["at_us"] for f, thaw_us in self.freezes if life.pid in f["pids"] and thaw_us > life.started_us),
            default=FOREVER_US,
        )


def all_ended(scene: Scene) -> Findings:
    """I1 every accepted run ended, and nothing is left of it in the store's queues, leases and gates"""
    for run in _accepted(scene.found.posts):
        record = scene.found.records.get(run)
        yield None if record and record["status"] == "ended" else f"accepted run {run} is {_state(record)}"
    for record in scene.found.records.values():
        yield None if record["status"] == "ended" else f"run {record['id']} is {_state(record)}"
    for entry in scene.found.done("drained_all"):
        yield None if entry["drained"] else "not everything had ended in time"
    for key in scene.found.store:
        if key["key"] != "events":
            yield f"{key['key']} still holds {key['held']}" if key["held"] else None


def ended_once(scene: Scene) -> Findings:
    """I2 a run ends once, its record never changes after that, and says what its process did"""
    for run, first in scene.found.first_ends.items():
        last = scene.found.records.get(run)
        if last is None:
            yield f"run {run} had ended and is gone"
            continue
        changed = {name for name in first.keys() | last.keys() if first.get(name) != last.get(name)}
        yield f"run {run} changed after its end: {_changes(first, last, changed)}" if changed else None
    ends: dict[str, list[str]] = defaultdict(list)
    for kind, run, data in (event for key in scene.found.store if key["key"] == "events" for event in key["held"]):
        if kind == "run.ended":
            ends[run].append(data)
    for run, reasons in ends.items():
        yield f"run {run} ended {len(reasons)} times: {reasons}" if len(reasons) > 1 else None
    for run, record in scene.found.records.items():
        codes = [life.code for life in scene.found.lives.get(run, ()) if life.code is not None]
        reason = record.get("end_reason")
        if reason == "success":
            yield None if codes == [0] else f"run {run} is a success, but its process said {codes or 'nothing'}"
        elif reason == "failed" and codes:
            is_so = codes == [record["exit_code"]] or (record["exit_code"] == KILLED and _was_killed(scene, run))
            yield None if is_so else f"run {run} failed with {record['exit_code']}, not {codes}"


def _was_killed(scene: Scene, run: str) -> bool:
    """Whether a process of a run was killed, though perhaps when it had just said that it would exit."""
    killed = {(kill["pid"], kill["at_us"]) for kill in scene.kills if kill["victim"] == "child"}
    return any(life.pid == pid and at_us > life.started_us for life in scene.found.lives[run] for pid, at_us in killed)


def one_process(scene: Scene) -> Findings:
    """I3 a run is executed once, and attempts of a chain overlap no longer than a lease (strict ones never)"""
    for run, lives in scene.found.lives.items():
        told = [f"pid {life.pid} at {life.started_us}" for life in lives]
        yield f"run {run} was executed {len(lives)} times: {told}" if len(lives) > 1 else None
    chains: dict[tuple[str, str, int], list[Life]] = defaultdict(list)
    for life in scene.lives:
        chains[life.execution, life.task, life.replica].append(life)
    for chain in chains.values():
        chain.sort(key=lambda life: life.started_us)
        strict = scene.found.tasks[chain[0].task]["strict"]
        for earlier, later in itertools.pairwise(chain):
            overlap_s = (earlier.last_us - later.started_us) / S
            most_s = 0.0 if strict else OVERLAP_S
            if overlap_s > most_s:
                yield f"{earlier.task}: run {earlier.run} lived {overlap_s:.3f} s into {later.run} (at most {most_s:g})"
            else:
                yield None


def ticks_once(scene: Scene) -> Findings:
    """I4 a tick is executed at most once, and each due one has a run or is counted as missed"""
    by_tick: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for life in scene.lives:
        if life.tick and not life.attempt:
            by_tick[life.task, life.tick, life.replica].add(life.run)
    for tick, runs in by_tick.items():
        yield f"tick {tick} was executed as {sorted(runs)}" if len(runs) > 1 else None
    until_us = min((one["at_us"] for one in scene.found.done("paused")), default=0)
    for task, limits in scene.found.tasks.items():
        step_us = limits["cron_s"] * S
        if not step_us:
            continue
        had, missed = set(), []
        for record in scene.found.records.values():
            if record["task_name"] == task and "scheduled_for" in record and not record["retry_attempt"]:
                at_us = moment_us(record["scheduled_for"])
                told = _MISSED.match(record.get("message", ""))
                if told:
                    missed.append((moment_us(told[1]), moment_us(told[2] or told[1])))
                elif at_us in had:
                    yield f"{task}: two runs for the tick {record['scheduled_for']}"
                had.add(at_us)
        first_us = min(had, default=0)
        began_us = min((one["at_us"] for one in scene.found.done("started")), default=0)
        yield None if had and first_us <= began_us + 2 * step_us else f"{task}: its first tick is {first_us}"
        for at_us in range(first_us, until_us - step_us, step_us):
            is_told = at_us in had or any(first <= at_us <= last for first, last in missed)
            yield None if is_told else f"{task}: no word of the tick {at_us}"


def whole_chains(scene: Scene) -> Findings:
    """I5 attempts count from 0 without gap, each after the end of the one before, within budget and poison cap"""
    stopped = {post["path"].split("/")[3] for post in scene.found.posts if post["status"] == 202}
    for (execution, task, replica), chain in scene.chains.items():
        name = f"{task} {execution}/{replica}"
        budget = scene.found.tasks[task]["retry_attempts"]
        attempts = [record["retry_attempt"] for record in chain]
        crashes = 0
        if attempts != list(range(len(chain))):
            yield f"{name} has attempts {attempts}"
            continue
        yield f"{name} made {len(chain) - 1} retries of {budget}" if len(chain) - 1 > budget else None
        for before, after in itertools.pairwise(chain):
            crashes = crashes + 1 if before.get("end_reason") == "crashed" else 0
            if after.get("retry_of_run_id") != before["id"]:
                yield f"{name}: {after['id']} is the retry of {after.get('retry_of_run_id')}, not of {before['id']}"
            elif "end_at" not in before or moment_us(before["end_at"]) > moment_us(after["created_at"]):
                yield f"{name}: {after['id']} was made before the end of {before['id']}"
            elif before.get("end_reason") not in RETRIED:
                yield f"{name}: {before['id']} was retried though it is {_state(before)}"
            else:
                poison = crashes >= POISON_CRASHES
                yield f"{name}: {after['id']} follows {crashes} crashes in a row" if poison else None
        last = chain[-1]
        crashes = crashes + 1 if last.get("end_reason") == "crashed" else 0
        is_retried = last.get("end_reason") in RETRIED and len(chain) - 1 < budget and crashes < POISON_CRASHES
        # Whoever asked for its stop wants no other attempt, though it ended by itself before it heard of that.
        owed = is_retried and not stopped & {execution, last["id"]}
        yield f"{name}: {last['id']} is {_state(last)} and was never retried" if owed else None


def stops_heard(scene: Scene) -> Findings:
    """I6 a run that was stopped ended within graceful_stop + 2 s, its process too"""
    for post in scene.found.posts:
        if post["status"] != 202 or "/runs/" not in post["path"]:
            continue
        run = post["path"].split("/")[3]
        record = scene.found.records.get(run)
        if record is None or "end_at" not in record:
            yield f"stopped run {run} is {_state(record)}"
            continue
        limits = scene.found.tasks[record["task_name"]]
        deadline_us = scene.deadline_us(post["at_us"], limits["graceful_stop_s"] + STOP_S)
        lives = scene.found.lives.get(run, [])
        if any(start < deadline_us and end > post["sent_us"] for start, end in scene.disturbances(record)):
            continue  # its worker did not live: that is I10
        late_s = (max([moment_us(record["end_at"]), *(one.last_us for one in lives)]) - deadline_us) / S
        yield f"{record['task_name']}: run {run} ended {late_s:.3f} s too late after its stop" if late_s > 0 else None


def logs_true(scene: Scene) -> Findings:
    """I7 the stored log is what was printed, by the task's policy, numbered without gap or repeat"""
    for run, log in scene.found.logs.items():
        record, lives = scene.found.records[run], scene.found.lives.get(run, [])
        if len(lives) == 1:
            yield _wrong_log(scene.found.tasks[record["task_name"]], record, lives[0], log)
        elif not lives:
            printed = [line["text"] for line in log["lines"] if line["stream"] != "system"]
            yield f"run {run} printed nothing, but its log says {printed[:3]}" if printed else None


def _wrong_log(limits: Entry, record: Entry, life: Life, log: Entry) -> str | None:
    name, lines = f"{record['task_name']} run {life.run}", log["lines"]
    numbers = [line["n"] for line in lines if line["stream"] != "system"]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers)) if numbers else []):
        return f"{name}: line numbers are not in a row: {_break(numbers)}"
    texts = [line["text"] for line in lines if line["stream"] != "system"]
    printed: list[int] = []
    for place, text in enumerate(texts):
        told = _LINE.fullmatch(text)
        if told and told[2] == life.run:
            printed.append(int(told[1]))
            continue
        cut = _number_of_piece(text, printed, life) if place == len(texts) - 1 else None
        if cut is None:
            return f"{name}: line {numbers[place]} is foreign: {text!r}"
        printed.append(cut)
    start = printed[0] if printed else 0
    if printed != list(range(start, start + len(printed))):
        return f"{name}: a line is missing or doubled: {_break(printed)}"
    keeps, truncated = limits["keeps"], log["truncated"]
    if sum(len(line["text"]) + 1 for line in lines if line["stream"] != "system") > limits["log_max_bytes"] + 64:
        return f"{name}: keeps more than log_max_size"
    if keeps != "drop_old" and start:
        return f"{name}: begins with line {start} of what was printed"
    end = start + len(printed)
    if end > life.printing:
        return f"{name}: has {end} lines, but only {life.printing} were printed"
    is_whole = record["exit_code"] != FATE_UNKNOWN  # a worker that was lost took what was not stored yet with it
    if is_whole and end < life.printed and not (keeps == "drop_new" and truncated):
        return f"{name}: {life.printed} lines were printed, {end} are accounted for"
    if is_whole and truncated and keeps == "all":
        return f"{name}: is truncated though nothing was to be dropped"
    said = next((line["text"] for line in lines if line["stream"] == "system" and "are missing" in line["text"]), "")
    if is_whole and truncated and keeps != "all":
        missing = int(re.search(r"(\d+) lines", said)[1]) if said else -1  # type: ignore[index]  # the text has one
        if not life.printed <= len(printed) + missing <= life.printing:
            return f"{name}: {life.printed} printed, {len(printed)} kept, but {said or 'nothing'!r} is said of the rest"
    return None


def _number_of_piece(text: str, printed: list[int], life: Life) -> int | None:
    """Which line *text* is the beginning of: a process that dies while it waits for room in the pipe leaves a piece."""
    could_be = range(life.printed, life.printing)
    follows = [n for n in could_be if not printed or n == printed[-1] + 1]
    return next((n for n in follows if f"line {n} of {life.run}".startswith(text)), None)


def never_more(scene: Scene) -> Findings:
    """I8 never more executions of a task at once than max_concurrent"""
    for task, limits in scene.found.tasks.items():
        most = limits["max_concurrent"]
        if not most:
            continue
        steps: list[tuple[int, int, Life]] = []
        for life in (one for one in scene.lives if one.task == task):
            # One whose worker sleeps through the lease is no longer counted by anybody but itself (strict ones die).
            last_us = life.last_us if limits["strict"] else min(life.last_us, scene.frozen_from_us(life))
            if last_us > life.started_us:
                steps += [(life.started_us, 1, life), (last_us, -1, life)]
        alive: dict[str, int] = defaultdict(int)
        for at_us, step, life in sorted(steps, key=lambda one: one[:2]):
            alive[life.execution] += step
            if not alive[life.execution]:
                del alive[life.execution]
            if step > 0:
                yield f"{task}: {sorted(alive)} at once at {at_us}, at most {most}" if len(alive) > most else None


def memory_bounded(scene: Scene) -> Findings:
    """I9 the memory of our processes and of the store stays within bounds"""
    most: dict[str, int] = defaultdict(int)
    for entry in scene.found.done("memory"):
        for name, used_kb in entry.items():
            if name in MEMORY_KB:
                most[name] = max(most[name], used_kb)
    for name, used_kb in most.items():
        yield f"{name} used {used_kb} kB, at most {MEMORY_KB[name]}" if used_kb > MEMORY_KB[name] else None


def crashes_seen(scene: Scene) -> Findings:
    """I10 the runs of a worker that died or slept through its lease are on record as ended within 8 s"""
    for kill in scene.kills:
        yield from _seen(scene, kill["at_us"], kill["pids"], kill.get("worker"), kill["victim"], FOREVER_US)
    for freeze, thaw_us in scene.freezes:
        yield from _seen(scene, freeze["at_us"], freeze["pids"], freeze["worker"], "frozen worker", thaw_us)


def _seen(scene: Scene, at_us: int, pids: list[int], worker: int | None, what: str, until_us: int) -> Findings:
    deadline_us = scene.deadline_us(at_us, CRASH_SEEN_S, rescue=True)
    if until_us < deadline_us:
        return  # it woke up in time
    runs = {life.run for life in scene.lives if life.pid in pids and _lived_at(life, at_us)}
    if worker and what not in ("keeper", "child"):
        for run, record in scene.found.records.items():
            is_its = f"-{worker}-" in record.get("worker", "") and moment_us(record["start_at"]) < at_us
            if is_its and ("end_at" not in record or moment_us(record["end_at"]) > at_us):
                runs.add(run)
    for run in runs:
        known = scene.found.records.get(run)
        if known is None or "end_at" not in known:
            yield f"run {run} of a killed {what} is {_state(known)}"
            continue
        late_s = (moment_us(known["end_at"]) - deadline_us) / S
        yield f"{_state(known)} run {run}: the {what} died at {at_us}, seen {late_s:.3f} s late" if late_s > 0 else None


def nothing_left(scene: Scene) -> Findings:
    """I11 no process outlives its worker, or the end of its run, by two seconds"""
    for entry in scene.found.done("gone"):
        yield f"long after a kill at {entry['of_us']} there is {entry['alive']}" if entry["alive"] else None
    for kill in scene.kills:
        if kill["victim"] not in ("child", "api", "scheduler"):
            until_us = scene.deadline_us(kill["at_us"], GONE_S)
            for life in scene.lives:
                if life.pid in kill["pids"] and life.started_us < kill["at_us"]:
                    late = max(life.last_us, life.stray_us) > until_us
                    yield f"run {life.run}, pid {life.pid}, outlived the {kill['victim']} it was of" if late else None
    for life in scene.lives:
        record = scene.found.records.get(life.run)
        if record is None or "end_at" not in record:
            continue
        until_us = scene.deadline_us(moment_us(record["end_at"]), GONE_S)
        for freeze, thaw_us in scene.freezes:
            # It may have been frozen itself, or have been started by a worker that woke up in the middle of that.
            is_its = life.pid in freeze["pids"] or f"-{freeze['worker']}-" in record.get("worker", "")
            if is_its and freeze["at_us"] < until_us:
                until_us = max(until_us, scene.deadline_us(thaw_us, GONE_S))
        late_s = (max(life.last_us, life.stray_us) - until_us) / S
        yield f"{life.task}: pid {life.pid} lived {late_s:.3f} s too long after {life.run}" if late_s > 0 else None
    for drained in scene.found.done("drained"):
        yield f"a worker told to leave ended with {drained['code']}" if drained["code"] != 0 else None


def requests_kept(scene: Scene) -> Findings:
    """I12 what was accepted exists, and the same request with the same key is the same run"""
    by_key: dict[str, set[str]] = defaultdict(set)
    for post in scene.found.posts:
        if post["status"] == 201:
            run = post["answer"]["id"]
            yield None if run in scene.found.records else f"accepted run {run} does not exist"
            if post["key"]:
                by_key[post["key"]].add(run)
        elif post["status"] in (401, 403, 404, 422) or post["status"] == 500:
            yield f"{post['path']} was answered {post['status']}: {post['answer']}"
    for key, runs in by_key.items():
        yield f"key {key} gave {sorted(runs)}" if len(runs) > 1 else None
    made: dict[str, set[str]] = defaultdict(set)
    for record in scene.found.records.values():
        if "ask" in record.get("labels", {}):
            made[record["labels"]["ask"]].add(record["execution_id"])
    asked: dict[str, list[Entry]] = defaultdict(list)
    for post in scene.found.posts:
        asked[post["ask"]].append(post)
    for ask, posts in asked.items():
        if ask:
            again = sum(post["path"].endswith("/rerun") for post in posts)
            yield f"request {ask} made {sorted(made[ask])}" if len(made[ask]) > 1 + again else None
    for ask in made.keys() - asked.keys():
        yield f"nobody asked for {ask}"


def plans_followed(scene: Scene) -> Findings:
    """I13 every replica of a step runs, after all that it needs; a step whose needs failed is skipped"""
    needs: dict[str, list[str]] = {task: limits["needs"] for task, limits in scene.found.tasks.items()}
    if not any(needs.values()):
        yield None  # a release in the mix knows no plans
    stopped = {post["path"].split("/")[3] for post in scene.found.posts if post["status"] == 202}
    executions: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for (execution, task, _), chain in scene.chains.items():
        executions[execution][task] += chain
    asked_for = {
        scene.found.records[post["answer"]["id"]]["execution_id"]: post["path"].split("/")[3]
        for post in scene.found.posts
        if post["status"] == 201 and post["path"].endswith("/run") and post["answer"]["id"] in scene.found.records
    }
    for execution, found in executions.items():
        wanted = _all_needed(needs, asked_for.get(execution) or _last_step(needs, found))
        for task in wanted if len(wanted) > 1 else ():
            before = [record for need in needs[task] for record in found.get(need, []) if _succeeded(record)]
            is_due = len(before) == sum(scene.found.tasks[need]["replicas"] for need in needs[task])
            yield _wrong_step(scene, found.get(task, []), before, task, is_due, execution in stopped)


def _wrong_step(
    scene: Scene, records: list[Entry], before: list[Entry], task: str, is_due: bool, is_stopped: bool
) -> str | None:
    """What is wrong with a step, *before* being the successes of what it needs; *is_due*: all of them."""
    if not records:
        return f"there is no word of {task} beside {[record['id'] for record in before]}"
    name, lives = f"{task} {records[0]['execution_id']}", [life for r in records for life in scene.lives_of(r)]
    if [record.get("end_reason") for record in records] == ["skipped"]:
        if lives or (is_due and not is_stopped):
            return f"{name} was skipped, but {'ran' if lives else 'all that it needs succeeded'}"
        return None
    if not is_due:
        return f"{name} began though not all that it needs succeeded"
    replicas = {record["replica_index"] for record in records}
    if replicas != set(range(scene.found.tasks[task]["replicas"])):
        return f"{name} has the replicas {sorted(replicas)}"
    if any(record["created_at"] < need["end_at"] for record in records for need in before):
        return f"{name} was made before the end of what it needs"
    ended_us = max((life.ended_us for need in before for life in scene.lives_of(need)), default=0)
    early = [life.pid for life in lives if life.started_us < ended_us]
    return f"{name}: pids {early} began before what it needs had ended" if early else None


def _succeeded(record: Entry) -> bool:
    return bool(record.get("end_reason") == "success")


def _last_step(needs: dict[str, list[str]], found: dict[str, list[Entry]]) -> str:
    """The task that was triggered by a request without an answer: the one that none of the others needs."""
    return next(task for task in found if not any(task in needs[other] for other in found))


def _all_needed(needs: dict[str, list[str]], task: str) -> list[str]:
    """A task and all that it needs, directly or not."""
    return list(dict.fromkeys([task, *(each for need in needs[task] for each in _all_needed(needs, need))]))


INVARIANTS: Final[list[Callable[[Scene], Findings]]] = [
    all_ended,
    ended_once,
    one_process,
    ticks_once,
    whole_chains,
    stops_heard,
    logs_true,
    never_more,
    memory_bounded,
    crashes_seen,
    nothing_left,
    requests_kept,
    plans_followed,
]


def check(evidence: Evidence) -> list[Verdict]:
    """Judge all invariants, in order."""
    scene, verdicts = Scene(evidence), []
    for invariant in INVARIANTS:
        name, _, says = (invariant.__doc__ or "").partition(" ")
        findings = list(invariant(scene))
        verdicts.append(Verdict(name, says, len(findings), [one for one in findings if one]))
    return verdicts


def report(verdicts: list[Verdict]) -> str:
    """The verdicts, in words."""
    lines = []
    for verdict in verdicts:
        lines.append(
            f"{'FAIL' if verdict.problems else 'PASS'} {verdict.name:3} {verdict.says} ({verdict.checked} checks)"
        )
        lines += [f"         {problem}" for problem in verdict.problems[:20]]
        if len(verdict.problems) > 20:
            lines.append(f"         … and {len(verdict.problems) - 20} more")
    return "\n".join(lines)


def main() -> int:
    """Judge the folder that the command line names; 1 when anything is wrong."""
    verdicts = check(read_evidence(Path(sys.argv[1])))
    print(report(verdicts))  # noqa: T201  # a program's answer
    return int(any(verdict.problems for verdict in verdicts))


def _accepted(posts: list[Entry]) -> Iterator[str]:
    for post in posts:
        if post["status"] == 201:
            yield post["answer"]["id"]


def _lived_at(life: Life, at_us: int) -> bool:
    """Whether a process was there at a time, so far as it said; it says something every tenth of a second."""
    return life.started_us < at_us and (life.ended_us > at_us or (not life.ended_us and life.last_us > at_us - S))


def _state(record: Entry | None) -> str:
    return f"{record['status']} {record.get('end_reason', '')}".strip() if record else "unknown"


def _changes(first: Entry, last: Entry, names: set[str]) -> str:
    return ", ".join(f"{name} {first.get(name)!r} → {last.get(name)!r}" for name in sorted(names))


def _break(numbers: list[int]) -> str:
    """Where numbers that should be in a row are not."""
    return next(
        (f"… {numbers[i - 1]}, {number} …" for i, number in enumerate(numbers) if i and number != numbers[i - 1] + 1),
        str(numbers[:3]),
    )


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


if __name__ == "__main__":
    sys.exit(main())
