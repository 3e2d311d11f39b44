"""Errors that nobody foresees, in every part of every loop of a worker: no loop ends, and no run is lost."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import faulty_worker
from tests.system.fleet import Fleet, Process
from tests.waiting import wait_until

TASKS = """
[tasks.talk]
run = 'echo "$RUNFLEET_RUN_ID ran" >> $HISTORY; echo one; sleep 0.3; echo two; echo "key=value" >> $RUNFLEET_OUTPUT'

[tasks.call]
call = "calls:talk"

[tasks.last]
run = "echo all is well"
"""
LOOPS = {
    "heartbeat": """
        worker.heartbeat:Heartbeat._beat worker.heartbeat:Heartbeat._wait worker.heartbeat:Heartbeat._apply
        worker.heartbeat:Heartbeat._beat_until_stopped worker.heartbeat:Heartbeat.report_unfit
    """,
    "log shipper": """
        worker.logs.shipper:LogShipper._send worker.logs.shipper:LogShipper._compact
        worker.logs.shipper:LogShipper._write_until_stopped worker.logs.shipper:LogBuffer.calls
        worker.logs.shipper:LogBuffer.settle
    """,
    "processors": """
        worker.execution.processor:Processor._run_until_empty worker.execution.processor:Processor._claim
        worker.execution.processor:Processor._execute worker.execution.processor:Processor._wanted
        worker.app:WorkerProcess._wake_others worker.app:WorkerProcess._on_wakeup
    """,
    "preparing": """
        worker.execution.context:WorkerContext._read worker.execution.environment:compose
        worker.execution.execution:Execution._start worker.execution.execution:Execution._confirm_lease
        worker.logs.shipper:LogShipper.add worker.processes.callables:InterpreterPool.acquire
        worker.processes.callables:Interpreter.start worker.processes.client:SpawnerClient.request
    """,
    "monitoring": """
        worker.execution.monitor:Monitor.until_end worker.execution.monitor:Monitor._check_stop_reasons
        worker.execution.monitor:Monitor._read worker.execution.monitor:Monitor._read_rest
        worker.logs.shipper:LogBuffer.feed worker.execution.execution:judge
    """,
    "ending": """
        worker.execution.ending:collect worker.execution.ending:Ending._facts worker.execution.ending:Ending._retry
        worker.execution.ending:Ending._repeat worker.execution.ending:Ending._last_lines
        worker.execution.ending:Ending._settle worker.execution.ending:Ending._follow_up
        worker.execution.ending:Ending._wake_queues worker.logs.shipper:LogBuffer.finish worker.replay:EndReplay.add
        worker.logs.shipper:LogShipper.compact_soon worker.logs.shipper:LogShipper.remove
    """,
    # So often that meanwhile the heartbeat of the run, whose end was accepted, is refused.
    "ending for seconds": """
        worker.execution.ending:Ending._settle@2-16
    """,
    "consumers": """
        shared.queue:_WakeupConsumer._next shared.queue:_WakeupConsumer._hand_over shared.queue:_WakeupConsumer.ack
        shared.queue:_WakeupConsumer._drop shared.queue:_WakeupConsumer.requeue
    """,
    "self-check": """
        worker.fitness:Fitness._check_all worker.fitness:Fitness._conclude worker.fitness:Fitness._folder_trouble
        worker.processes.commands:Spawner.ping
    """,
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """API and scheduler; each test has a worker of its own."""
    with Fleet(tmp_path_factory.mktemp("planted"), TASKS, threads=3) as made:
        (made.folder / "calls.py").write_text("def talk():\n    print('one')\n    print('two')\n")
        made.start("web", "scheduler")
        yield made


def start(fleet: Fleet, *words: str) -> Process:
    """A worker with errors planted at the points named."""
    command = [sys.executable, "-P", str(Path(faulty_worker.__file__)), *words]
    fleet.processes.append(Process("worker", command, fleet.env, fleet.folder))
    fleet.processes[-1].wait_for("worker.started")
    return fleet.processes[-1]


@pytest.mark.parametrize("loop", LOOPS)
def test_no_loop_ends_of_an_error_and_every_run_has_an_end_with_its_cause(fleet: Fleet, loop: str) -> None:
    """F65: of a worker process."""
    worker = start(fleet, "--process", *LOOPS[loop].split())
    try:
        runs = [fleet.trigger(task) for task in ("talk", "call") for _ in range(8)]
        for run in runs:
            ended = fleet.ended(run, 60)
            reason, message = ended["end_reason"], ended.get("message", "")
            assert reason == "success" or (reason == "crashed" and "planted" in message), (ended, worker.said()[-4000:])
            assert "was lost" not in message
        for _ in range(6):
            assert fleet.perform("last")["end_reason"] in ("success", "crashed")
        assert fleet.perform("last")["end_reason"] == "success"
        assert worker.popen.poll() is None, worker.said()[-4000:]
        assert not worker.events("worker.broken"), worker.said()[-4000:]
        wait_until(lambda: not fleet.runs(status="running"), "nothing is left running")
    finally:
        worker.popen.terminate()
        assert worker.wait(20) == 0, worker.said()[-4000:]


def test_a_processor_that_hangs_is_noticed_and_its_worker_process_replaced(fleet: Fleet) -> None:
    """F65: runs of other processors end by themselves; the run that hung is rescued."""
    worker = start(fleet, "--everywhere", "hang=worker.execution.environment:compose", "stuck=7")
    try:
        hung = fleet.trigger("last")
        wait_until((fleet.folder / "hung").exists, "it hangs")
        assert fleet.perform("talk")["end_reason"] == "success"
        worker.wait_for("worker.broken", 30)
        assert 'missing="the progress of a processor"' in worker.events("worker.broken")[0]
        worker.wait_for("worker.restarted", 30)
        assert "exit_code=1" in worker.events("worker.restarted")[0]
        assert "was lost" in fleet.ended(hung)["message"]
        assert fleet.perform("last")["end_reason"] == "success"
    finally:
        worker.popen.terminate()
        assert worker.wait(20) == 0, worker.said()[-4000:]


def test_a_launcher_outlives_errors_of_its_own(fleet: Fleet) -> None:
    """F65: its worker processes, too."""
    points = """
        worker.launcher:Launcher._fill_up worker.launcher:Launcher._reap worker.launcher:Launcher._wait
        worker.launcher:Launcher._kill_hanging worker.launcher:Launcher._start
        worker.adopted_processes:AdoptedProcesses.kill
    """
    worker = start(fleet, *points.split())
    try:
        assert fleet.perform("last")["end_reason"] == "success"
        wait_until(lambda: len(worker.events("worker.launcher_failed")) >= 5, "errors were met")
        assert fleet.perform("last")["end_reason"] == "success"
        assert worker.popen.poll() is None
    finally:
        worker.popen.terminate()
        assert worker.wait(20) == 0, worker.said()[-4000:]
