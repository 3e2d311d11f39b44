"""A log collector that does not read: everything goes on, and what was lost is said."""

import os
import signal
import subprocess

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, procfile
from tests.waiting import wait_until

TASKS = """
[tasks.short]
run = "exit 3"
success_codes = [0]
"""


class Unread:
    """A worker whose standard output is a pipe; nobody reads it before ``read``."""

    def __init__(self, fleet: Fleet) -> None:
        self._read, write = os.pipe()
        env = fleet.env | {"RUNFLEET_LOG_LEVEL": "debug"}
        self.popen = subprocess.Popen(
            procfile()["worker"], env=env, cwd=fleet.folder, stdout=write, stderr=write, start_new_session=True
        )
        os.close(write)

    def read(self) -> str:
        """What it has said and its pipe has held, once it has ended."""
        text = b""
        os.set_blocking(self._read, False)
        while chunk := os.read(self._read, 65536):
            text += chunk
        return text.decode()

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        os.close(self._read)


def test_a_worker_whose_log_is_not_read_executes_and_exits_as_any_other(make_fleet: StartFleet) -> None:
    """F67: a pipe holds 64 KiB, which some hundred runs fill."""
    fleet = make_fleet(TASKS, "web", "scheduler", grace_s=3.0)
    worker = Unread(fleet)
    try:
        wait_until(lambda: fleet.workers(), "it is there", 30)
        runs = [fleet.trigger("short") for _ in range(400)]
        assert {fleet.ended(run, 60)["end_reason"] for run in runs} == {"failed"}
        assert fleet.workers()[0]["alive"]
        worker.popen.send_signal(signal.SIGTERM)
        assert worker.popen.wait(10) == 0
        said = worker.read()
        assert said.count("event=run.ended") < len(runs)  # else this tested nothing: all found room
    finally:
        worker.close()
