"""Python callables: forked from a warm interpreter, judged, captured and stopped like commands."""

import time

import pytest

from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.waiting import wait_until

MODULE = """
import os, sys, time

STARTED = os.getpid()
CALLS = 0


def add(a, b=1):
    print("adding", a, b)
    return {"sum": a + b, "path": ["x", None, 1.5]}


def boom():
    print("before")
    raise ValueError("no such luck")


def leave():
    sys.exit(3)


def count():
    global CALLS
    CALLS += 1
    return {"calls": CALLS, "pid": os.getpid(), "run": os.environ["RUNFLEET_RUN_ID"]}


def hang():
    with open(os.environ["HISTORY"], "a") as file:
        file.write(os.environ["RUNFLEET_RUN_ID"] + " began\\\\n")
    time.sleep(60)


def die():
    os.kill(os.getpid(), 9)


def unspeakable():
    return object()
""".replace("\\\\", "\\")

TASKS = """
[defaults]
graceful_stop = "1s"

[tasks.add]
call = "sums:add"

[tasks.boom]
call = "sums:boom"

[tasks.leave]
call = "sums:leave"

[tasks.hang]
call = "sums:hang"

[tasks.die]
call = "sums:die"

[tasks.unspeakable]
call = "sums:unspeakable"

[tasks.apart]
call = "sums:count"

[tasks.together]
keep_runs = 5000  # more than are made, or the first are forgotten before the last are there
call = "sums:count"
isolate = false

[tasks.nomodule]
call = "no_such_module:f"

[tasks.nofunction]
call = "sums:no_such_function"
"""


@pytest.fixture(autouse=True, scope="module")
def module(fleet: Fleet) -> None:
    (fleet.folder / "sums.py").write_text(MODULE)


def test_a_callable_takes_parameters_prints_and_returns(fleet: Fleet) -> None:
    ended = fleet.perform("add", params={"a": 2, "b": 40})
    assert ended["end_reason"] == "success"
    assert ended["outputs"] == {"return": {"sum": 42, "path": ["x", None, 1.5]}}
    assert fleet.log(ended) == ["adding 2 40"]


def test_an_exception_is_a_failure_with_its_traceback_in_the_log(fleet: Fleet) -> None:
    ended = fleet.perform("boom")
    assert (ended["end_reason"], ended["exit_code"]) == ("failed", 1)
    log = fleet.log(ended)
    assert "before" in log
    assert log[-1] == "ValueError: no such luck"
    assert any("sums.py" in line and "in boom" in line for line in log)


def test_a_wrong_parameter_is_a_failure_that_says_so(fleet: Fleet) -> None:
    ended = fleet.perform("add", params={"c": 1})
    assert (ended["end_reason"], ended["exit_code"]) == ("failed", 1)
    assert "unexpected keyword argument 'c'" in fleet.log(ended)[-1]


@pytest.mark.parametrize(("task", "code"), [("leave", 3), ("die", 137), ("unspeakable", 1)])
def test_every_way_to_end_has_its_code(fleet: Fleet, task: str, code: int) -> None:
    ended = fleet.perform(task)
    assert (ended["end_reason"], ended["exit_code"]) == ("failed", code)


@pytest.mark.parametrize(("task", "word"), [("nomodule", "no_such_module"), ("nofunction", "no_such_function")])
def test_a_failed_import_is_named(fleet: Fleet, task: str, word: str) -> None:
    ended = fleet.perform(task)
    assert ended["end_reason"] == "failed"
    assert word in ended["message"] + "".join(fleet.log(ended))


def test_isolated_calls_share_nothing_and_the_others_a_warm_process(fleet: Fleet) -> None:
    apart = [fleet.perform("apart")["outputs"]["return"] for _ in range(3)]
    assert [one["calls"] for one in apart] == [1, 1, 1]
    assert len({one["pid"] for one in apart}) == 3
    runs = [fleet.perform("together") for _ in range(3)]
    together = [run["outputs"]["return"] for run in runs]
    assert [one["calls"] for one in together] == [1, 2, 3]
    assert len({one["pid"] for one in together}) == 1
    assert [one["run"] for one in together] == [run["id"] for run in runs]


def test_a_warm_process_is_replaced_after_a_thousand_runs(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, threads=1)
    (fleet.folder / "sums.py").write_text(MODULE)
    fleet.start_all()
    run = fleet.trigger("together", replicas=1002)
    mine = {"execution_id": run["execution_id"], "end_reason": "success"}
    wait_until(lambda: fleet.get("/api/runs", limit=1, **mine)["total"] == 1002, "all have run", 60)
    runs = [*fleet.chain(run), *fleet.runs(execution_id=run["execution_id"], offset=1000)]
    returned = [one["outputs"]["return"] for one in runs]
    assert sorted(one["calls"] for one in returned) == [1, 1, 2, 2, *range(3, 1001)]
    assert len({one["pid"] for one in returned}) == 2


def test_a_callable_can_be_stopped(fleet: Fleet) -> None:
    run = fleet.trigger("hang")
    fleet.wait_for_word(run["id"], "began")
    asked_s = time.monotonic()
    fleet.post(f"/api/runs/{run['id']}/stop")
    assert fleet.ended(run)["end_reason"] == "stopped"
    assert time.monotonic() - asked_s < 2
    assert not fleet.run_processes(run["id"])
