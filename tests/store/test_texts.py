"""What is large of a run's parameters, tags and labels is kept once for its execution, and shown with each run."""

import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from shared import ops
from shared.ops.new_execution import creation
from shared.runs import Reason, Record, Run
from shared.store import executions, listing, runs, stops
from shared.store.creation import Created, create
from shared.store.dialects import lineage_events, orchestrated
from shared.store.origin import Origin
from shared.store.redis.call import Call, RawKey
from shared.tasks import Param
from tests.store.consistency import check_store, dump
from tests.store.harness import StoreHarness
from tests.store.test_orchestrated import drive, seen

DECLARED = {"blob": Param(), "rest": Param()}
PARAMS = {"blob": "Ä" * 3000}
TAGS = tuple(f"tag-{number}-{'x' * 80}" for number in range(10))
LABELS = {f"label-{number}": "y" * 400 for number in range(10)}
LARGE: dict[str, Any] = {"params": PARAMS, "tags": TAGS, "labels": LABELS}


class Shown(NamedTuple):
    """The texts of a run or a record, as they are to be seen."""

    params: Any
    tags: Any
    labels: Any


ALL = Shown(PARAMS, TAGS, LABELS)


def shown(one: Run | Record | None) -> Shown:
    assert one is not None
    if isinstance(one, Record):
        assert not any(text.startswith("@") for text in (one.params, one.tags, one.labels)), "these are references"
        params, tags, labels = (msgspec.json.decode(text) for text in (one.params, one.tags, one.labels))
        return Shown(params, tuple(tags), labels)
    assert isinstance(one.tags, list)
    return Shown(one.params, tuple(one.tags), one.labels)


def kept(harness: StoreHarness) -> dict[bytes, list[int]]:
    """How many bytes the texts of each execution have."""
    found = {key[6:]: value.content for key, value in dump(harness).items() if key.startswith(b"texts:")}
    return {x: sorted(map(len, texts.values())) for x, texts in found.items()}


def bytes_of_records(harness: StoreHarness) -> int:
    return sum(len(value.content) for key, value in dump(harness).items() if key.startswith(b"run:"))


def used(harness: StoreHarness) -> int:
    return int(re.findall(r"used_memory:(\d+)", harness.run(Call("INFO", ("memory",), bytes.decode)))[0])


def test_ten_thousand_replicas_have_their_parameters_once(harness: StoreHarness) -> None:
    harness.task(params=DECLARED, max_replicas=10_000)
    before = used(harness)
    harness.trigger(replicas=10_000, params={"blob": ""})
    plain = used(harness) - before
    harness.trigger(replicas=10_000, params={"blob": "x" * 6_500})
    large = used(harness) - before - plain
    assert large - plain < 1_500_000, "of 65 MB of parameters"
    assert large < 10_000_000


def test_what_is_small_is_in_the_record_and_needs_no_key(harness: StoreHarness) -> None:
    harness.task(params=DECLARED)
    harness.trigger(params={"blob": "x" * 245}, replicas=3)
    assert kept(harness) == {}
    run = harness.trigger(params={"blob": "x" * 246}, replicas=3)
    assert kept(harness) == {run.id.bytes: [257]}


def test_attempts_and_steps_with_the_same_share_them(harness: StoreHarness) -> None:
    entry = harness.task("first", params=DECLARED, retry_attempts=2, retry_delay_ms=(0,))
    harness.task("beside", params={"rest": Param()})
    harness.task("last", params=DECLARED, depends_on=("first", "beside"))
    run = harness.trigger("last", params={"blob": "x" * 1000, "rest": "y" * 1000}, labels=LABELS)
    size = {run.execution_id.bytes: [1011, 2021, len(msgspec.json.encode(LABELS))]}
    assert kept(harness) == size
    while held := harness.claim():
        if held.record.task == "first" and held.record.attempt < 2:
            harness.fail(held, entry)
        else:
            harness.end(held)
    assert [one.end_reason for one in harness.run(runs.execution_runs(run.execution_id))][-1] == Reason.SUCCESS
    assert len(harness.run(runs.execution_runs(run.execution_id))) == 5
    assert kept(harness) == size
    assert bytes_of_records(harness) < 5 * 700


def test_every_reader_of_a_run_gets_all_of_it(harness: StoreHarness) -> None:
    entry = harness.task(params=DECLARED, retry_attempts=1, retry_delay_ms=(0,))
    what = creation(entry, ops.Request(replicas=3, idempotency_key="k", body_digest="d", **LARGE), harness.now)
    for call in (create(what), create(what), create(msgspec.structs.replace(what, idempotency_key=""))):
        (created,) = harness.settle([call])
        assert isinstance(created, Created), created
        assert shown(created.run) == ALL
    assert kept(harness).keys() == {what.ids[0].bytes}
    held = [harness.claimed(), harness.claimed()]
    ended = harness.end(
        held[0], Reason.FAILED, 1, retry=harness.owed(held[0], entry, Reason.FAILED), wanted=harness.wanted()
    )
    assert ended.claimed is not None
    for each in [*held, ended.claimed]:
        assert shown(each.record) == ALL
        assert shown(harness.get(each.id)) == ALL
        assert shown(harness.record(each.id)) == ALL
        assert shown(harness.run(runs.find(str(each.id)))) == ALL
    assert shown(harness.run(runs.find(f"a#{held[0].record.number}"))) == ALL
    assert shown(harness.run(stops.stop(held[1].id, "stop", "enough"))[1]) == ALL
    everything: list[Run | Record] = [
        *harness.run(runs.many([one.id for one in held])),
        *harness.run(runs.execution_runs(what.ids[0])),
        *(run for step in harness.run(executions.some([what.ids[0]]))[0].steps for run in step.runs),
        *(record for _, record in harness.run(orchestrated.attempts(what.ids[0]))),
    ]
    first = harness.run(executions.page()).executions[0].first
    latest = harness.run(orchestrated.newest([what.ids[0]]))[0]
    assert latest is not None
    assert len(everything) == 2 + 4 + 4 + 4
    assert {str(shown(one)) for one in [*everything, first, latest.record]} == {str(ALL)}
    for where in ({}, {"execution_id": what.ids[0]}, {"tag": (TAGS[3],)}):
        page = harness.run(listing.page(listing.Filter(**where)))
        assert [shown(run) for run in page.runs] == [ALL] * 4, where


def test_a_slot_that_asks_again_gets_all_of_its_run_again(harness: StoreHarness) -> None:
    harness.task(params=DECLARED)
    harness.trigger(**LARGE)
    for _ in range(2):
        held = harness.claim(turn="one")
        assert held is not None
        assert shown(held.record) == ALL


def test_what_others_execute_is_answered_with_all_of_it(harness: StoreHarness) -> None:
    harness.task("ext", run=None, external=True)
    run = harness.trigger("ext", origin=Origin(api="x", metadata={"x.now": b"0"}), **LARGE)
    assert shown(drive(harness, run.id, "start", "failed+").record) == ALL
    assert shown(seen(harness, run.id).record) == ALL
    head = seen(harness, run.id).latest_attempt
    assert shown(harness.run(runs.report(head, "ended", reason=Reason.SUCCESS)).run) == ALL
    again = harness.run(orchestrated.newest([run.id]))[0]
    assert again is not None
    assert shown(again.record) == ALL


def test_a_slot_of_a_limit_is_free_after_a_run_of_many_tags(harness: StoreHarness) -> None:
    """The limits that it took are read from its tags."""
    harness.task("ext", run=None, external=True, limits={})
    harness.task(limits={f"tag:{TAGS[4]}": 1})
    run = harness.trigger("ext", origin=Origin(api="x", metadata={"x.now": b"0"}), **LARGE)
    drive(harness, run.id, "start", limits=[f"tag:{TAGS[4]}"])
    assert [key for key in dump(harness) if key.startswith(b"slots:")]
    drive(harness, run.id, "success")
    assert not [key for key in dump(harness) if key.startswith(b"slots:")]


def test_lineage_is_emitted_for_all_steps(harness: StoreHarness) -> None:
    harness.task(params=DECLARED)
    harness.run(lineage_events.unreported_ends(100))
    harness.run(ops.stop(str(harness.trigger(**LARGE).id)))
    assert [shown(record) for _, record in harness.run(lineage_events.unreported_ends(100)).runs] == [ALL]


def test_a_refused_trigger_shows_what_it_was_started_with(harness: StoreHarness) -> None:
    harness.task(params=DECLARED, max_concurrent=1, on_overlap="skip")
    harness.started()
    run = harness.trigger(**LARGE)
    assert run.end_reason == Reason.SKIPPED
    assert shown(harness.get(run.id)) == ALL
    check_store(harness)


def test_a_delayed_trigger_and_what_a_dead_maker_left_have_all_of_it(harness: StoreHarness) -> None:
    entry = harness.task(params=DECLARED)
    made = harness.run(create(creation(entry, ops.Request(replicas=450, delay_ms=1000, **LARGE), harness.now))).run
    assert made is not None
    harness.pass_s(2)
    harness.run(ops.enqueue_due(500))
    check_store(harness)
    harness.run(ops.make_all(made.execution_id))
    found = harness.run(runs.execution_runs(made.execution_id))
    assert len(found) == 450
    assert {str(shown(run)) for run in found} == {str(ALL)}
    assert len(kept(harness)) == 1


def again_as_a_whole(harness: StoreHarness, execution_id: UUID, run_id: UUID) -> Run:
    return harness.run(ops.rerun_execution(harness.catalog, execution_id)).run


def again_by_a_run(harness: StoreHarness, execution_id: UUID, run_id: UUID) -> Run:
    return harness.run(ops.rerun(harness.catalog, str(run_id))).run


@pytest.mark.parametrize("again", [again_as_a_whole, again_by_a_run])
def test_a_rerun_has_its_own_texts(harness: StoreHarness, again: Callable[[StoreHarness, UUID, UUID], Run]) -> None:
    harness.task(params=DECLARED)
    first = harness.trigger(**LARGE)
    harness.end(harness.claimed())
    second = again(harness, first.execution_id, first.id)
    assert kept(harness).keys() == {first.id.bytes, second.id.bytes}
    harness.run(ops.delete(str(first.id)))
    assert kept(harness).keys() == {second.id.bytes}
    assert shown(harness.claimed().record) == ALL


def test_an_execution_is_run_again_of_which_the_task_that_was_started_never_ran(harness: StoreHarness) -> None:
    """What it was started with is in its plan alone."""
    harness.task("first", params=DECLARED)
    harness.task("last", params=DECLARED, depends_on=("first",))
    run = harness.trigger("last", **LARGE)
    harness.end(harness.claimed(), Reason.FAILED, 1)
    for each in harness.run(runs.execution_runs(run.execution_id)):
        if each.task_name == "last":
            harness.run(ops.delete(str(each.id)))
    second = harness.run(ops.rerun_execution(harness.catalog, run.execution_id)).run
    plan = harness.run(executions.plan_of(second.execution_id))
    assert plan is not None
    assert {str(shown(template)) for template in plan[1]} == {str(ALL)}


def test_a_wiped_store_gets_them_back_once(harness: StoreHarness) -> None:
    entry = harness.task(params=DECLARED, retry_attempts=1, retry_delay_ms=(0,))
    harness.trigger(replicas=3, **LARGE)
    held = [harness.claimed() for _ in range(3)]
    before = kept(harness)
    harness.run(Call("FLUSHALL", (), bool))
    for each in held:
        assert harness.run(runs.restore(each.id, each.record, [])) == "restored"
    harness.apply()
    assert kept(harness) == before
    assert {str(shown(harness.get(each.id))) for each in held} == {str(ALL)}
    harness.fail(held[0], entry)
    assert shown(harness.claimed().record) == ALL
    check_store(harness)


def test_a_run_whose_worker_was_lost_is_tried_again_with_all_of_it(harness: StoreHarness) -> None:
    entry = harness.task(params=DECLARED, retry_attempts=1, retry_delay_ms=(0,))
    harness.trigger(**LARGE)
    lost = harness.claimed()
    harness.pass_s(7)
    assert harness.rescue(lost.id, entry).state == "crashed"
    retried = harness.claimed()
    assert (retried.record.retry_of, shown(retried.record)) == (str(lost.id), ALL)


def test_they_stay_until_the_last_run_is_forgotten_and_nothing_stays_then(harness: StoreHarness) -> None:
    harness.task("first", params=DECLARED, replicas=2)
    harness.task("last", params=DECLARED, depends_on=("first",), replicas=3, retry_attempts=1, retry_delay_ms=(0,))
    entry = harness.entry("last")

    def play() -> list[Run]:
        run = harness.trigger("last", **LARGE)
        failed = 0
        while held := harness.claim():
            if held.record.task == "last" and not failed:
                harness.fail(held, entry)
                failed += 1
            else:
                harness.end(held)
        return harness.run(runs.execution_runs(run.execution_id))

    for each in play():
        harness.run(ops.delete(str(each.id)))
        check_store(harness)
    before = dump(harness).keys()
    made = play()
    assert len(made) == 6
    random.Random(7).shuffle(made)
    for number, each in enumerate(made):
        assert len(kept(harness)) == 1
        assert shown(harness.get(each.id)) == ALL
        harness.run(ops.delete(str(each.id)))
        check_store(harness)
        assert number == 5 or {str(shown(harness.get(one.id))) for one in made[number + 1 :]} == {str(ALL)}
    assert dump(harness).keys() == before


REFERENCES = {
    "no hex": "@text:" + "z" * 32 + "0" * 40,
    "of nothing": "@text:" + "0" * 72,
}


@pytest.mark.parametrize("looks", [*REFERENCES, "of another's"])
def test_a_text_that_looks_like_a_reference_is_shown_as_it_was_sent(harness: StoreHarness, looks: str) -> None:
    """Whoever knew execution and SHA-1 would read the parameters of others, and what is no hex broke every list."""
    harness.task("secret", params=DECLARED)
    harness.task("ours")
    harness.task("outside", run=None, external=True)
    other = harness.trigger("secret", params=PARAMS)
    (texts,) = (value.content for key, value in dump(harness).items() if key.startswith(b"texts:"))
    sha = next(name for name, text in texts.items() if b"blob" in text).decode()
    text = REFERENCES.get(looks, f"@text:{other.execution_id.hex}{sha}")
    assert len(text) == 78
    mine = harness.trigger("ours", external_execution_id=text)
    told = harness.trigger("outside")
    reported = harness.run(runs.report(told.id, "ended", reason=Reason.FAILED, exit_code=1, message=text))
    assert reported.run is not None
    assert reported.run.message == text
    found = {run.id: run for run in harness.run(listing.page(listing.Filter(), limit=10)).runs}
    assert found[told.id].message == harness.get(told.id).message == text
    assert found[mine.id].external_execution_id == harness.get(mine.id).external_execution_id == text
    assert found[other.id].params == PARAMS


@pytest.mark.damaged
def test_a_run_with_overwritten_texts_fails_no_list(harness: StoreHarness) -> None:
    harness.task("a", params=DECLARED)
    harness.task("b")
    spoiled, other = harness.trigger("a", params=PARAMS), harness.trigger("b")
    harness.run(Call("SET", (RawKey(b"texts:" + spoiled.execution_id.bytes), "junk"), bool))
    page = harness.run(listing.page(listing.Filter(), limit=10))
    assert [run.id for run in page.runs] == [other.id]
    harness.run(Call("DEL", (RawKey(b"texts:" + spoiled.execution_id.bytes),), bool))
    harness.run(Call("DEL", (RawKey(b"run:" + spoiled.id.bytes),), bool))
    harness.run(Call("LPUSH", (RawKey(b"run:" + spoiled.id.bytes), "junk"), int))
    assert [run.id for run in harness.run(listing.page(listing.Filter(), limit=10)).runs] == [other.id]
