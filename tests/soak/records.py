"""What the records say against what was asked for and what happened: ends, ticks, retries and requests."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tests.soak.evidence_index import EvidenceIndex, Findings, S, state
from tests.soak.history import Entry, moment_us

POISON_CRASHES: Final = 3
KILLED: Final = 128 + 9
RETRIED: Final = {"failed", "timeout", "crashed", "log_overflow"}
_MISSED = re.compile(r"skipped: missed \d+ ticks? \((\S+?)(?: to (\S+))?\) while .+")


def all_ended(index: EvidenceIndex) -> Findings:
    """I1 every accepted run ended, and nothing is left of it in the store's queues, leases and gates"""
    for run in _accepted(index.found.posts):
        record = index.found.records.get(run)
        yield None if record and record["status"] == "ended" else f"accepted run {run} is {state(record)}"
    for record in index.found.records.values():
        yield None if record["status"] == "ended" else f"run {record['id']} is {state(record)}"
    for entry in index.found.done("drained_all"):
        yield None if entry["drained"] else "not everything had ended in time"
    for key in index.found.store:
        if key["key"] != "events":
            yield f"{key['key']} still holds {key['held']}" if key["held"] else None


def ended_once(index: EvidenceIndex) -> Findings:
    """I2 a run ends once, its record never changes after that, and says what its process did"""
    for run, first in index.found.first_ends.items():
        last = index.found.records.get(run)
        if last is None:
            yield f"run {run} had ended and is gone"
            continue
        changed = {name for name in first.keys() | last.keys() if first.get(name) != last.get(name)}
        yield f"run {run} changed after its end: {_changes(first, last, changed)}" if changed else None
    ends: dict[str, list[str]] = defaultdict(list)
    for kind, run, data in (event for key in index.found.store if key["key"] == "events" for event in key["held"]):
        if kind == "run.ended":
            ends[run].append(data)
    for run, reasons in ends.items():
        yield f"run {run} ended {len(reasons)} times: {reasons}" if len(reasons) > 1 else None
    for run, record in index.found.records.items():
        codes = [life.code for life in index.found.lives.get(run, ()) if life.code is not None]
        reason = record.get("end_reason")
        if reason == "success":
            yield None if codes == [0] else f"run {run} is a success, but its process said {codes or 'nothing'}"
        elif reason == "failed" and codes:
            is_so = codes == [record["exit_code"]] or (record["exit_code"] == KILLED and _was_killed(index, run))
            yield None if is_so else f"run {run} failed with {record['exit_code']}, not {codes}"


def _was_killed(index: EvidenceIndex, run: str) -> bool:
    """Whether a process of a run was killed, though perhaps when it had just said that it would exit."""
    killed = {(kill["pid"], kill["at_us"]) for kill in index.kills if kill["victim"] == "child"}
    return any(life.pid == pid and at_us > life.started_us for life in index.found.lives[run] for pid, at_us in killed)


def ticks_once(index: EvidenceIndex) -> Findings:
    """I4 a tick is executed at most once, and each due one has a run or is counted as missed"""
    by_tick: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for life in index.lives:
        if life.tick and not life.attempt:
            by_tick[life.task, life.tick, life.replica].add(life.run)
    for tick, runs in by_tick.items():
        yield f"tick {tick} was executed as {sorted(runs)}" if len(runs) > 1 else None
    until_us = min((one["at_us"] for one in index.found.done("paused")), default=0)
    for task, limits in index.found.tasks.items():
        step_us = limits["cron_s"] * S
        if not step_us:
            continue
        had, missed = set(), []
        for record in index.found.records.values():
            if record["task_name"] == task and "scheduled_for" in record and not record["retry_attempt"]:
                at_us = moment_us(record["scheduled_for"])
                told = _MISSED.match(record.get("message", ""))
                if told:
                    missed.append((moment_us(told[1]), moment_us(told[2] or told[1])))
                elif at_us in had:
                    yield f"{task}: two runs for the tick {record['scheduled_for']}"
                had.add(at_us)
        first_us = min(had, default=0)
        began_us = min((one["at_us"] for one in index.found.done("started")), default=0)
        yield None if had and first_us <= began_us + 2 * step_us else f"{task}: its first tick is {first_us}"
        for at_us in range(first_us, until_us - step_us, step_us):
            is_told = at_us in had or any(first <= at_us <= last for first, last in missed)
            yield None if is_told else f"{task}: no word of the tick {at_us}"


def whole_chains(index: EvidenceIndex) -> Findings:
    """I5 attempts count from 0 without gap, each after the end of the one before, within budget and poison cap"""
    stopped = {post["path"].split("/")[3] for post in index.found.posts if post["status"] == 202}
    for (execution, task, replica), chain in index.chains.items():
        name = f"{task} {execution}/{replica}"
        budget = index.found.tasks[task]["retry_attempts"]
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
                yield f"{name}: {before['id']} was retried though it is {state(before)}"
            else:
                poison = crashes >= POISON_CRASHES
                yield f"{name}: {after['id']} follows {crashes} crashes in a row" if poison else None
        last = chain[-1]
        crashes = crashes + 1 if last.get("end_reason") == "crashed" else 0
        is_retried = last.get("end_reason") in RETRIED and len(chain) - 1 < budget and crashes < POISON_CRASHES
        # Whoever asked for its stop wants no other attempt, though it ended by itself before it heard of that.
        owed = is_retried and not stopped & {execution, last["id"]}
        yield f"{name}: {last['id']} is {state(last)} and was never retried" if owed else None


def requests_kept(index: EvidenceIndex) -> Findings:
    """I12 what was accepted exists, and the same request with the same key is the same run"""
    by_key: dict[str, set[str]] = defaultdict(set)
    for post in index.found.posts:
        if post["status"] == 201:
            run = post["answer"]["id"]
            yield None if run in index.found.records else f"accepted run {run} does not exist"
            if post["key"]:
                by_key[post["key"]].add(run)
        elif post["status"] in (401, 403, 404, 422) or post["status"] == 500:
            yield f"{post['path']} was answered {post['status']}: {post['answer']}"
    for key, runs in by_key.items():
        yield f"key {key} gave {sorted(runs)}" if len(runs) > 1 else None
    made: dict[str, set[str]] = defaultdict(set)
    for record in index.found.records.values():
        if "ask" in record.get("labels", {}):
            made[record["labels"]["ask"]].add(record["execution_id"])
    asked: dict[str, list[Entry]] = defaultdict(list)
    for post in index.found.posts:
        asked[post["ask"]].append(post)
    for ask, posts in asked.items():
        if ask:
            again = sum(post["path"].endswith("/rerun") for post in posts)
            yield f"request {ask} made {sorted(made[ask])}" if len(made[ask]) > 1 + again else None
    for ask in made.keys() - asked.keys():
        yield f"nobody asked for {ask}"


def _accepted(posts: list[Entry]) -> Iterator[str]:
    for post in posts:
        if post["status"] == 201:
            yield post["answer"]["id"]


def _changes(first: Entry, last: Entry, names: set[str]) -> str:
    return ", ".join(f"{name} {first.get(name)!r} → {last.get(name)!r}" for name in sorted(names))
