"""Executions that an outside orchestrator drives: one step at a time, slots of limits, consumers that come and go."""

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from shared.ids import new_id
from shared.runs import Reason, Run
from shared.store import leadership, limits, logs, retention, runs, stops
from shared.store.dialects import orchestrated
from shared.store.dialects.orchestrated import Latest, Orchestrated, Plan, Turn, orchestrate
from shared.store.metadata import MetadataChange
from shared.store.origin import Origin
from shared.store.runs import Retry
from tests.store.consistency import check_store, dump
from tests.store.harness import SECOND, StoreHarness

NOTHING = orchestrated.Lost([], [])
"""Nothing is to be taken back."""


ORIGIN = Origin(api="x", metadata={"x.now": b"0"})
FOR_CONSUMER = replace(ORIGIN, for_consumer=True)


def made(harness: StoreHarness, origin: Origin | None = None, **request: Any) -> Run:
    """An external run that another system's API made."""
    if "ext" not in harness._tasks:
        harness.task("ext", run=None, external=True)
    return harness.trigger("ext", origin=origin or ORIGIN, **request)


def seen(harness: StoreHarness, execution: UUID) -> Latest:
    found = harness.run(orchestrated.newest([execution], ["x.now"]))[0]
    assert found is not None
    return found


def after(harness: StoreHarness, one: Latest, delay_us: int = 0) -> Retry:
    return Retry(new_id(harness.now), delay_us, one.record.attempt + 1, 0, 0, str(one.id), str(one.latest_attempt))


def drive(
    harness: StoreHarness, execution: UUID, *steps: str, believed: Latest | None = None, **plan: Any
) -> Orchestrated:
    """Take *steps* (``start``, ``success``, ``failed``, ``failed+`` with a retry, ``open``) from how it stands now."""
    one = believed or seen(harness, execution)
    wanted = Plan(**plan)
    for step in steps:
        if step == "start":
            wanted.start()
        elif step == "open":
            wanted.open(after(harness, one))
        else:
            wanted.close(Reason(step.rstrip("+")), 1, "", after(harness, one) if step.endswith("+") else None)
    value = one.metadata["x.now"]
    return harness.run(orchestrate(one, wanted, MetadataChange(execution, {"x.now": value + b"+"}, ("x.now", value))))


def test_an_execution_keeps_its_name_over_its_attempts(harness: StoreHarness) -> None:
    run = made(harness)
    for steps in (("start",), ("failed+",), ("start",), ("success",)):
        assert drive(harness, run.id, *steps).verdict == "done"
        check_store(harness)
    last = seen(harness, run.id)
    assert (last.id, last.record.attempt, last.state_tag, last.metadata["x.now"]) == (run.id, 1, "success", b"0++++")
    assert harness.state(run.id) == "failed"


def test_an_execution_that_was_over_continues(harness: StoreHarness) -> None:
    run = made(harness)
    drive(harness, run.id, "start")
    drive(harness, run.id, "success")
    assert harness.run(runs.is_over(run.id))
    assert drive(harness, run.id, "open", "start").verdict == "done"
    assert (seen(harness, run.id).state_tag, harness.run(runs.is_over(run.id))) == ("running", False)
    check_store(harness)
    drive(harness, run.id, "success")
    check_store(harness)


def test_only_one_of_two_decisions_about_the_same_state_is_made(harness: StoreHarness) -> None:
    run = made(harness)
    before = seen(harness, run.id)
    assert drive(harness, run.id, "start", believed=before).verdict == "done"
    other = Plan()
    other.close(Reason.STOPPED, -1, "")
    refused = harness.run(orchestrate(before, other, MetadataChange(run.id, {"x.now": b"other"}, ("x.now", b"0"))))
    assert (refused.verdict, seen(harness, run.id).state_tag) == ("conflict", "running")
    assert drive(harness, run.id, "start", believed=before).verdict == "done", "the same one twice: its answer was lost"
    assert seen(harness, run.id).metadata["x.now"] == b"0+"


def test_what_a_person_did_meanwhile_counts(harness: StoreHarness) -> None:
    run = made(harness)
    drive(harness, run.id, "start")
    before = seen(harness, run.id)
    harness.run(stops.stop(run.id, "stop", "by a person"))
    assert drive(harness, run.id, "success", believed=before).verdict == "conflict"
    assert harness.state(run.id) == "stopped"


def test_a_run_is_made_once_under_a_name(harness: StoreHarness) -> None:
    named = replace(ORIGIN, dedupe_key="name")
    first = made(harness, named)
    again = made(harness, replace(named, run_id=new_id(harness.now)))
    assert again.id == first.id
    drive(harness, first.id, "success")
    harness.run(retention.delete(harness.get(first.id)))
    check_store(harness)
    assert made(harness, named).id != first.id


def test_slots_are_taken_with_the_start_and_freed_by_any_end(harness: StoreHarness) -> None:
    harness.run(limits.put("tag:t", 1, b"{}"))
    for end in ("success", "stop", "rescue"):
        a, b = made(harness, tags=("t",)), made(harness, tags=("t",))
        assert drive(harness, a.id, "start", limits=["tag:t"], holder=a.id, lease_us=6 * SECOND).verdict == "done"
        full = drive(harness, b.id, "start", limits=["tag:t"], holder=b.id)
        assert (full.verdict, full.limit, full.since_us, harness.state(b.id)) == (
            "full",
            "tag:t",
            harness.now,
            "pending",
        )
        assert drive(harness, a.id, limits=["tag:t"], holder=a.id).verdict == "done", "it has one already"
        if end == "success":
            drive(harness, a.id, "success")
        elif end == "stop":
            harness.run(stops.stop(a.id, "kill", "by a person"))
        else:
            harness.pass_s(20)
            assert harness.rescue(a.id).verdict == "ended"
        check_store(harness)
        assert drive(harness, b.id, "start", limits=["tag:t"], holder=b.id).verdict == "done"
        drive(harness, b.id, "success")
        check_store(harness)


def test_a_limit_of_zero_lets_no_run_start(harness: StoreHarness) -> None:
    harness.run(limits.put("tag:t", 0, b"{}"))
    run = made(harness, tags=("t",))
    assert drive(harness, run.id, "start", limits=["tag:t"]).verdict == "closed"


def test_runs_of_ours_wait_for_a_slot_that_others_hold(harness: StoreHarness) -> None:
    harness.task("ours")
    harness.run(limits.put("tag:t", 1, b"{}"))
    theirs = made(harness, tags=("t",))
    drive(harness, theirs.id, "start", limits=["tag:t"])
    ours = harness.trigger("ours", origin=Origin(limits=("tag:t",)))
    assert harness.claim() is None
    third = made(harness, tags=("t",))
    drive(harness, theirs.id, "success")
    held = harness.claimed()
    assert held.id == ours.id
    assert drive(harness, third.id, "start", limits=["tag:t"]).verdict == "full"
    harness.end(held)
    check_store(harness)


def test_a_lease_of_slots_is_renewed_given_back_or_lapses(harness: StoreHarness) -> None:
    harness.run(limits.put("db", 3, b"{}"))
    one, two = new_id(harness.now), new_id(harness.now)
    for _ in range(2):  # the answer to the first was lost
        assert harness.run(limits.take(one, ["db", "unknown"], 2, 60 * SECOND, b"{}")).verdict == "taken"
    assert harness.run(limits.take(two, ["db"], 4, 60 * SECOND, b"{}")).verdict == "exceeds_limit"
    assert harness.run(limits.take(two, ["db"], 2, 60 * SECOND, b"{}")).verdict == "full"
    harness.pass_s(50)
    assert harness.run(limits.renew(one, 60 * SECOND)).verdict == "renewed"
    harness.pass_s(50)
    assert harness.run(limits.take(two, ["db"], 2, 60 * SECOND, b"{}")).verdict == "full"
    check_store(harness)
    harness.pass_s(20)
    assert harness.run(limits.take(two, ["db"], 2, 60 * SECOND, b"{}")).verdict == "taken"
    assert harness.run(limits.renew(one, 60 * SECOND)).verdict == "gone"
    assert harness.run(limits.give(two)).verdict == "given"
    assert harness.run(limits.give(two)).verdict == "gone"
    assert harness.run(limits.remove("db"))
    check_store(harness)


def test_an_end_that_was_decided_before_the_start_is_at_the_start(harness: StoreHarness) -> None:
    run = made(harness)
    harness.pass_s(10)
    drive(harness, run.id, "start")
    drive(harness, run.id, "success", at_us=harness.now - 5 * SECOND)
    assert harness.get(run.id).duration_ms == 0


def test_a_lease_of_several_slots_frees_them_all(harness: StoreHarness) -> None:
    harness.run(limits.put("db", 2, b"{}"))
    for _ in range(2):
        lease = new_id(harness.now)
        assert harness.run(limits.take(lease, ["db"], 2, 60 * SECOND, b"{}")).verdict == "taken"
        assert harness.run(limits.give(lease)).verdict == "given"


def test_a_lease_of_slots_overtakes_no_execution_that_waits(harness: StoreHarness) -> None:
    harness.task("busy", limits={"narrow": 1, "wide": 2})
    harness.task("both", limits={"narrow": 1, "wide": 2})
    harness.task("busy", limits={"narrow": 1})
    held = harness.started("busy")
    waits = harness.trigger("both")
    lease = new_id(harness.now)
    assert harness.run(limits.take(lease, ["wide"], 1, 60 * SECOND, b"{}")).verdict == "full"
    harness.end(held)
    assert harness.claimed().id == waits.id
    assert harness.run(limits.take(lease, ["wide"], 1, 60 * SECOND, b"{}")).verdict == "taken"


def test_a_waiter_for_an_expired_lease_proceeds(harness: StoreHarness) -> None:
    harness.task("ours")
    harness.run(limits.put("tag:t", 1, b"{}"))
    harness.run(limits.take(new_id(harness.now), ["tag:t"], 1, 60 * SECOND, b"{}"))
    ours = harness.trigger("ours", origin=Origin(limits=("tag:t",)))
    assert harness.claim() is None
    poll = harness.run(leadership.poll("s"))
    assert poll.next_due_us == harness.now + 60 * SECOND
    harness.pass_s(60)
    harness.run(runs.enqueue_due())
    assert harness.claimed().id == ours.id
    check_store(harness)


def test_lines_of_what_others_execute_are_its_log(harness: StoreHarness) -> None:
    run = made(harness)
    lines = [(harness.now, 0, "one"), (harness.now, 1, "two")]
    for _ in range(2):
        assert harness.run(logs.append_reported(run.id, lines, 100, "d1")) == "stored", (
            "its start comes by another way, and later"
        )
    check_store(harness)
    drive(harness, run.id, "start")
    drive(harness, run.id, "success")
    assert harness.run(logs.append_reported(run.id, [(harness.now, 0, "late")], 100, "d2")) == "stored"
    assert harness.run(logs.append_reported(run.id, [(harness.now, 0, "x" * 100)], 100, "d3")) == "full"
    window = harness.run(logs.window(run.id, 0, 10))
    assert [(line.n, line.stream, line.text) for line in window.lines] == [
        (0, "stdout", "one"),
        (1, "stderr", "two"),
        (2, "stdout", "late"),
    ]
    assert window.truncated
    check_store(harness)
    harness.pass_s(20)
    harness.run(logs.compact(run.id))
    assert harness.run(logs.append_reported(run.id, lines, 100, "d4")) == "lost"
    assert len(harness.run(logs.window(run.id, 0, 10)).lines) == 3
    check_store(harness)


def test_an_apply_leaves_the_limits_that_an_api_made(harness: StoreHarness) -> None:
    harness.run(limits.put("tag:t", 1, b"{}"))
    harness.apply({"file": 2})
    assert [(one.name, one.max) for one in harness.run(limits.all_limits())] == [("file", 2), ("tag:t", 1)]


def test_a_run_is_delivered_when_it_is_due_and_not_twice(harness: StoreHarness) -> None:
    now = made(harness, FOR_CONSUMER)
    later = made(harness, FOR_CONSUMER, due_us=harness.now + 10 * SECOND)
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext", "other"], Turn.first())).id == now.id
    nothing = harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], Turn.first()))
    assert (nothing.id, nothing.wait_us) == (None, 10 * SECOND)
    harness.pass_s(10)
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], Turn.first())).id == later.id
    check_store(harness)


def test_a_run_that_ended_meanwhile_is_not_delivered(harness: StoreHarness) -> None:
    run = made(harness, FOR_CONSUMER)
    harness.run(stops.stop(run.id, "stop", "by a person"))
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], Turn.first())).id is None
    check_store(harness)


def acknowledged(harness: StoreHarness) -> None:
    """Consumer c gets what is due and says so."""
    turn = Turn.first()
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn)).id is not None
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn.next())).id is None


def test_a_consumer_that_goes_gives_back_what_it_has(harness: StoreHarness) -> None:
    run = made(harness, FOR_CONSUMER)
    acknowledged(harness)
    for _ in range(3):
        harness.pass_s(3)
        assert harness.run(orchestrated.consumer_heartbeat(["c"], [])) == NOTHING
    assert harness.run(orchestrated.consumer_heartbeat([], ["c"])) == NOTHING
    harness.pass_s(2)
    assert harness.run(orchestrated.consumer_heartbeat(["c"], [])) == NOTHING, "it came back"
    harness.run(orchestrated.consumer_heartbeat([], ["c"]))
    harness.pass_s(4)
    assert harness.run(orchestrated.consumer_heartbeat([], [])) == ([("c", [run.id])], [])
    assert drive(harness, run.id, for_consumer=True).verdict == "done"
    assert harness.run(orchestrated.consumer_heartbeat([], [])) == NOTHING
    assert harness.run(orchestrated.consumer_fetch("d", b"{}", ["ext"], Turn.first())).id == run.id
    check_store(harness)


def test_an_answer_that_was_lost_loses_no_run(harness: StoreHarness) -> None:
    first, second = made(harness, FOR_CONSUMER), made(harness, FOR_CONSUMER)
    turn = Turn.first()
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn)).id == first.id
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn)).id == first.id
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], Turn.first())).id == second.id, (
        "another connection"
    )
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn.next())).id is None
    assert b"offers" in dump(harness), "the second one is not acknowledged"
    check_store(harness)


def test_a_turn_whose_run_has_ended_brings_the_next_one(harness: StoreHarness) -> None:
    first, second = made(harness, FOR_CONSUMER), made(harness, FOR_CONSUMER)
    turn = Turn.first()
    harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn))
    harness.run(stops.stop(first.id, "stop", "by a person"))
    assert harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn)).id == second.id
    check_store(harness)


def test_an_unacknowledged_run_returns_although_its_consumer_is_there(harness: StoreHarness) -> None:
    run = made(harness, FOR_CONSUMER)
    turn = Turn.first()
    harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn))
    for _ in range(8):  # its connection is attended
        harness.pass_s(3)
        assert harness.run(orchestrated.consumer_heartbeat(["c"], [], [turn.slot])) == NOTHING
    for _ in range(4):  # the process with that connection died, the consumer is with another one
        harness.pass_s(3)
        assert harness.run(orchestrated.consumer_heartbeat(["c"], [])) == NOTHING
    harness.pass_s(4)
    lost = orchestrated.Lost([], [("c", run.id)])
    assert harness.run(orchestrated.consumer_heartbeat(["c"], [])) == lost
    harness.pass_s(3)
    assert harness.run(orchestrated.consumer_heartbeat(["c"], [])) == lost, "until it was taken back"
    drive(harness, run.id, for_consumer=True)
    harness.pass_s(3)
    assert harness.run(orchestrated.consumer_heartbeat(["c"], [])) == NOTHING
    assert b"offers" not in dump(harness)
    check_store(harness)


def test_an_acknowledged_run_stays_with_its_consumer(harness: StoreHarness) -> None:
    made(harness, FOR_CONSUMER)
    turn = Turn.first()
    harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn))
    harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], turn.next()))
    for _ in range(10):
        harness.pass_s(3)
        assert harness.run(orchestrated.consumer_heartbeat(["c"], [])) == NOTHING
    check_store(harness)


def test_after_an_outage_no_consumer_loses_its_runs(harness: StoreHarness) -> None:
    made(harness, FOR_CONSUMER)
    acknowledged(harness)
    harness.run(orchestrated.consumer_heartbeat(["c"], []))
    harness.pass_s(60)
    assert harness.run(orchestrated.consumer_heartbeat([], [])) == NOTHING, (
        "another process asks first; c could not be heard"
    )
    assert harness.run(orchestrated.consumer_heartbeat(["c"], [])) == NOTHING
    for _ in range(7):
        harness.pass_s(3)
        assert harness.run(orchestrated.consumer_heartbeat(["c"], [])) == NOTHING


def test_a_retry_of_what_a_consumer_has_stays_with_it(harness: StoreHarness) -> None:
    run = made(harness, FOR_CONSUMER)
    harness.run(orchestrated.consumer_fetch("c", b"{}", ["ext"], Turn.first()))
    drive(harness, run.id, "start", consumer="c")
    drive(harness, run.id, "failed+", consumer="c")
    assert seen(harness, run.id).record.worker == "c"
    assert dump(harness)[b"in-flight:c"].content == {run.id.bytes}
    drive(harness, run.id, "start", consumer="c")
    drive(harness, run.id, "success", consumer="c")
    assert b"in-flight:c" not in dump(harness)
    check_store(harness)


def test_the_first_run_stays_while_a_later_attempt_lives(harness: StoreHarness) -> None:
    run = made(harness)
    drive(harness, run.id, "start")
    drive(harness, run.id, "failed+")
    harness.pass_s(1000)
    assert harness.run(retention.prune("ext", 0, SECOND)).runs == 0
    drive(harness, run.id, "success")
    harness.pass_s(1000)
    assert harness.run(retention.prune("ext", 0, SECOND)).runs == 2
    check_store(harness)


def test_workers_that_come_and_go_are_forgotten(harness: StoreHarness) -> None:
    harness.run(orchestrated.consumer_fetch("c", b'{"keys":[]}', ["ext"], Turn.first()))
    assert harness.run(orchestrated.consumers()) == {"c": b'{"keys":[]}'}
    harness.pass_s(3)
    harness.run(orchestrated.consumer_heartbeat([], ["c"]))
    harness.pass_s(4)
    harness.run(orchestrated.consumer_heartbeat([], []))
    assert harness.run(orchestrated.consumers()) == {}
