"""Pages of runs against a plain sort: exact totals, nothing twice, nothing missing, in the right order."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared import ops
from shared.clock import from_datetime
from shared.errors import NotFound
from shared.runs import Reason, Run, Status, to_run
from shared.store import creation, listing, retention, runs, tasks
from shared.store.listing import Filter
from shared.store.redis.call import Call, Key
from tests.store.consistency import dump, records
from tests.store.harness import StoreHarness, driven

NAMES = ("a", "b", "c")
FATES = ("pending", "running", "stopped before it started", *(str(one) for one in Reason))

fates = st.tuples(st.sampled_from(NAMES), st.sampled_from(FATES), st.integers(0, 3), st.integers(-1, 3))
filters = st.builds(
    Filter,
    task_name=st.sets(st.sampled_from((*NAMES, "unknown")), max_size=2).map(lambda found: tuple(sorted(found))),
    status=st.sets(st.sampled_from(Status), max_size=2).map(lambda found: tuple(sorted(found))),
    end_reason=st.one_of(
        st.just(()), st.sets(st.sampled_from(Reason), max_size=3).map(lambda found: tuple(sorted(found)))
    ),
)


@hypothesis_settings(max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(
    history=st.lists(fates, max_size=25),
    questions=st.lists(
        st.tuples(filters, st.sampled_from(listing.SORT_FIELDS), st.booleans(), st.integers(1, 7)),
        min_size=6,
        max_size=6,
    ),
)
def test_any_list_is_that_of_a_plain_sort(harness: StoreHarness, history: list[Any], questions: list[Any]) -> None:
    _forget_everything(harness)
    _live(harness, history)
    everything = _everything(harness)
    for where, sort_field, descending, limit in questions:
        wanted = [run for run in everything if _matches(run, where)]
        seen: list[Run] = []
        offset = 0
        while True:
            page = harness.run(
                listing.page(where, sort_field=sort_field, descending=descending, limit=limit, offset=offset)
            )
            assert (page.total, page.complete) == (len(wanted), True)
            assert len(page.runs) == min(limit, max(0, len(wanted) - offset)), "a page is full until the last"
            assert bool(page.next_cursor) == (offset + limit < len(wanted))
            seen += page.runs
            offset += limit
            if offset >= len(wanted):
                break
        assert len({run.id for run in seen}) == len(seen), "a run is on two pages"
        assert {run.id for run in seen} == {run.id for run in wanted}
        keys = [_key(run, sort_field) for run in seen]
        assert keys == sorted(keys, reverse=descending)
        by_cursor = list(_walk(harness, where, sort_field, descending, limit))
        assert by_cursor == [run.id for run in seen], "cursors lead over the same pages"


def _walk(
    harness: StoreHarness,
    where: Filter,
    sort_field: str,
    descending: bool,
    limit: int,
    between: Callable[[list[UUID]], None] = lambda seen: None,
) -> list[UUID]:
    """All runs by cursor; *between* happens after each page."""
    seen: list[UUID] = []
    cursor = ""
    while True:
        page = harness.run(
            listing.page(where, sort_field=sort_field, descending=descending, limit=limit, cursor=cursor)
        )
        seen += [run.id for run in page.runs]
        if not page.next_cursor:
            return seen
        cursor = page.next_cursor
        between(seen)


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort_field", listing.SORT_FIELDS)
def test_no_run_is_shown_twice_or_left_out_while_others_come_and_go(
    harness: StoreHarness, sort_field: str, descending: bool, filtered: bool
) -> None:
    for task in "abc":
        harness.task(task)
        for number in range(12):
            harness.started(task)
            harness.pass_s(1 if number % 3 else 0)  # some are equal in all that can be sorted by
    for run in harness.run(listing.page(Filter(status=(Status.RUNNING,)), limit=100)).runs:
        record = harness.record(run.id)
        harness.run(runs.end(run.id, record.token, Reason.SUCCESS, run.number % 3, "", facts=None))
    where = Filter(triggered_by=("api",)) if filtered else Filter()
    before = {run.id for run in _everything(harness)}
    gone: set[UUID] = set()

    def between(seen: list[UUID]) -> None:
        harness.pass_s(1)
        harness.trigger("a")  # one more at the one end
        for victim in (seen[-1], min(before - set(seen) - gone, default=None), seen[0]):
            if victim in before - gone:
                harness.run(ops.delete(str(victim)))
                gone.add(victim)

    seen = _walk(harness, where, sort_field, descending, 5, between)
    assert len(set(seen)) == len(seen), "a run is on two pages"
    assert before - gone <= set(seen), "a run is on none"


def test_a_cursor_is_of_one_query(harness: StoreHarness) -> None:
    harness.task()
    for _ in range(3):
        harness.trigger()
    cursor = harness.run(listing.page(Filter(), limit=1)).next_cursor
    with pytest.raises(ValueError, match="is of another query"):
        harness.run(listing.page(Filter(), limit=1, cursor=cursor, descending=False))
    with pytest.raises(ValueError, match="is of another query"):
        harness.run(listing.page(Filter(task_name=("a",)), limit=1, cursor=cursor))


def test_a_cursor_continues_where_a_page_ended(harness: StoreHarness) -> None:
    harness.task()
    ids = [harness.trigger().id for _ in range(5)]
    seen: list[UUID] = []
    cursor = ""
    while True:
        page = harness.run(listing.page(Filter(), limit=2, cursor=cursor, descending=False))
        seen += [run.id for run in page.runs]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == ids


@pytest.mark.parametrize("cursor", ["x", "o50", "o-1", "²", "A" * 30, "====", "lg"])
def test_an_invalid_cursor_is_refused(harness: StoreHarness, cursor: str) -> None:
    with pytest.raises(ValueError, match="is not a valid cursor"):
        harness.run(listing.page(Filter(), cursor=cursor))


@pytest.mark.parametrize("sort_field", listing.SORT_FIELDS)
@pytest.mark.parametrize("descending", [True, False])
def test_equals_are_all_shown_whatever_the_page(harness: StoreHarness, sort_field: str, descending: bool) -> None:
    harness.task()
    for number in range(12):
        held = harness.started()
        harness.end(held, list(Reason)[number % 4], 3)
    seen = [
        run.id
        for offset in range(12)
        for run in harness.run(
            listing.page(Filter(), sort_field=sort_field, descending=descending, limit=1, offset=offset)
        ).runs
    ]
    assert len(set(seen)) == 12


def test_filters_that_no_index_knows(harness: StoreHarness) -> None:
    harness.task("a", tags=("nightly",))
    harness.task("b", queue="q")
    one = harness.trigger("a", triggered_by="cloud", external_execution_id="E-1")
    harness.end(harness.claimed("w1"), Reason.FAILED, 3, message="It broke")
    harness.pass_s(2)
    two = harness.trigger("b", tags=("extra",))
    held = harness.claimed("w2", "q")
    harness.pass_s(1.5)
    harness.end(held)

    def found(**where: Any) -> list[UUID]:
        return [run.id for run in harness.run(listing.page(Filter(**where), descending=False)).runs]

    assert found(tag=("nightly",)) == [one.id]
    assert found(tag=("nightly", "extra")) == [one.id, two.id]
    assert found(worker=("w2",)) == found(queue=("q",)) == found(min_duration_ms=1500) == [two.id]
    assert found(min_duration_ms=1501) == []
    assert found(exit_code=3) == found(triggered_by=("cloud",)) == found(search="BROKE") == [one.id]
    assert found(search="b#1") == [two.id]
    assert found(search=str(one.id)[-8:]) == [one.id]
    assert found(external_execution_id="E-1") == [one.id]
    assert found(external_execution_id="E-2") == []
    assert found(execution_id=two.id) == [two.id]
    assert found(execution_id=two.id, status=(Status.RUNNING,)) == []
    assert found(retries_only=True) == []


@pytest.mark.parametrize("descending", [True, False])
def test_a_stretch_of_time_is_listed_exactly(harness: StoreHarness, descending: bool) -> None:
    harness.task("a")
    harness.task("b")
    made = []
    for number in range(12):
        made.append(harness.trigger("ab"[number % 2]))
        if number % 3 == 2:
            harness.end(harness.claimed())
            harness.pass_s(1)
    moments = sorted({from_datetime(run.created_at) for run in made})
    for after in (None, *moments):
        for before in (None, *moments):
            for names in ((), ("a",), ("a", "b")):
                wanted = [
                    run.id
                    for run in made
                    if (after is None or from_datetime(run.created_at) >= after)
                    and (before is None or from_datetime(run.created_at) < before)
                    and (not names or run.task_name in names)
                ]
                where = Filter(created_after_us=after, created_before_us=before, task_name=names)
                pages = [
                    harness.run(listing.page(where, descending=descending, limit=5, offset=offset))
                    for offset in range(0, 15, 5)
                ]
                assert {(page.total, page.complete) for page in pages} == {(len(wanted), True)}
                assert sorted(run.id for page in pages for run in page.runs) == sorted(wanted)
                times = [run.created_at for page in pages for run in page.runs]
                assert times == sorted(times, reverse=descending)


def test_retries_can_be_listed_alone(harness: StoreHarness) -> None:
    entry = harness.task("a", retry_attempts=1, retry_delay_ms=(0,))
    harness.fail(harness.started(), entry)
    page = harness.run(listing.page(Filter(retries_only=True)))
    assert [run.retry_attempt for run in page.runs] == [1]


@pytest.mark.parametrize("field", ["created", "ended"])
def test_times_are_compared_to_the_microsecond(harness: StoreHarness, field: str) -> None:
    harness.task()
    moments = [harness.now + n for n in range(60)]
    for moment in moments:
        harness.now = moment
        harness.end(harness.started())
    for moment in moments:
        bounds: dict[str, Any] = {f"{field}_after_us": moment, f"{field}_before_us": moment + 1}
        where = Filter(**bounds)
        (run,) = harness.run(listing.page(where)).runs
        assert from_datetime(run.created_at) == moment


def test_a_run_is_found_by_its_id_and_by_its_number(harness: StoreHarness) -> None:
    harness.task("my.task-1")
    run = harness.trigger("my.task-1")
    assert harness.run(runs.find(str(run.id))).id == run.id
    assert harness.run(runs.find("my.task-1#1")).id == run.id
    held = harness.claimed()
    assert harness.run(runs.find("my.task-1#1")).status == "running"
    for reason in Reason:
        if reason is not Reason.SKIPPED:
            harness.end(held, reason)
            assert harness.run(runs.find(f"my.task-1#{held.record.number}")).end_reason == reason
            held = harness.started("my.task-1")


@pytest.mark.parametrize(
    "ref", ["", "#", "a#", "#1", "a#2", "a#x", "a#²", "a#-1", "a#" + "1" * 40, "b#1", "x" * 500, "a b#1"]
)
def test_a_name_of_nothing_is_not_found(harness: StoreHarness, ref: str) -> None:
    harness.task("a")
    harness.trigger()
    with pytest.raises(NotFound, match="there is no run"):
        harness.run(runs.find(ref))


def test_a_run_that_moves_while_it_is_looked_for_is_found(harness: StoreHarness) -> None:
    harness.task()
    run = harness.trigger()

    def look(calls: object) -> None:
        if held := harness.claim():
            assert held.id == run.id

    assert driven(harness, runs.find("a#1"), after=look).id == run.id


def test_counts(harness: StoreHarness) -> None:
    harness.task("a")
    harness.task("b")
    _live(
        harness,
        [("a", str(Reason.FAILED), 0, 1), ("a", "running", 0, 0), ("b", "pending", 0, 0), ("a", "pending", 0, 0)],
    )
    counts = harness.run(tasks.counts(["a", "b", "c"]))
    assert counts["a"] == tasks.Counts(1, 1, {"failed": 1}, 3)
    assert counts["b"] == tasks.Counts(1, 0, {}, 1)
    assert counts["c"] == tasks.Counts(0, 0, {}, 0)


def _live(harness: StoreHarness, history: list[Any]) -> None:
    """Make runs that met these fates: (task, fate, queue of time, exit code)."""
    for name in NAMES:
        harness.task(name, queue=f"q-{name}")
    for number, (name, fate, delta, code) in enumerate(history):
        harness.now += delta
        run = harness.trigger(name, priority=9 if fate not in ("pending", "stopped before it started") else 0)
        if fate == "stopped before it started":
            harness.run(ops.stop(str(run.id)))
        elif fate == Reason.SKIPPED:
            harness.run(ops.stop(str(run.id)))
            what = ops.creation(harness.entry(name), ops.Request(), harness.now + number)
            harness.run(
                creation.create(creation.Create(ids=what.ids[:1], template=what.template, refuse="skipped: for a test"))
            )
        elif fate != "pending":
            held = harness.claimed("w", f"q-{name}")
            assert held.id == run.id
            if fate != "running":
                harness.now += 2 * delta
                harness.end(held, Reason(fate), code)


@pytest.mark.parametrize("score", [-9.2e18, 9.2e18, 1e308, "-inf", "+inf"])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("is_ended", [True, False])
def test_an_overwritten_score_delays_no_other(
    harness: StoreHarness, score: float | str, is_ended: bool, descending: bool
) -> None:
    harness.task("a")
    ended, held = harness.trigger("a"), harness.claimed()
    harness.run(runs.end(held.id, held.record.token, Reason.SUCCESS, 0, ""))
    waiting = harness.trigger("a")
    state, run = ("success", ended) if is_ended else ("pending", waiting)
    harness.run(Call("ZADD", (Key(f"ix:all:{state}:created"), score, run.id.bytes), bool))
    for offset in range(3):  # two sets in one segment, so that the score at which the page begins is looked for
        assert harness.run(listing.page(Filter(), descending=descending, limit=2, offset=offset)).total == 2
    _forget_everything(harness)


def _forget_everything(harness: StoreHarness) -> None:
    for name in NAMES:
        harness.run(ops.stop_task(name))
    for run in _everything(harness):
        if run.status == Status.RUNNING:
            record = harness.record(run.id)
            harness.run(runs.end(run.id, record.token, Reason.STOPPED, 0, ""))
    for name in NAMES:
        while harness.run(retention.prune(name, 0, 0)).runs:
            pass


def _everything(harness: StoreHarness) -> list[Run]:
    return [to_run(UUID(bytes=one), record) for one, record in records(dump(harness)).items()]


def _matches(run: Run, where: Filter) -> bool:
    return (
        (not where.task_name or run.task_name in where.task_name)
        and (not where.status or run.status in where.status)
        and (not where.end_reason or run.end_reason in where.end_reason)
    )


def _key(run: Run, sort_field: str) -> Any:
    created = from_datetime(run.created_at)
    live = run.status != Status.ENDED
    started = from_datetime(run.start_at) if run.start_at else 0
    if sort_field == "task_name":
        return run.task_name
    if sort_field == "status":
        return (run.status, created)
    if sort_field == "start_at":
        return started if run.status != Status.PENDING else -1
    if sort_field == "exit_code":
        return run.exit_code
    if sort_field == "duration":
        return -1 if live else (from_datetime(run.end_at) - started if started and run.end_at else 0)
    return created
