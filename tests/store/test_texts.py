"""What is large of a run's parameters, tags and labels is kept once for its execution, and shown with each run."""

from __future__ import annotations

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
from shared.store import executions, listing, runs
from shared.store.creation import Created, create
from shared.store.dialects import lineage_events, orchestrated
from shared.store.origin import Origin
from shared.store.redis.call import Call, RawKey
from shared.tasks import Param
from tests.store.checking import check_store, dump
from tests.store.desk import Desk
from tests.store.test_driven import drive, seen

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


def kept(desk: Desk) -> dict[bytes, list[int]]:
    """How many bytes the texts of each execution have."""
    found = {key[6:]: value.content for key, value in dump(desk).items() if key.startswith(b"texts:")}
    return {x: sorted(map(len, texts.values())) for x, texts in found.items()}


def bytes_of_records(desk: Desk) -> int:
    return sum(len(value.content) for key, value in dump(desk).items() if key.startswith(b"run:"))


def used(desk: Desk) -> int:
    return int(re.findall(r"used_memory:(\d+)", desk.run(Call("INFO", ("memory",), bytes.decode)))[0])


def test_ten_thousand_replicas_have_their_parameters_once(desk: Desk) -> None:
    desk.task(params=DECLARED, max_replicas=10_000)
    before = used(desk)
    desk.trigger(replicas=10_000, params={"blob": ""})
    plain = used(desk) - before
    desk.trigger(replicas=10_000, params={"blob": "x" * 6_500})
    large = used(desk) - before - plain
    assert large - plain < 1_500_000, "of 65 MB of parameters"
    assert large < 10_000_000


def test_what_is_small_is_in_the_record_and_needs_no_key(desk: Desk) -> None:
    desk.task(params=DECLARED)
    desk.trigger(params={"blob": "x" * 245}, replicas=3)
    assert kept(desk) == {}
    run = desk.trigger(params={"blob": "x" * 246}, replicas=3)
    assert kept(desk) == {run.id.bytes: [257]}


def test_attempts_and_steps_with_the_same_share_them(desk: Desk) -> None:
    entry = desk.task("first", params=DECLARED, retry_attempts=2, retry_delay_ms=(0,))
    desk.task("beside", params={"rest": Param()})
    desk.task("last", params=DECLARED, depends_on=("first", "beside"))
    run = desk.trigger("last", params={"blob": "x" * 1000, "rest": "y" * 1000}, labels=LABELS)
    size = {run.execution_id.bytes: [1011, 2021, len(msgspec.json.encode(LABELS))]}
    assert kept(desk) == size
    while held := desk.claim():
        if held.record.task == "first" and held.record.attempt < 2:
            desk.fail(held, entry)
        else:
            desk.end(held)
    assert [one.end_reason for one in desk.run(runs.execution_runs(run.execution_id))][-1] == Reason.SUCCESS
    assert len(desk.run(runs.execution_runs(run.execution_id))) == 5
    assert kept(desk) == size
    assert bytes_of_records(desk) < 5 * 700


def test_every_reader_of_a_run_gets_all_of_it(desk: Desk) -> None:
    entry = desk.task(params=DECLARED, retry_attempts=1, retry_delay_ms=(0,))
    what = creation(entry, ops.Request(replicas=3, idempotency_key="k", body_digest="d", **LARGE), desk.now)
    for call in (create(what), create(what), create(msgspec.structs.replace(what, idem=""))):
        (created,) = desk.settle([call])
        assert isinstance(created, Created), created
        assert shown(created.run) == ALL
    assert kept(desk).keys() == {what.ids[0].bytes}
    held = [desk.claimed(), desk.claimed()]
    ended = desk.end(held[0], Reason.FAILED, 1, retry=desk.owed(held[0], entry, Reason.FAILED), wanted=desk.wanted())
    assert ended.claimed is not None
    for each in [*held, ended.claimed]:
        assert shown(each.record) == ALL
        assert shown(desk.get(each.id)) == ALL
        assert shown(desk.record(each.id)) == ALL
        assert shown(desk.run(runs.find(str(each.id)))) == ALL
    assert shown(desk.run(runs.find(f"a#{held[0].record.number}"))) == ALL
    assert shown(desk.run(runs.stop(held[1].id, "stop", "enough"))[1]) == ALL
    everything: list[Run | Record] = [
        *desk.run(runs.many([one.id for one in held])),
        *desk.run(runs.execution_runs(what.ids[0])),
        *(run for step in desk.run(executions.some([what.ids[0]]))[0].steps for run in step.runs),
        *(record for _, record in desk.run(orchestrated.attempts(what.ids[0]))),
    ]
    first = desk.run(executions.page()).executions[0].first
    latest = desk.run(orchestrated.newest([what.ids[0]]))[0]
    assert latest is not None
    assert len(everything) == 2 + 4 + 4 + 4
    assert {str(shown(one)) for one in [*everything, first, latest.record]} == {str(ALL)}
    for where in ({}, {"execution_id": what.ids[0]}, {"tag": (TAGS[3],)}):
        page = desk.run(listing.page(listing.Filter(**where)))
        assert [shown(run) for run in page.runs] == [ALL] * 4, where


def test_a_slot_that_asks_again_gets_all_of_its_run_again(desk: Desk) -> None:
    desk.task(params=DECLARED)
    desk.trigger(**LARGE)
    for _ in range(2):
        held = desk.claim(turn="one")
        assert held is not None
        assert shown(held.record) == ALL


def test_what_others_execute_is_answered_with_all_of_it(desk: Desk) -> None:
    desk.task("ext", run=None, external=True)
    run = desk.trigger("ext", origin=Origin(api="x", metadata={"x.now": b"0"}), **LARGE)
    assert shown(drive(desk, run.id, "start", "failed+").record) == ALL
    assert shown(seen(desk, run.id).record) == ALL
    head = seen(desk, run.id).head
    assert shown(desk.run(runs.report(head, "ended", reason=Reason.SUCCESS)).run) == ALL
    again = desk.run(orchestrated.newest([run.id]))[0]
    assert again is not None
    assert shown(again.record) == ALL


def test_a_slot_of_a_limit_is_free_after_a_run_of_many_tags(desk: Desk) -> None:
    """The limits that it took are read from its tags."""
    desk.task("ext", run=None, external=True, limits={})
    desk.task(limits={f"tag:{TAGS[4]}": 1})
    run = desk.trigger("ext", origin=Origin(api="x", metadata={"x.now": b"0"}), **LARGE)
    drive(desk, run.id, "start", limits=[f"tag:{TAGS[4]}"])
    assert [key for key in dump(desk) if key.startswith(b"slots:")]
    drive(desk, run.id, "success")
    assert not [key for key in dump(desk) if key.startswith(b"slots:")]


def test_lineage_is_told_of_all_of_it(desk: Desk) -> None:
    desk.task(params=DECLARED)
    desk.run(lineage_events.untold(100))
    desk.run(ops.stop(str(desk.trigger(**LARGE).id)))
    assert [shown(record) for _, record in desk.run(lineage_events.untold(100)).runs] == [ALL]


def test_a_refused_trigger_shows_what_it_was_started_with(desk: Desk) -> None:
    desk.task(params=DECLARED, max_concurrent=1, on_overlap="skip")
    desk.started()
    run = desk.trigger(**LARGE)
    assert run.end_reason == Reason.SKIPPED
    assert shown(desk.get(run.id)) == ALL
    check_store(desk)


def test_a_delayed_trigger_and_what_a_dead_maker_left_have_all_of_it(desk: Desk) -> None:
    entry = desk.task(params=DECLARED)
    made = desk.run(create(creation(entry, ops.Request(replicas=450, delay_ms=1000, **LARGE), desk.now))).run
    assert made is not None
    desk.pass_s(2)
    desk.run(ops.release(500))
    check_store(desk)
    desk.run(ops.make_all(made.execution_id))
    found = desk.run(runs.execution_runs(made.execution_id))
    assert len(found) == 450
    assert {str(shown(run)) for run in found} == {str(ALL)}
    assert len(kept(desk)) == 1


def again_as_a_whole(desk: Desk, execution_id: UUID, run_id: UUID) -> Run:
    return desk.run(ops.rerun_execution(desk.catalog, execution_id)).run


def again_by_a_run(desk: Desk, execution_id: UUID, run_id: UUID) -> Run:
    return desk.run(ops.rerun(desk.catalog, str(run_id))).run


@pytest.mark.parametrize("again", [again_as_a_whole, again_by_a_run])
def test_what_is_run_again_has_texts_of_its_own(desk: Desk, again: Callable[[Desk, UUID, UUID], Run]) -> None:
    desk.task(params=DECLARED)
    first = desk.trigger(**LARGE)
    desk.end(desk.claimed())
    second = again(desk, first.execution_id, first.id)
    assert kept(desk).keys() == {first.id.bytes, second.id.bytes}
    desk.run(ops.delete(str(first.id)))
    assert kept(desk).keys() == {second.id.bytes}
    assert shown(desk.claimed().record) == ALL


def test_an_execution_is_run_again_of_which_the_task_that_was_started_never_ran(desk: Desk) -> None:
    """What it was started with is in its plan alone."""
    desk.task("first", params=DECLARED)
    desk.task("last", params=DECLARED, depends_on=("first",))
    run = desk.trigger("last", **LARGE)
    desk.end(desk.claimed(), Reason.FAILED, 1)
    for each in desk.run(runs.execution_runs(run.execution_id)):
        if each.task_name == "last":
            desk.run(ops.delete(str(each.id)))
    second = desk.run(ops.rerun_execution(desk.catalog, run.execution_id)).run
    plan = desk.run(executions.plan_of(second.execution_id))
    assert plan is not None
    assert {str(shown(template)) for template in plan[1]} == {str(ALL)}


def test_a_wiped_store_gets_them_back_once(desk: Desk) -> None:
    entry = desk.task(params=DECLARED, retry_attempts=1, retry_delay_ms=(0,))
    desk.trigger(replicas=3, **LARGE)
    held = [desk.claimed() for _ in range(3)]
    before = kept(desk)
    desk.run(Call("FLUSHALL", (), bool))
    for each in held:
        assert desk.run(runs.restore(each.id, each.record, [])) == "restored"
    desk.apply()
    assert kept(desk) == before
    assert {str(shown(desk.get(each.id))) for each in held} == {str(ALL)}
    desk.fail(held[0], entry)
    assert shown(desk.claimed().record) == ALL
    check_store(desk)


def test_a_run_whose_worker_was_lost_is_tried_again_with_all_of_it(desk: Desk) -> None:
    entry = desk.task(params=DECLARED, retry_attempts=1, retry_delay_ms=(0,))
    desk.trigger(**LARGE)
    lost = desk.claimed()
    desk.pass_s(7)
    assert desk.rescue(lost.id, entry).state == "crashed"
    retried = desk.claimed()
    assert (retried.record.retry_of, shown(retried.record)) == (str(lost.id), ALL)


def test_they_stay_until_the_last_run_is_forgotten_and_nothing_stays_then(desk: Desk) -> None:
    desk.task("first", params=DECLARED, replicas=2)
    desk.task("last", params=DECLARED, depends_on=("first",), replicas=3, retry_attempts=1, retry_delay_ms=(0,))
    entry = desk.entry("last")

    def play() -> list[Run]:
        run = desk.trigger("last", **LARGE)
        failed = 0
        while held := desk.claim():
            if held.record.task == "last" and not failed:
                desk.fail(held, entry)
                failed += 1
            else:
                desk.end(held)
        return desk.run(runs.execution_runs(run.execution_id))

    for each in play():
        desk.run(ops.delete(str(each.id)))
        check_store(desk)
    before = dump(desk).keys()
    made = play()
    assert len(made) == 6
    random.Random(7).shuffle(made)
    for number, each in enumerate(made):
        assert len(kept(desk)) == 1
        assert shown(desk.get(each.id)) == ALL
        desk.run(ops.delete(str(each.id)))
        check_store(desk)
        assert number == 5 or {str(shown(desk.get(one.id))) for one in made[number + 1 :]} == {str(ALL)}
    assert dump(desk).keys() == before


REFERENCES = {
    "no hex": "@text:" + "z" * 32 + "0" * 40,
    "of nothing": "@text:" + "0" * 72,
}


@pytest.mark.parametrize("looks", [*REFERENCES, "of another's"])
def test_a_text_that_looks_like_a_reference_is_shown_as_it_was_sent(desk: Desk, looks: str) -> None:
    """Whoever knew execution and SHA-1 would read the parameters of others, and what is no hex broke every list."""
    desk.task("secret", params=DECLARED)
    desk.task("ours")
    desk.task("outside", run=None, external=True)
    other = desk.trigger("secret", params=PARAMS)
    (texts,) = (value.content for key, value in dump(desk).items() if key.startswith(b"texts:"))
    sha = next(name for name, text in texts.items() if b"blob" in text).decode()
    text = REFERENCES.get(looks, f"@text:{other.execution_id.hex}{sha}")
    assert len(text) == 78
    mine = desk.trigger("ours", external_execution_id=text)
    told = desk.trigger("outside")
    reported = desk.run(runs.report(told.id, "ended", reason=Reason.FAILED, exit_code=1, message=text))
    assert reported.run is not None
    assert reported.run.message == text
    found = {run.id: run for run in desk.run(listing.page(listing.Filter(), limit=10)).runs}
    assert found[told.id].message == desk.get(told.id).message == text
    assert found[mine.id].external_execution_id == desk.get(mine.id).external_execution_id == text
    assert found[other.id].params == PARAMS


@pytest.mark.damaged
def test_a_run_whose_texts_somebody_overwrote_fails_no_list(desk: Desk) -> None:
    desk.task("a", params=DECLARED)
    desk.task("b")
    spoiled, other = desk.trigger("a", params=PARAMS), desk.trigger("b")
    desk.run(Call("SET", (RawKey(b"texts:" + spoiled.execution_id.bytes), "junk"), bool))
    page = desk.run(listing.page(listing.Filter(), limit=10))
    assert [run.id for run in page.runs] == [other.id]
    desk.run(Call("DEL", (RawKey(b"texts:" + spoiled.execution_id.bytes),), bool))
    desk.run(Call("DEL", (RawKey(b"run:" + spoiled.id.bytes),), bool))
    desk.run(Call("LPUSH", (RawKey(b"run:" + spoiled.id.bytes), "junk"), int))
    assert [run.id for run in desk.run(listing.page(listing.Filter(), limit=10)).runs] == [other.id]
