"""Background tasks with Prefect's own client, while the API, Redis and those who serve them come and go."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.dialects.conftest import ROOT, SCRIPTS
from tests.system.conftest import StartFleet, make_fleet
from tests.system.fleet import TOKEN, Fleet
from tests.waiting import wait_until

__all__ = ["make_fleet"]

TASKS = """
[tasks.greet]
run = 'echo "hello $RUNFLEET_PARAM_WHO"; test "$RUNFLEET_PARAM_TIMES" = 2'
retry_attempts = 1
retry_delay = "100ms"

[tasks.greet.params.who]
required = true

[tasks.greet.params.times]
type = "number"
"""


class Prefect:
    """Prefect's client in processes of its own, all with the same storage for parameters and results."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet = fleet
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RUNFLEET_")},
            "PREFECT_API_URL": f"{fleet.http.base_url}/api".replace("//api", "/api"),
            "PREFECT_API_AUTH_STRING": f"runfleet:{TOKEN}",
            "PREFECT_HOME": str(folder / "prefect"),
        }

    def start(
        self, *words: str, stdout: int | IO[str] = subprocess.PIPE, stderr: int | None = None
    ) -> subprocess.Popen[str]:
        python, script = ROOT / ".clients" / "prefect" / "bin" / "python", SCRIPTS / "prefect_background.py"
        command = [str(python), str(script), *words]
        return subprocess.Popen(command, env=self.env, stdout=stdout, stderr=stderr, text=True)

    def says(self, *words: str) -> list[str]:
        """What the script prints, in words."""
        with self.start(*words) as process:
            said, _ = process.communicate(timeout=100)
        assert process.returncode == 0, said
        return said.split()

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[str]]:
        """A consumer that has subscribed to the tasks; what it said is in the report of a failed test."""
        with tempfile.TemporaryFile("w+") as said:
            process = self.start("serve", stdout=said, stderr=subprocess.STDOUT)
            try:
                # Importing Prefect alone may take half a minute on a machine that is busy.
                wait_until(lambda: self._is_served_by(process), "the consumer has subscribed", 90)
                yield process
            finally:
                process.kill()
                process.wait()
                said.seek(0)
                print(f"--- consumer {process.pid}\n{said.read()[-6000:]}")  # noqa: T201  # pytest shows it

    def _is_served_by(self, process: subprocess.Popen[str]) -> bool:
        assert process.poll() is None, f"the consumer ended with {process.returncode}"
        found = self.fleet.http.post("/api/task_workers/filter", json={}).json()
        return any(one["identifier"].endswith(f"-{process.pid}") for one in found)

    def run(self, run_id: str) -> dict[str, object]:
        found = self.fleet.get(f"/api/task_runs/{run_id}")
        assert isinstance(found, dict)
        return found

    def states(self, run_id: str) -> list[str]:
        found: Any = self.fleet.get("/api/task_run_states/", task_run_id=run_id)
        return [state["name"] for state in found]

    def has_been(self, run_id: str, *names: str) -> Callable[[], bool]:
        return lambda: self.states(run_id) == [*names]

    def has_ended(self, run_id: str) -> Callable[[], bool]:
        return lambda: self.run(run_id)["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture
def prefect(make_fleet: StartFleet, tmp_path: Path) -> Prefect:
    fleet = make_fleet(TASKS)
    fleet.start("web")
    return Prefect(fleet, tmp_path)


def test_waiting_runs_outlive_restarts_and_the_next_consumer_executes_them(prefect: Prefect) -> None:
    runs = prefect.says("delay", "3")
    prefect.fleet.of("web").kill()
    prefect.fleet.redis.kill()
    prefect.fleet.redis.start()
    prefect.fleet.start("web")
    assert [prefect.states(run) for run in runs] == [["Scheduled"]] * 3
    with prefect.serving():
        for run in runs:
            wait_until(prefect.has_ended(run), f"{run} has ended", 30)
            # A client that connected anew tells of an end beside what its last connection has not written down yet.
            told = prefect.has_been(run, "Scheduled", "Pending", "Running", "Completed")
            wait_until(told, f"all states of {run} are known", 10)
        assert prefect.says("result", "3")[-3:] == ["[1,", "2,", "3]"]
        wait_until(lambda: "adding 1 and 1" in prefect.fleet.log({"id": runs[1]}), "what it printed is its log", 20)


def test_a_flow_and_its_tasks_run_as_they_are(prefect: Prefect) -> None:
    assert prefect.says("flow", "3")[-1] == "6"
    found = prefect.fleet.http.post("/api/task_runs/filter", json={"flows": {"name": {"any_": ["sums"]}}}).json()
    assert [one["state_type"] for one in found] == ["COMPLETED"] * 3
    flow_run = prefect.fleet.get(f"/api/flow_runs/{found[0]['flow_run_id']}")
    assert flow_run["state_type"] == "COMPLETED"


def test_a_run_whose_consumer_dies_is_executed_by_another(prefect: Prefect, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with prefect.serving() as first:
        run = prefect.says("slow", str(ran), "600")[0]
        wait_until(lambda: prefect.run(run)["state_type"] == "RUNNING", "it runs", 20)
        native = prefect.fleet.run(run)
        assert (native["status"], native["triggered_by"]) == ("running", "cloud")
        first.send_signal(signal.SIGKILL)
    with prefect.serving() as second:
        wait_until(lambda: len(ran.read_text().split()) == 2, "another one began with it", 30)
        wait_until(lambda: prefect.run(run)["state_type"] == "RUNNING", "it is told so", 10)
        assert ran.read_text().split()[-1] == str(second.pid)
        assert prefect.states(run)[:5] == ["Scheduled", "Pending", "Running", "Scheduled", "Pending"]
        assert prefect.fleet.run(run)["end_reason"] == "crashed"


def test_a_consumer_keeps_working_while_the_api_and_redis_are_away(prefect: Prefect, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with prefect.serving():
        run = prefect.says("slow", str(ran), "12")[0]
        wait_until(lambda: prefect.run(run)["state_type"] == "RUNNING", "it runs", 20)
        prefect.fleet.of("web").signal_group(signal.SIGTERM)
        prefect.fleet.redis.kill()
        prefect.fleet.redis.start()
        prefect.fleet.start("web")
        wait_until(prefect.has_ended(run), "it has ended", 40)
        assert prefect.run(run)["state_type"] == "COMPLETED"
        assert len(ran.read_text().split()) == 1, "it ran once"


def test_the_client_tries_again_by_itself_and_that_is_one_task_run(prefect: Prefect, tmp_path: Path) -> None:
    with prefect.serving():
        run, *result = prefect.says("flaky", str(tmp_path / "tries"))
        assert result == ["at", "last"]
        found = prefect.run(run)
        assert (found["run_count"], found["state_type"]) == (2, "COMPLETED")
        runs = prefect.fleet.get(f"/api/executions/{run}")
        assert "Retrying" in prefect.states(run)
        assert runs


def test_a_run_that_a_person_stops_stays_stopped(prefect: Prefect, tmp_path: Path) -> None:
    with prefect.serving():
        run = prefect.says("slow", str(tmp_path / "ran"), "3")[0]
        wait_until(lambda: prefect.run(run)["state_type"] == "RUNNING", "it runs", 20)
        prefect.fleet.post(f"/api/runs/{run}/stop")
        assert prefect.run(run)["state_type"] == "CANCELLED"
        until = time.monotonic() + 5  # by then its consumer has told that it completed
        wait_until(lambda: time.monotonic() > until, "its consumer is done with it", 10)
        assert prefect.run(run)["state_type"] == "CANCELLED"


def test_our_workers_execute_a_task_of_ours(prefect: Prefect) -> None:
    fleet = prefect.fleet
    fleet.start("scheduler", "worker")
    body = {
        "task_key": "greet",
        "dynamic_key": "1",
        "state": {"type": "SCHEDULED"},
        "task_inputs": {
            "who": [{"input_type": "constant", "type": "Ada"}],
            "times": [{"input_type": "constant", "type": "2"}],
        },
    }
    made = fleet.http.post("/api/task_runs/", json=body)
    assert made.status_code == 201, made.text
    run = made.json()["id"]
    wait_until(prefect.has_ended(run), "it has ended", 20)
    assert prefect.states(run) == ["Scheduled", "Running", "Completed"]
    assert fleet.log(fleet.run(run)) == ["hello Ada"]

    body |= {"dynamic_key": "2", "task_inputs": {"who": [{"input_type": "constant", "type": "Ada"}]}}
    run = fleet.http.post("/api/task_runs/", json=body).json()["id"]
    wait_until(prefect.has_ended(run), "it has failed twice", 20)
    found = prefect.run(run)
    assert (found["state_type"], found["run_count"]) == ("FAILED", 2)
    assert prefect.states(run) == ["Scheduled", "Running", "AwaitingRetry", "Retrying", "Failed"]
    assert fleet.run(run)["triggered_by"] == "cloud"


def test_a_task_of_ours_refuses_parameters_that_it_does_not_take(prefect: Prefect) -> None:
    prefect.fleet.start("scheduler")
    body = {"task_key": "greet", "dynamic_key": "1", "state": {"type": "SCHEDULED"}}
    answer = prefect.fleet.http.post("/api/task_runs/", json=body)
    assert answer.status_code == 422
    assert "is required" in answer.text or "Field required" in answer.text
    assert prefect.fleet.http.post("/api/task_runs/count", json={}).json() == 0
