"""Whether the steps of plans followed each other."""

from collections import defaultdict

from tests.soak.evidence_index import EvidenceIndex, Findings
from tests.soak.history import Entry


def plans_followed(index: EvidenceIndex) -> Findings:
    """I13 every replica of a step runs, after all that it needs; a step whose needs failed is skipped"""
    needs: dict[str, list[str]] = {task: limits["needs"] for task, limits in index.found.tasks.items()}
    if not any(needs.values()):
        yield None  # a release in the mix knows no plans
    stopped = {post["path"].split("/")[3] for post in index.found.posts if post["status"] == 202}
    executions: dict[str, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for (execution, task, _), chain in index.chains.items():
        executions[execution][task] += chain
    asked_for = {
        index.found.records[post["answer"]["id"]]["execution_id"]: post["path"].split("/")[3]
        for post in index.found.posts
        if post["status"] == 201 and post["path"].endswith("/run") and post["answer"]["id"] in index.found.records
    }
    for execution, found in executions.items():
        wanted = _all_needed(needs, asked_for.get(execution) or _last_step(needs, found))
        for task in wanted if len(wanted) > 1 else ():
            before = [record for need in needs[task] for record in found.get(need, []) if _succeeded(record)]
            is_due = len(before) == sum(index.found.tasks[need]["replicas"] for need in needs[task])
            yield _wrong_step(index, found.get(task, []), before, task, is_due, execution in stopped)


def _wrong_step(
    index: EvidenceIndex, records: list[Entry], before: list[Entry], task: str, is_due: bool, is_stopped: bool
) -> str | None:
    """What is wrong with a step, *before* being the successes of what it needs; *is_due*: all of them."""
    if not records:
        return f"there is no word of {task} beside {[record['id'] for record in before]}"
    name, lives = f"{task} {records[0]['execution_id']}", [life for r in records for life in index.lives_of(r)]
    if [record.get("end_reason") for record in records] == ["skipped"]:
        if lives or (is_due and not is_stopped):
            return f"{name} was skipped, but {'ran' if lives else 'all that it needs succeeded'}"
        return None
    if not is_due:
        return f"{name} began though not all that it needs succeeded"
    replicas = {record["replica_index"] for record in records}
    if replicas != set(range(index.found.tasks[task]["replicas"])):
        return f"{name} has the replicas {sorted(replicas)}"
    if any(record["created_at"] < need["end_at"] for record in records for need in before):
        return f"{name} was made before the end of what it needs"
    ended_us = max((life.ended_us for need in before for life in index.lives_of(need)), default=0)
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
