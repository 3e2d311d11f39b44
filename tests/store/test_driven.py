"""Executions that an outside orchestrator drives: one step at a time, slots of limits, consumers that come and go."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from shared.ids import new_id
from shared.runs import Reason, Run
from shared.store import fleet, limits, logs, retention, runs
from shared.store.dialects import orchestrated
from shared.store.dialects.orchestrated import Driven, Latest, Plan, Turn
from shared.store.metadata import Annex
from shared.store.origin import Origin
from shared.store.runs import Retry
from tests.store.checking import check_store, dump
from tests.store.desk import SECOND, Desk

NOTHING = orchestrated.Lost([], [])
"""Nothing is to be taken back."""


ORIGIN = Origin(api="x", metadata={"x.now": b"0"})
FOR_CONSUMER = replace(ORIGIN, for_consumer=True)


def made(desk: Desk, origin: Origin | None = None, **request: Any) -> Run:
    """An external run that another system's API made."""
    if "ext" not in desk._tasks:
        desk.task("ext", run=None, external=True)
    return desk.trigger("ext", origin=origin or ORIGIN, **request)


def seen(desk: Desk, execution: UUID) -> Latest:
    found = desk.run(orchestrated.newest([execution], ["x.now"]))[0]
    assert found is not None
    return found


def after(desk: Desk, one: Latest, delay_us: int = 0) -> Retry:
    return Retry(new_id(desk.now), delay_us, one.record.attempt + 1, 0, 0, str(one.id), str(one.head))


def drive(desk: Desk, execution: UUID, *steps: str, believed: Latest | None = None, **plan: Any) -> Driven:
    """Take *steps* (``start``, ``success``, ``failed``, ``failed+`` with a retry, ``open``) from how it stands now."""
    one = believed or seen(desk, execution)
    wanted = Plan(**plan)
    for step in steps:
        if step == "start":
            wanted.start()
        elif step == "open":
            wanted.open(after(desk, one))
        else:
            wanted.close(Reason(step.rstrip("+")), 1, "", after(desk, one) if step.endswith("+") else None)
    value = one.annex["x.now"]
    return desk.run(orchestrated.drive(one, wanted, Annex(execution, {"x.now": value + b"+"}, ("x.now", value))))


def test_an_execution_keeps_its_name_over_its_attempts(desk: Desk) -> None:
    run = made(desk)
    for steps in (("start",), ("failed+",), ("start",), ("success",)):
        assert drive(desk, run.id, *steps).verdict == "done"
        check_store(desk)
    last = seen(desk, run.id)
    assert (last.id, last.record.attempt, last.mark, last.annex["x.now"]) == (run.id, 1, "success", b"0++++")
    assert desk.state(run.id) == "failed"


def test_an_execution_that_was_over_goes_on(desk: Desk) -> None:
    run = made(desk)
    drive(desk, run.id, "start")
    drive(desk, run.id, "success")
    assert desk.run(runs.is_over(run.id))
    assert drive(desk, run.id, "open", "start").verdict == "done"
    assert (seen(desk, run.id).mark, desk.run(runs.is_over(run.id))) == ("running", False)
    check_store(desk)
    drive(desk, run.id, "success")
    check_store(desk)


def test_of_two_decisions_about_the_same_state_one_is_made(desk: Desk) -> None:
    run = made(desk)
    before = seen(desk, run.id)
    assert drive(desk, run.id, "start", believed=before).verdict == "done"
    other = Plan()
    other.close(Reason.STOPPED, -1, "")
    refused = desk.run(orchestrated.drive(before, other, Annex(run.id, {"x.now": b"other"}, ("x.now", b"0"))))
    assert (refused.verdict, seen(desk, run.id).mark) == ("conflict", "running")
    assert drive(desk, run.id, "start", believed=before).verdict == "done", "the same one twice: its answer was lost"
    assert seen(desk, run.id).annex["x.now"] == b"0+"


def test_what_a_person_did_meanwhile_counts(desk: Desk) -> None:
    run = made(desk)
    drive(desk, run.id, "start")
    before = seen(desk, run.id)
    desk.run(runs.stop(run.id, "stop", "by a person"))
    assert drive(desk, run.id, "success", believed=before).verdict == "conflict"
    assert desk.state(run.id) == "stopped"


def test_a_run_is_made_once_under_a_name(desk: Desk) -> None:
    named = replace(ORIGIN, dedupe_key="name")
    first = made(desk, named)
    again = made(desk, replace(named, run_id=new_id(desk.now)))
    assert again.id == first.id
    drive(desk, first.id, "success")
    desk.run(retention.delete(desk.get(first.id)))
    check_store(desk)
    assert made(desk, named).id != first.id


def test_slots_are_taken_with_the_start_and_freed_by_any_end(desk: Desk) -> None:
    desk.run(limits.put("tag:t", 1, b"{}"))
    for end in ("success", "stop", "rescue"):
        a, b = made(desk, tags=("t",)), made(desk, tags=("t",))
        assert drive(desk, a.id, "start", limits=["tag:t"], holder=a.id, lease_us=6 * SECOND).verdict == "done"
        full = drive(desk, b.id, "start", limits=["tag:t"], holder=b.id)
        assert (full.verdict, full.limit, full.since_us, desk.state(b.id)) == ("full", "tag:t", desk.now, "pending")
        assert drive(desk, a.id, limits=["tag:t"], holder=a.id).verdict == "done", "it has one already"
        if end == "success":
            drive(desk, a.id, "success")
        elif end == "stop":
            desk.run(runs.stop(a.id, "kill", "by a person"))
        else:
            desk.pass_s(20)
            assert desk.rescue(a.id).verdict == "ended"
        check_store(desk)
        assert drive(desk, b.id, "start", limits=["tag:t"], holder=b.id).verdict == "done"
        drive(desk, b.id, "success")
        check_store(desk)


def test_a_limit_of_none_lets_nobody_start(desk: Desk) -> None:
    desk.run(limits.put("tag:t", 0, b"{}"))
    run = made(desk, tags=("t",))
    assert drive(desk, run.id, "start", limits=["tag:t"]).verdict == "closed"


def test_runs_of_ours_wait_for_a_slot_that_others_hold(desk: Desk) -> None:
    desk.task("ours")
    desk.run(limits.put("tag:t", 1, b"{}"))
    theirs = made(desk, tags=("t",))
    drive(desk, theirs.id, "start", limits=["tag:t"])
    ours = desk.trigger("ours", origin=Origin(limits=("tag:t",)))
    assert desk.claim() is None
    third = made(desk, tags=("t",))
    drive(desk, theirs.id, "success")
    held = desk.claimed()
    assert held.id == ours.id
    assert drive(desk, third.id, "start", limits=["tag:t"]).verdict == "full"
    desk.end(held)
    check_store(desk)


def test_a_lease_of_slots_is_renewed_given_back_or_lapses(desk: Desk) -> None:
    desk.run(limits.put("db", 3, b"{}"))
    one, two = new_id(desk.now), new_id(desk.now)
    for _ in range(2):  # the answer to the first was lost
        assert desk.run(limits.take(one, ["db", "unknown"], 2, 60 * SECOND, b"{}")).verdict == "taken"
    assert desk.run(limits.take(two, ["db"], 4, 60 * SECOND, b"{}")).verdict == "few"
    assert desk.run(limits.take(two, ["db"], 2, 60 * SECOND, b"{}")).verdict == "full"
    desk.pass_s(50)
    assert desk.run(limits.renew(one, 60 * SECOND)).verdict == "renewed"
    desk.pass_s(50)
    assert desk.run(limits.take(two, ["db"], 2, 60 * SECOND, b"{}")).verdict == "full"
    check_store(desk)
    desk.pass_s(20)
    assert desk.run(limits.take(two, ["db"], 2, 60 * SECOND, b"{}")).verdict == "taken"
    assert desk.run(limits.renew(one, 60 * SECOND)).verdict == "gone"
    assert desk.run(limits.give(two)).verdict == "given"
    assert desk.run(limits.give(two)).verdict == "gone"
    assert desk.run(limits.remove("db"))
    check_store(desk)


def test_an_end_that_was_decided_before_the_start_is_at_the_start(desk: Desk) -> None:
    run = made(desk)
    desk.pass_s(10)
    drive(desk, run.id, "start")
    drive(desk, run.id, "success", at_us=desk.now - 5 * SECOND)
    assert desk.get(run.id).duration_ms == 0


def test_a_lease_of_several_slots_frees_them_all(desk: Desk) -> None:
    desk.run(limits.put("db", 2, b"{}"))
    for _ in range(2):
        lease = new_id(desk.now)
        assert desk.run(limits.take(lease, ["db"], 2, 60 * SECOND, b"{}")).verdict == "taken"
        assert desk.run(limits.give(lease)).verdict == "given"


def test_a_lease_of_slots_overtakes_no_execution_that_waits(desk: Desk) -> None:
    desk.task("busy", limits={"narrow": 1, "wide": 2})
    desk.task("both", limits={"narrow": 1, "wide": 2})
    desk.task("busy", limits={"narrow": 1})
    held = desk.started("busy")
    waits = desk.trigger("both")
    lease = new_id(desk.now)
    assert desk.run(limits.take(lease, ["wide"], 1, 60 * SECOND, b"{}")).verdict == "full"
    desk.end(held)
    assert desk.claimed().id == waits.id
    assert desk.run(limits.take(lease, ["wide"], 1, 60 * SECOND, b"{}")).verdict == "taken"


def test_whoever_waits_for_a_lease_that_lapses_goes_on(desk: Desk) -> None:
    desk.task("ours")
    desk.run(limits.put("tag:t", 1, b"{}"))
    desk.run(limits.take(new_id(desk.now), ["tag:t"], 1, 60 * SECOND, b"{}"))
    ours = desk.trigger("ours", origin=Origin(limits=("tag:t",)))
    assert desk.claim() is None
    pulse = desk.run(fleet.pulse("s"))
    assert pulse.next_due_us == desk.now + 60 * SECOND
    desk.pass_s(60)
    desk.run(runs.release())
    assert desk.claimed().id == ours.id
    check_store(desk)


def test_lines_of_what_others_execute_are_its_log(desk: Desk) -> None:
    run = made(desk)
    lines = [(desk.now, 0, "one"), (desk.now, 1, "two")]
    for _ in range(2):
        assert desk.run(logs.jot(run.id, lines, 100, "d1")) == "stored", "its start comes by another way, and later"
    check_store(desk)
    drive(desk, run.id, "start")
    drive(desk, run.id, "success")
    assert desk.run(logs.jot(run.id, [(desk.now, 0, "late")], 100, "d2")) == "stored"
    assert desk.run(logs.jot(run.id, [(desk.now, 0, "x" * 100)], 100, "d3")) == "full"
    window = desk.run(logs.window(run.id, 0, 10))
    assert [(line.n, line.stream, line.text) for line in window.lines] == [
        (0, "stdout", "one"),
        (1, "stderr", "two"),
        (2, "stdout", "late"),
    ]
    assert window.truncated
    check_store(desk)
    desk.pass_s(20)
    desk.run(logs.compact(run.id))
    assert desk.run(logs.jot(run.id, lines, 100, "d4")) == "lost"
    assert len(desk.run(logs.window(run.id, 0, 10)).lines) == 3
    check_store(desk)


def test_an_apply_leaves_the_limits_that_an_api_made(desk: Desk) -> None:
    desk.run(limits.put("tag:t", 1, b"{}"))
    desk.apply({"file": 2})
    assert [(one.name, one.max) for one in desk.run(limits.all_limits())] == [("file", 2), ("tag:t", 1)]


def test_a_run_is_delivered_when_it_is_due_and_not_twice(desk: Desk) -> None:
    now = made(desk, FOR_CONSUMER)
    later = made(desk, FOR_CONSUMER, due_us=desk.now + 10 * SECOND)
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext", "other"], Turn.first())).id == now.id
    nothing = desk.run(orchestrated.deliver("c", b"{}", ["ext"], Turn.first()))
    assert (nothing.id, nothing.wait_us) == (None, 10 * SECOND)
    desk.pass_s(10)
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext"], Turn.first())).id == later.id
    check_store(desk)


def test_what_ended_meanwhile_is_not_delivered(desk: Desk) -> None:
    run = made(desk, FOR_CONSUMER)
    desk.run(runs.stop(run.id, "stop", "by a person"))
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext"], Turn.first())).id is None
    check_store(desk)


def acknowledged(desk: Desk) -> None:
    """Consumer c gets what is due and says so."""
    turn = Turn.first()
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn)).id is not None
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn.next())).id is None


def test_a_consumer_that_goes_gives_back_what_it_has(desk: Desk) -> None:
    run = made(desk, FOR_CONSUMER)
    acknowledged(desk)
    for _ in range(3):
        desk.pass_s(3)
        assert desk.run(orchestrated.attend(["c"], [])) == NOTHING
    assert desk.run(orchestrated.attend([], ["c"])) == NOTHING
    desk.pass_s(2)
    assert desk.run(orchestrated.attend(["c"], [])) == NOTHING, "it came back"
    desk.run(orchestrated.attend([], ["c"]))
    desk.pass_s(4)
    assert desk.run(orchestrated.attend([], [])) == ([("c", [run.id])], [])
    assert drive(desk, run.id, inbox=True).verdict == "done"
    assert desk.run(orchestrated.attend([], [])) == NOTHING
    assert desk.run(orchestrated.deliver("d", b"{}", ["ext"], Turn.first())).id == run.id
    check_store(desk)


def test_an_answer_that_was_lost_loses_no_run(desk: Desk) -> None:
    first, second = made(desk, FOR_CONSUMER), made(desk, FOR_CONSUMER)
    turn = Turn.first()
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn)).id == first.id
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn)).id == first.id
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext"], Turn.first())).id == second.id, "another connection"
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn.next())).id is None
    assert b"offers" in dump(desk), "the second one is not acknowledged"
    check_store(desk)


def test_a_turn_whose_run_has_ended_brings_the_next_one(desk: Desk) -> None:
    first, second = made(desk, FOR_CONSUMER), made(desk, FOR_CONSUMER)
    turn = Turn.first()
    desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn))
    desk.run(runs.stop(first.id, "stop", "by a person"))
    assert desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn)).id == second.id
    check_store(desk)


def test_what_nobody_acknowledged_returns_although_its_consumer_is_there(desk: Desk) -> None:
    run = made(desk, FOR_CONSUMER)
    turn = Turn.first()
    desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn))
    for _ in range(8):  # its connection is attended
        desk.pass_s(3)
        assert desk.run(orchestrated.attend(["c"], [], [turn.slot])) == NOTHING
    for _ in range(4):  # the process with that connection died, the consumer is with another one
        desk.pass_s(3)
        assert desk.run(orchestrated.attend(["c"], [])) == NOTHING
    desk.pass_s(4)
    lost = orchestrated.Lost([], [("c", run.id)])
    assert desk.run(orchestrated.attend(["c"], [])) == lost
    desk.pass_s(3)
    assert desk.run(orchestrated.attend(["c"], [])) == lost, "until it was taken back"
    drive(desk, run.id, inbox=True)
    desk.pass_s(3)
    assert desk.run(orchestrated.attend(["c"], [])) == NOTHING
    assert b"offers" not in dump(desk)
    check_store(desk)


def test_what_was_acknowledged_stays_with_its_consumer(desk: Desk) -> None:
    made(desk, FOR_CONSUMER)
    turn = Turn.first()
    desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn))
    desk.run(orchestrated.deliver("c", b"{}", ["ext"], turn.next()))
    for _ in range(10):
        desk.pass_s(3)
        assert desk.run(orchestrated.attend(["c"], [])) == NOTHING
    check_store(desk)


def test_after_an_outage_nobody_loses_what_it_has(desk: Desk) -> None:
    made(desk, FOR_CONSUMER)
    acknowledged(desk)
    desk.run(orchestrated.attend(["c"], []))
    desk.pass_s(60)
    assert desk.run(orchestrated.attend([], [])) == NOTHING, "another process asks first; c could not be heard"
    assert desk.run(orchestrated.attend(["c"], [])) == NOTHING
    for _ in range(7):
        desk.pass_s(3)
        assert desk.run(orchestrated.attend(["c"], [])) == NOTHING


def test_a_retry_of_what_a_consumer_has_stays_with_it(desk: Desk) -> None:
    run = made(desk, FOR_CONSUMER)
    desk.run(orchestrated.deliver("c", b"{}", ["ext"], Turn.first()))
    drive(desk, run.id, "start", consumer="c")
    drive(desk, run.id, "failed+", consumer="c")
    assert seen(desk, run.id).record.worker == "c"
    assert dump(desk)[b"in-flight:c"].content == {run.id.bytes}
    drive(desk, run.id, "start", consumer="c")
    drive(desk, run.id, "success", consumer="c")
    assert b"in-flight:c" not in dump(desk)
    check_store(desk)


def test_the_first_run_stays_while_a_later_attempt_lives(desk: Desk) -> None:
    run = made(desk)
    drive(desk, run.id, "start")
    drive(desk, run.id, "failed+")
    desk.pass_s(1000)
    assert desk.run(retention.forget("ext", 0, SECOND)).runs == 0
    drive(desk, run.id, "success")
    desk.pass_s(1000)
    assert desk.run(retention.forget("ext", 0, SECOND)).runs == 2
    check_store(desk)


def test_workers_that_come_and_go_are_forgotten(desk: Desk) -> None:
    desk.run(orchestrated.deliver("c", b'{"keys":[]}', ["ext"], Turn.first()))
    assert desk.run(orchestrated.consumers()) == {"c": b'{"keys":[]}'}
    desk.pass_s(3)
    desk.run(orchestrated.attend([], ["c"]))
    desk.pass_s(4)
    desk.run(orchestrated.attend([], []))
    assert desk.run(orchestrated.consumers()) == {}
