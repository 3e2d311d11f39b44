"""Lineage events: kept once, in any order, until newer ones need the room."""

from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from shared import ids, ops
from shared.runs import Reason
from shared.store.dialects import lineage_events, namespaces
from shared.store.dialects.lineage_events import LineageEvent
from shared.store.dialects.namespaces import JobChange
from shared.store.redis.call import Call, Drive, Key, as_is
from tests.store.consistency import check_store
from tests.store.harness import SECOND, START, StoreHarness

RUN = ids.new_id(START)


def event(at_s: float = 0, body: bytes = b"{}", run: UUID | None = RUN, **told: Any) -> LineageEvent:
    return LineageEvent(body=body, at_us=START + round(at_s * SECOND), kind="START", run=run, **told)


def bodies(harness: StoreHarness, after_s: int = -1000, before_s: int = 1000, **page: Any) -> list[bytes]:
    wanted = {"descending": False, "offset": 0, "limit": 100, **page}
    return harness.run(lineage_events.page(START + after_s * SECOND, START + before_s * SECOND, **wanted)).bodies


def test_an_event_is_kept_once(harness: StoreHarness) -> None:
    assert harness.run(lineage_events.keep(event())).is_new
    assert not harness.run(lineage_events.keep(event())).is_new
    for other in (event(1), event(body=b'{"x":1}'), event(run=ids.new_id(START))):
        assert harness.run(lineage_events.keep(other)).is_new
    assert len(bodies(harness)) == 4
    check_store(harness)


def test_events_are_read_by_their_time(harness: StoreHarness) -> None:
    for at_s in (3, 1, 2):
        harness.run(lineage_events.keep(event(at_s, b"%d" % at_s)))
    harness.run(lineage_events.keep(event(2, b"static", run=None)))
    assert bodies(harness) == [b"1", b"2", b"3"]
    assert bodies(harness, descending=True, limit=2) == [b"3", b"2"]
    assert bodies(harness, offset=1, limit=1) == [b"2"]
    assert bodies(harness, after_s=2, before_s=3) == [b"2"]
    total = harness.run(lineage_events.page(START, START + 3 * SECOND, descending=True, offset=0, limit=1)).total
    assert total == 3  # the event of no run is counted, though not listed


@pytest.mark.parametrize(
    ("bound", "value"), [("MOST_EVENTS", 5), ("MOST_BYTES", 50), ("LIFE_US", 5 * SECOND)], ids=["count", "bytes", "age"]
)
def test_the_ones_that_came_first_go_first(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(lineage_events, bound, value)
    for number in range(20):
        harness.run(lineage_events.keep(event(-number, b"%010d" % number)))
        harness.pass_s(1)
        check_store(harness)
    assert bodies(harness) == [b"%010d" % number for number in range(19, 14, -1)]
    harness.pass_s(100)
    assert harness.run(lineage_events.trim()) == (5 if bound == "LIFE_US" else 0)
    check_store(harness)


def test_updates_of_a_job_give_the_same_result_in_any_order(harness: StoreHarness) -> None:
    told: list[tuple[float, dict[str, str]]] = [
        (1, {"inputs": "a", "facet.x": "1"}),
        (2, {"inputs": "b"}),
        (3, {"location": "c"}),
        (3, {"location": "d"}),
    ]
    for number, order in enumerate(permutations(told)):
        task = f"t{number}"
        for at_s, fields in order:
            harness.run(
                lineage_events.keep(event(at_s, task.encode(), job=JobChange(task, "ns", f"job {number}", fields)))
            )
        job = harness.run(namespaces.job(task))
        assert job is not None
        assert dict(job.fields) == {"inputs": b"b", "location": b"d", "facet.x": b"1"}
    assert harness.run(namespaces.job_names("ns", 0, 100))[1] == number + 1
    check_store(harness)


def test_an_unforeseen_number_of_fields_is_bounded(harness: StoreHarness) -> None:
    for number in range(300):
        harness.run(lineage_events.keep(event(number, job=JobChange("t", "ns", "j", {f"facet.{number}": "x"}))))
    job = harness.run(namespaces.job("t"))
    assert job is not None
    assert len(job.fields) < 200


def test_namespaces_are_listed_by_name_and_go_with_their_jobs(harness: StoreHarness) -> None:
    for name in ("b", "a", "c"):
        harness.run(namespaces.put_namespace(name, "ada"))
    for number in range(namespaces.DROP_BATCH + 5):
        harness.run(namespaces.put_job(JobChange(f"t{number}", "b", f"j{number}")))
    assert [one.name for one in harness.run(namespaces.namespace_page(1, 5))] == ["b", "c"]
    assert harness.run(namespaces.drop_job("t4"))
    assert not harness.run(namespaces.drop_job("t4"))
    check_store(harness)
    harness.run(namespaces.drop_namespace("b"))
    assert harness.run(namespaces.namespace("b")) is None
    assert harness.run(namespaces.job_names(None, 0, 10))[1] == 0
    check_store(harness)


def test_a_job_that_is_dropped_leaves_nothing(harness: StoreHarness) -> None:
    harness.run(lineage_events.keep(event(job=JobChange("t", "ns", "j"))))
    assert harness.run(namespaces.drop_job("t"))
    check_store(harness)


def test_a_namespace_keeps_fields_that_are_not_sent_again(harness: StoreHarness) -> None:
    harness.run(namespaces.put_namespace("a", "ada", "of hers"))
    harness.pass_s(1)
    changed = harness.run(namespaces.put_namespace("a", "grace"))
    assert (changed.owner, changed.description) == ("grace", "of hers")
    assert changed.updated_us - changed.created_us == SECOND
    harness.run(lineage_events.keep(event(job=JobChange("t", "new", "j"))))
    made = harness.run(namespaces.namespace("new"))
    assert made is not None
    assert (made.owner, made.description) == ("anonymous", "")


def test_only_ends_without_a_worker_are_unreported_and_each_once(harness: StoreHarness) -> None:
    harness.task("a", max_concurrent=1, on_overlap="skip")
    harness.task("out", run=None, external=True)
    assert harness.run(lineage_events.unreported_ends(100)).runs == []
    first, skipped = harness.trigger(), harness.trigger()
    harness.run(ops.stop(str(harness.trigger("out").id)))
    harness.end(harness.claimed(), Reason.STOPPED)
    waiting = harness.trigger()
    harness.run(ops.stop(str(waiting.id)))
    untold = harness.run(lineage_events.unreported_ends(100))
    assert [(run, record.reason) for run, record in untold.runs] == [(skipped.id, "skipped"), (waiting.id, "stopped")]
    assert (untold.has_more, untold.missed) == (False, False)
    assert harness.run(lineage_events.unreported_ends(100, untold.place)).runs == []
    assert first.id != skipped.id
    check_store(harness)


def test_it_is_known_when_some_of_the_stream_was_gone_before_it_was_looked_at(harness: StoreHarness) -> None:
    harness.task("a")
    harness.trigger()
    harness.run(lineage_events.unreported_ends(100))
    for _ in range(3):
        harness.run(ops.stop(str(harness.trigger().id)))
    seen = harness.run(lineage_events.unreported_ends(2))
    assert seen.has_more
    harness.run(Call("XTRIM", (Key("events"), "MAXLEN", 1), as_is))
    untold = harness.run(lineage_events.unreported_ends(100, seen.place))
    assert untold.missed
    assert not harness.run(lineage_events.unreported_ends(100, untold.place)).missed


def test_unreported_ends_are_returned_again_until_acknowledged(harness: StoreHarness) -> None:
    """An answer may be lost, and a scheduler with it."""
    harness.task("a")
    harness.run(lineage_events.unreported_ends(100))
    runs = [harness.trigger() for _ in range(4)]
    for run in runs:
        harness.run(ops.stop(str(run.id)))
    first = harness.run(lineage_events.unreported_ends(100))
    assert [run for run, _ in first.runs] == [run.id for run in runs]
    assert harness.run(lineage_events.unreported_ends(100)) == first
    assert harness.run(lineage_events.unreported_ends(100, first.place)).runs == []
    assert harness.run(lineage_events.unreported_ends(100)).runs == []


def test_a_place_of_a_stream_that_was_wiped_moves_nothing(harness: StoreHarness) -> None:
    harness.task("a")
    harness.run(lineage_events.unreported_ends(100))
    run = harness.trigger()
    harness.run(ops.stop(str(run.id)))
    assert [one for one, _ in harness.run(lineage_events.unreported_ends(100, "99999999999999-0")).runs] == [run.id]


def test_an_older_place_moves_nothing_back(harness: StoreHarness) -> None:
    """Two schedulers may both believe to lead."""
    harness.task("a")
    old = harness.run(lineage_events.unreported_ends(100))
    harness.run(ops.stop(str(harness.trigger().id)))
    new = harness.run(lineage_events.unreported_ends(100))
    assert harness.run(lineage_events.unreported_ends(100, new.place)).runs == []
    assert harness.run(lineage_events.unreported_ends(100, old.place)).runs == []


def test_a_namespace_whose_list_names_jobs_that_are_gone_can_be_dropped(harness: StoreHarness) -> None:
    """More of them than one step takes, which it would come upon again and again."""
    harness.run(namespaces.put_namespace("b"))
    pairs = [part for number in range(namespaces.DROP_BATCH + 5) for part in (1, f"gone{number}")]
    harness.run(Call("ZADD", (Key("jobs:b"), *pairs), as_is))
    harness.run(namespaces.drop_namespace("b"))
    assert harness.run(namespaces.namespace("b")) is None
    check_store(harness)


def test_jobs_reported_while_their_namespace_is_dropped_stay_with_it(harness: StoreHarness) -> None:
    """However fast they come: who drops it is done with those that there were."""
    for number in range(namespaces.DROP_BATCH):
        harness.run(lineage_events.keep(event(job=JobChange(f"t{number}", "b", "j"))))
    harness.now += SECOND
    steps = Drive(namespaces.drop_namespace("b"))
    steps.answer([harness.run(call) for call in steps.calls])
    harness.now += SECOND
    harness.run(lineage_events.keep(event(job=JobChange("new", "b", "j"))))
    steps.answer([harness.run(call) for call in steps.calls])
    assert steps.is_over
    assert harness.run(namespaces.job("new")) is not None
    assert harness.run(namespaces.namespace("b")) is not None
    check_store(harness)
