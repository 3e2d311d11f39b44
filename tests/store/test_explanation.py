"""Why a run is in its state: each code of ``docs/api.md`` in a story of its own."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared import ops
from shared.ops import explanation
from shared.ops.explanation import Explanation, explain
from shared.runs import Reason, Run
from shared.store import fleet, runs
from shared.store.fleet import About
from shared.store.redis.call import Call
from tests.store.harness import StoreHarness

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")


def anything(task: str) -> bool:
    return True


def why(harness: StoreHarness, run: Run, covers: Callable[[str], bool] = anything) -> Explanation:
    return harness.run(explain(harness.get(run.id), covers))


def codes(found: Explanation) -> list[str]:
    return [cause.code for cause in found.because]


def ended(harness: StoreHarness, reason: Reason, exit_code: int = 0, *, seconds: float = 1, worker: str = "w") -> Run:
    harness.trigger("a")
    held = harness.claimed(worker)
    harness.pass_s(seconds)
    harness.end(held, reason, exit_code)
    return harness.get(held.id)


def test_a_delayed_run_says_when_it_starts_at_the_earliest(harness: StoreHarness) -> None:
    harness.task("a")
    run = harness.trigger("a", delay_ms=5000)
    found = why(harness, run)
    assert (found.state, codes(found), found.earliest_at) == ("due", ["delayed"], run.due_at)


def test_a_run_behind_another_names_it_and_its_place(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1)
    held = harness.started("a")
    harness.trigger("a")
    found = why(harness, harness.trigger("a"))
    (cause,) = found.because
    assert (found.state, cause.code, cause.limit, cause.place) == ("blocked", "overlap", ("a", 1, 1), 2)
    assert cause.run == harness.get(held.id)
    assert cause.since == harness.get(held.id).start_at
    assert found.text == "waits until a#1 is over: max_concurrent of a = 1 is taken"
    assert cause.cure == "POST /api/runs/a%231/stop stops it"


def test_a_run_of_a_task_that_the_reader_may_not_see_is_not_named(harness: StoreHarness) -> None:
    harness.task("secret", limits={"db": 1})
    harness.task("a", limits={"db": 1})
    harness.started("secret")
    run = harness.trigger("a")
    assert why(harness, run).because[0].run is not None
    found = why(harness, run, lambda task: task == "a")
    (cause,) = found.because
    assert (cause.code, cause.run, cause.since, cause.cure) == ("limit", None, None, "")
    assert cause.text == "waits for others: the limit db = 1 is taken"


def test_a_run_in_a_queue_says_what_is_wrong_with_it_and_who_is_ahead(harness: StoreHarness) -> None:
    harness.task("a")
    harness.trigger("a")
    run = harness.trigger("a")
    harness.run(fleet.pause_queue("default", True))
    found = why(harness, run)
    assert (found.state, codes(found)) == ("no_worker", ["queue_paused", "no_worker", "behind"])
    assert found.because[1].cure == "start a worker that serves it: RUNFLEET_QUEUES=default"
    assert found.because[2].text == "1 run is ahead of it in queue default"
    about = About(host="h", pid=1, version="0", queues=("default",), slots=1, started_us=harness.now)
    harness.run(fleet.heartbeat("w", [], about, now=harness.now))
    harness.run(fleet.pause_queue("default", False))
    assert codes(why(harness, run)) == ["behind"]


def test_an_external_run_waits_for_a_report(harness: StoreHarness) -> None:
    harness.task("a", external=True)
    assert codes(why(harness, harness.trigger("a"))) == ["external"]


def test_a_retry_waits_for_its_delay(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=1, retry_delay_ms=(60_000,))
    held = harness.started("a")
    harness.fail(held, entry)
    retry = next(run for run in harness.run(runs.execution_runs(held.id)) if run.retry_attempt)
    assert codes(why(harness, retry)) == ["retry_delay"]


def test_a_running_run_is_measured_by_the_usual_duration(harness: StoreHarness) -> None:
    harness.task("a", on_interrupt="end")
    for _ in range(5):
        ended(harness, Reason.SUCCESS)
    held = harness.started("a")
    run = harness.get(held.id)
    assert codes(why(harness, run)) == ["on_time"]
    harness.pass_s(5)
    assert codes(why(harness, run)) == ["slow"]
    harness.append(held, 0, "a line")
    harness.pass_s(explanation.SILENT_MS / 1000 - 1)
    assert codes(why(harness, run)) == ["slow"]
    harness.pass_s(1)
    assert codes(why(harness, run)) == ["silent", "slow"]
    harness.run(ops.stop(str(run.id)))
    assert codes(why(harness, run)) == ["stop_requested"]


def test_a_bad_end_says_what_is_different_from_the_last_success(harness: StoreHarness) -> None:
    harness.task("a")
    ended(harness, Reason.SUCCESS)
    good = ended(harness, Reason.SUCCESS)
    assert why(harness, good).changed == []
    harness.task("a", timeout_ms=1000)
    bad = why(harness, ended(harness, Reason.FAILED, 3, seconds=4, worker="other"))
    assert codes(bad) == ["ended"]
    assert [(change.code, change.text) for change in bad.changed] == [
        ("definition", "the definition changed just before this run"),
        ("first_failure", "first failure after 2 successes"),
        ("worker", "another worker than the last success (w)"),
        ("duration", "4.0 × as long as the last success (1s)"),
        ("exit_code", "exit code 3 instead of 0"),
    ]
    again = why(harness, ended(harness, Reason.FAILED, 3))
    assert [change.text for change in again.changed] == [
        "the definition changed 2 runs ago",
        "exit code 3 instead of 0",
    ]


def test_the_page_lists_the_codes() -> None:
    source = Path(explanation.__file__).read_text("utf-8")
    used = set(re.findall(r'code="(\w+)"', source)) | set(re.findall(r'Change\("(\w+)"', source))
    used |= {"overlap", "limit", "delayed", "retry_delay"}
    listed = set(re.findall(r"`(\w+)`", PAGE.partition("## Why a run is in its state")[2].partition("\n## ")[0]))
    assert used - listed == set()


@pytest.mark.parametrize("most", [None, 1])
def test_an_explanation_takes_at_most_nine_commands(harness: StoreHarness, most: int | None) -> None:
    """With the one that finds the run they are ten."""
    harness.task("a", max_concurrent=most)
    for _ in range(5):
        ended(harness, Reason.SUCCESS)
    bad = ended(harness, Reason.FAILED, 1)
    running, waiting = harness.trigger("a"), harness.trigger("a")
    held = harness.claimed()
    harness.append(held, 0, "a line")
    harness.pass_s(1000)
    made: list[int] = []
    make = harness._make

    def counted(calls: Sequence[Call[Any]]) -> list[Any]:
        made.append(len(calls))
        return make(calls)

    for run in (bad, running, waiting):
        found = harness.get(run.id)
        made.clear()
        harness._make = counted  # type: ignore[method-assign]
        harness.run(explain(found, anything))
        harness._make = make  # type: ignore[method-assign]
        assert 1 <= sum(made) <= 9
