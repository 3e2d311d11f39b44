"""Why a process was made to end; and that one which ended by itself was not, whatever was wished meanwhile."""

import select
import time
from collections import deque

import pytest

from shared.store.redis.sync_store import Store
from shared.tasks import Task
from tests.worker.test_shipper import running
from worker.drain import DrainState
from worker.execution.monitor import Monitor
from worker.execution.verdict import Cause
from worker.execution.wakeup import Wakeup
from worker.heartbeat import Lease, StopRequest
from worker.logs.masking import NOTHING
from worker.logs.shipper import LogShipper
from worker.processes.commands import Spawner
from worker.processes.handle import Exit, Launch, ProcessHandle

REASONS: tuple[Cause, ...] = ("stop", "lost", "timeout", "shutdown")


def watched(store: Store, child: ProcessHandle, why: Cause) -> tuple[Exit, Cause | None]:
    """How a process ends, and why it was made to, when *why* is there before anybody looks at it."""
    task = Task(name="t", run="x", timeout_ms=0 if why == "timeout" else None, graceful_stop_ms=100)
    stop_requests: deque[StopRequest] = deque([why] if why in ("stop", "lost") else [])
    draining = DrainState()
    if why == "shutdown":
        draining.begin(0.0, now=True)
    claimed = running(store, task)
    lease = Lease(claimed.id, claimed.record.token, stop_requests.append, lambda: True, time.monotonic())
    log_buffer = LogShipper(store).add(claimed.id, claimed.record, time.monotonic(), task, NOTHING)
    watch = Monitor(
        task,
        child,
        log_buffer,
        lease=lease,
        stop_requests=stop_requests,
        wakeup=Wakeup(),
        draining=draining,
        mark_alive=lambda: None,
    )
    return watch.until_end(), watch.cause


@pytest.mark.parametrize("why", REASONS)
def test_a_process_that_lives_is_made_to_end(store: Store, spawner: Spawner, why: Cause) -> None:
    child = spawner.spawn(Launch(argv=("sleep", "600"), env={"PATH": "/usr/bin:/bin"}, run_id="lives"))
    try:
        child.started()
        exit_, cause = watched(store, child, why)
        assert (cause, exit_.signal is not None) == (why, True)
    finally:
        child.close()


@pytest.mark.parametrize("why", REASONS)
def test_a_process_that_ended_by_itself_keeps_its_result(store: Store, spawner: Spawner, why: Cause) -> None:
    child = spawner.spawn(Launch(argv=("sh", "-c", "exit 3"), env={"PATH": "/usr/bin:/bin"}, run_id="ended"))
    try:
        child.started()
        assert select.select([child.control_fd], [], [], 10)[0], "its end was told"
        exit_, cause = watched(store, child, why)
        assert (exit_.code, cause) == (3, None)
    finally:
        child.close()
