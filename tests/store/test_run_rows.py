"""Facts for tables of runs: why each one waits, those around it, how many ended alike in a row."""

from shared.runs import Reason
from shared.store import fleet, run_rows
from shared.store.fleet import About
from tests.store.harness import StoreHarness


def present(harness: StoreHarness, worker: str = "w", *, unfit: str = "") -> None:
    about = About(host="h", pid=1, version="0", queues=("default",), slots=1, started_us=harness.now, unfit=unfit)
    harness.run(fleet.heartbeat(worker, [], about, now=harness.now))


def state(harness: StoreHarness, *runs: object) -> list[str]:
    found = [harness.get(run.id) for run in runs]  # type: ignore[attr-defined]
    by_run = harness.run(run_rows.states(found)).by_run
    return [by_run[run.id] for run in found]


def test_a_pending_run_says_why_it_waits(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1)
    harness.task("out", external=True)
    first, second = harness.trigger("a"), harness.trigger("a")
    later, outside = harness.trigger("out", delay_ms=5000), harness.trigger("out")
    assert state(harness, first, second, later, outside) == ["no_worker", "blocked", "due", "queued"]
    present(harness)
    assert state(harness, first, second) == ["queued", "blocked"]
    harness.pass_s(7)
    assert state(harness, first, later) == ["no_worker", "queued"], "no heartbeat for longer than a lease"


def test_a_worker_that_is_unfit_or_drains_serves_nothing(harness: StoreHarness) -> None:
    harness.task("a")
    run = harness.trigger("a")
    present(harness, unfit="no space left")
    assert state(harness, run) == ["no_worker"]
    present(harness)
    assert state(harness, run) == ["queued"]
    harness.run(fleet.drain("w"))
    assert state(harness, run) == ["no_worker"]


def test_a_run_that_runs_or_ended_has_its_own_word(harness: StoreHarness) -> None:
    harness.task("a")
    held = harness.started("a")
    assert state(harness, held) == ["running"]
    harness.end(held, Reason.TIMEOUT)
    assert state(harness, held) == ["timeout"]


def test_neighbours_are_those_of_the_task_in_the_order_of_numbers(harness: StoreHarness) -> None:
    harness.task("a")
    harness.task("b")
    runs = []
    for _ in range(40):
        harness.trigger("b")
        runs.append(harness.trigger("a"))
    for at, numbers in ((0, (1, 30)), (20, (6, 35)), (39, (11, 40))):
        near = harness.run(run_rows.neighbours(runs[at])).runs
        assert [run.number for run in near] == list(range(numbers[0], numbers[1] + 1))
        assert {run.task_name for run in near} == {"a"}


def test_a_streak_counts_back_to_the_last_other_end(harness: StoreHarness) -> None:
    harness.task("a", on_overlap="skip", max_concurrent=1)
    ended = []
    for reason in (Reason.FAILED, Reason.SUCCESS, Reason.FAILED, Reason.FAILED, Reason.FAILED, Reason.SUCCESS):
        held = harness.started("a")
        harness.trigger("a")  # skipped
        harness.end(held, reason)
        ended.append(harness.get(held.id))
        harness.pass_s(1)
    streaks = [harness.run(run_rows.neighbours(run)).streak for run in ended]
    assert [streak.count for streak in streaks if streak] == [1, 1, 1, 2, 3, 1]
    assert streaks[4] is not None
    assert streaks[4].since == ended[2].created_at


def test_a_run_that_lives_has_no_streak(harness: StoreHarness) -> None:
    harness.task("a")
    assert harness.run(run_rows.neighbours(harness.trigger("a"))).streak is None


def test_neighbours_and_states_take_two_round_trips_and_four_commands(harness: StoreHarness) -> None:
    harness.task("a")
    run = harness.trigger("a")
    made: list[int] = []
    make = harness._make
    harness._make = lambda calls: made.append(len(calls)) or make(calls)  # type: ignore[func-returns-value,method-assign]
    harness.run(run_rows.states(harness.run(run_rows.neighbours(run)).runs))
    assert made == [3, 1]


def test_the_usual_duration_is_of_the_successes_among_the_last_sixty_ends(harness: StoreHarness) -> None:
    harness.task("a")
    harness.task("b")

    def run_for(name: str, seconds: float, reason: Reason = Reason.SUCCESS) -> None:
        held = harness.started(name)
        harness.pass_s(seconds)
        harness.end(held, reason)

    for _ in range(10):
        run_for("a", 5)  # too long ago
    for _ in range(40):
        run_for("a", 1)
    for _ in range(20):
        run_for("a", 3, Reason.FAILED)
    for _ in range(4):
        run_for("b", 1)
    run_for("b", 2, Reason.FAILED)
    assert harness.run(run_rows.usual(["a", "b", "never"])) == {"a": run_rows.Usual(1000, 1000)}
    run_for("b", 9)
    assert harness.run(run_rows.usual(["b"])) == {"b": run_rows.Usual(1000, 9000)}
    assert harness.run(run_rows.usual([])) == {}
