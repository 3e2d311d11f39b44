"""What tests of plans make and look at."""

from typing import Any
from uuid import UUID

from shared.store import runs
from shared.store.runs import Claimed
from tests.store.consistency import check_store
from tests.store.harness import StoreHarness


def diamond(harness: StoreHarness, **settings: dict[str, Any]) -> None:
    """``install`` → ``lint`` and ``test`` → ``deploy``; *settings* by task."""
    for name, needs in (("install", ()), ("lint", ("install",)), ("test", ("install",)), ("deploy", ("lint", "test"))):
        harness.task(name, depends_on=needs, **settings.get(name, {}))


def claim_all(harness: StoreHarness) -> dict[str, Claimed]:
    """Claim whatever waits, by task (and replica, if there are several)."""
    found: dict[str, Claimed] = {}
    while held := harness.claim():
        many = held.record.replica_count > 1
        found[held.record.task + (f"[{held.record.replica_index}]" if many else "")] = held
    check_store(harness)
    return found


def states(harness: StoreHarness, execution: UUID) -> dict[str, str]:
    """What became of each task's newest run of an execution."""
    return {run.task_name: str(run.end_reason or run.status) for run in harness.run(runs.execution_runs(execution))}
