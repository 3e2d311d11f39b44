"""All states × all transitions: what the table allows happens, and what it does not allow changes nothing."""

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from shared import ops
from shared.errors import NotFound, Refused
from shared.runs import TRANSITIONS, Reason, Status
from shared.store import creation, fleet, runs, stops
from shared.store.creation import Create
from tests.store.consistency import check_store, snapshot
from tests.store.harness import LEASE, SECOND, StoreHarness


class Scene(NamedTuple):
    """The run in question: what made it (or would make it), and the token that its worker believes in."""

    harness: StoreHarness
    what: Create
    token: int

    @property
    def id(self) -> UUID:
        return self.what.ids[0]


def _absent(harness: StoreHarness) -> Scene:
    return Scene(harness, _what(harness), 1)


def _ready(harness: StoreHarness) -> Scene:
    what = _what(harness)
    harness.run(creation.create(what))
    return Scene(harness, what, 1)


def _delayed(harness: StoreHarness) -> Scene:
    what = _what(harness, max_concurrent=1, on_overlap="skip", delay_ms=1000, busy=True)
    harness.run(creation.create(what))
    return Scene(harness, what, 1)


def _waiting(harness: StoreHarness) -> Scene:
    what = _what(harness, max_concurrent=1, busy=True)
    harness.run(creation.create(what))
    return Scene(harness, what, 1)


def _running(harness: StoreHarness) -> Scene:
    what = _what(harness)
    harness.run(creation.create(what))
    return Scene(harness, what, harness.claimed().record.token)


def _running_elsewhere(harness: StoreHarness) -> Scene:
    scene = _running(harness)
    return scene._replace(token=scene.token - 1)


def _running_lease_over(harness: StoreHarness) -> Scene:
    scene = _running(harness)
    harness.now += LEASE + 1
    return scene


def _ended(reason: Reason) -> Callable[[StoreHarness], Scene]:
    def make(harness: StoreHarness) -> Scene:
        if reason is Reason.SKIPPED:
            what = _what(harness)
            harness.run(creation.create(_refused(what)))
            return Scene(harness, what, 1)
        scene = _running(harness)
        harness.run(runs.end(scene.id, scene.token, reason, 0, ""))
        return scene

    return make


def _external(harness: StoreHarness) -> Scene:
    what = _what(harness, run=None, external=True)
    harness.run(creation.create(what))
    return Scene(harness, what, 1)


def _external_running(harness: StoreHarness) -> Scene:
    scene = _external(harness)
    harness.run(runs.report(scene.id, "running"))
    return scene


def _external_ended(reason: Reason) -> Callable[[StoreHarness], Scene]:
    def make(harness: StoreHarness) -> Scene:
        scene = _external(harness)
        if reason is not Reason.SKIPPED:
            harness.run(runs.report(scene.id, "running"))
        harness.run(runs.report(scene.id, "ended", reason=reason))
        return scene

    return make


EXTERNAL: dict[str, Callable[[StoreHarness], Scene]] = {
    "pending": _external,
    "running": _external_running,
} | {f"ended, {reason}": _external_ended(reason) for reason in Reason}
"""States of a run that others execute: only these know the transition ``report``."""

STATES: dict[str, Callable[[StoreHarness], Scene]] = {
    "absent": _absent,
    "pending": _ready,
    "pending, delayed": _delayed,
    "pending, waiting at a gate": _waiting,
    "running": _running,
    "running, somebody else's": _running_elsewhere,
    "running, lease over": _running_lease_over,
} | {f"ended, {reason}": _ended(reason) for reason in Reason}


class Attempt(NamedTuple):
    """What came of trying a transition: whether it was made, and what state the caller was told of ("": none)."""

    made: bool
    told: str


def _create(scene: Scene) -> Attempt:
    created = scene.harness.run(creation.create(scene.what))
    assert created.run is not None
    return Attempt(created.verdict == "created", str(created.run.end_reason or created.run.status))


def _refuse(scene: Scene) -> Attempt:
    harness = scene.harness
    before = harness.state(scene.id)
    harness.now += 2 * SECOND
    harness.run(ops.enqueue_due())
    created = harness.run(creation.create(_refused(scene.what)))
    assert created.run is not None
    state = str(created.run.end_reason or created.run.status)
    return Attempt(before != state, state)


def _claim(scene: Scene) -> Attempt:
    held = scene.harness.claim()
    return Attempt(held is not None and held.id == scene.id, "")


def _beat(scene: Scene) -> Attempt:
    verdict = scene.harness.run(fleet.heartbeat("w", [(scene.id, scene.token)], None))[2][0]
    return Attempt(verdict != "lost", "" if verdict != "lost" else "lost")


def _end(reason: Reason) -> Callable[[Scene], Attempt]:
    def attempt(scene: Scene) -> Attempt:
        ended = scene.harness.run(runs.end(scene.id, scene.token, reason, 0, ""))
        return Attempt(ended.verdict == "ended", ended.state)

    return attempt


def _stop(scene: Scene) -> Attempt:
    try:
        verdict, run, _ = scene.harness.run(stops.stop(scene.id, "stop", "stopped by a test"))
    except Refused as error:
        return Attempt(False, error.state)
    except NotFound:
        return Attempt(False, "gone")
    return Attempt(verdict in ("stopped", "asked"), str(run.end_reason or run.status))


def _interrupt(scene: Scene) -> Attempt:
    ended = scene.harness.run(runs.end(scene.id, scene.token, Reason.CRASHED, -2, "", transition="interrupt"))
    return Attempt(ended.verdict == "ended", ended.state)


def _rescue(scene: Scene) -> Attempt:
    ended = scene.harness.run(runs.rescue(scene.id, "crashed", None))
    return Attempt(ended.verdict == "ended", ended.state)


def _give_back(scene: Scene) -> Attempt:
    given = scene.harness.run(runs.give_back(scene.id, scene.token, "its worker left"))
    return Attempt(given.verdict != "refused", given.state)


def _restore(scene: Scene) -> Attempt:
    now = scene.harness.now
    record = msgspec.structs.replace(
        scene.what.template, status="running", token=scene.token, number=1, created_us=now, start_us=now
    )
    return Attempt(scene.harness.run(runs.restore(scene.id, record, [])) == "restored", "")


def _prune(scene: Scene) -> Attempt:
    refusal = scene.harness.refusal(ops.delete(str(scene.id)))
    return Attempt(refusal is None, "")


ATTEMPTS: dict[str, Callable[[Scene], Attempt]] = {
    "create": _create,
    "skip": _refuse,
    "claim": _claim,
    "heartbeat": _beat,
    "stop": _stop,
    "request_stop": _stop,
    "interrupt": _interrupt,
    "give_back": _give_back,
    "rescue": _rescue,
    "restore": _restore,
    "prune": _prune,
} | {f"end as {reason}": _end(reason) for reason in sorted(TRANSITIONS["end"][0].reasons)}

RULES: dict[str, set[str]] = {
    "skip": {"absent", "pending, delayed"},
    "claim": {"pending"},
    "heartbeat": {"running", "running, lease over"},
    "end": {"running", "running, lease over"},
    "interrupt": {"running", "running, lease over"},
    "give_back": {"running", "running, lease over"},
    "rescue": {"running, lease over"},
    "stop": {"pending", "pending, delayed", "pending, waiting at a gate"},
}
"""Beyond the table: in which states of a status a transition is possible. One that is not named has no such rule."""

TWINS = {("stop", "running"), ("request_stop", "pending")}
"""A request to stop is one call; the run's status says which of the two transitions it is."""


def _pairs() -> list[tuple[str, str]]:
    return [(state, what) for state in STATES for what in ATTEMPTS if (what, _status(state)) not in TWINS]


def _status(state: str) -> Status | None:
    word = state.partition(",")[0]
    return None if word == "absent" else Status(word)


@pytest.mark.parametrize(("state", "what"), _pairs())
def test_a_transition_is_made_where_it_is_allowed_and_nowhere_else(
    harness: StoreHarness, state: str, what: str
) -> None:
    transition, status = what.partition(" ")[0], _status(state)
    rows = [row for row in TRANSITIONS[transition] if row.source == status]
    allowed = bool(rows) and (transition not in RULES or state in RULES[transition])
    scene = STATES[state](harness)
    was, before = harness.state(scene.id), snapshot(harness)

    attempt = ATTEMPTS[what](scene)

    now = harness.state(scene.id)
    assert attempt.made == allowed
    if allowed:
        row = rows[0]
        reached = None if now == "absent" else now if now in ("pending", "running") else "ended"
        assert reached == row.target
        assert reached != "ended" or Reason(now) in row.reasons
        assert transition != "end" or now == what.removeprefix("end as ")
        assert transition == "heartbeat" or attempt.told in (now, "")
    else:
        assert now == was
        assert snapshot(harness) == before, "a refused transition left something behind"
        if transition == "heartbeat":
            assert attempt.told == "lost"
        elif transition not in ("claim", "restore", "prune"):  # these answer no state
            assert attempt.told == ("gone" if was == "absent" else was)
    check_store(harness)


REPORTS = [("running", None), *(("ended", reason) for reason in Reason)]


@pytest.mark.parametrize("state", EXTERNAL)
@pytest.mark.parametrize(("target", "reason"), REPORTS)
def test_a_report_is_a_transition_of_the_table_or_changes_nothing(
    harness: StoreHarness, state: str, target: Any, reason: Reason | None
) -> None:
    status = _status(state)
    rows = [row for row in TRANSITIONS["report"] if (row.source, row.target) == (status, target)]
    allowed = any(target == "running" or reason in row.reasons for row in rows)
    scene = EXTERNAL[state](harness)
    was, before = harness.state(scene.id), snapshot(harness)

    reported = harness.run(runs.report(scene.id, target, reason=reason))

    now = harness.state(scene.id)
    assert (reported.verdict == "changed") == allowed
    assert reported.state == now == (str(reason or target) if allowed else was)
    if not allowed:
        assert snapshot(harness) == before, "a refused report left something behind"
        assert reported.verdict == ("same" if was == str(reason or target) else "refused")
    check_store(harness)


@pytest.mark.parametrize("state", [state for state in STATES if state != "absent"])
@pytest.mark.parametrize(("target", "reason"), REPORTS)
def test_only_the_worker_reports_on_its_run(
    harness: StoreHarness, state: str, target: Any, reason: Reason | None
) -> None:
    scene = STATES[state](harness)
    before = snapshot(harness)
    reported = harness.run(runs.report(scene.id, target, reason=reason))
    assert (reported.verdict, reported.state) == ("refused", "owned")
    assert snapshot(harness) == before


def test_every_transition_has_a_call() -> None:
    tried_elsewhere = {"report", "orchestrate", "retry"}
    assert set(TRANSITIONS) - {what.partition(" ")[0] for what in ATTEMPTS} == tried_elsewhere


def test_every_state_is_tried() -> None:
    assert {_status(state) for state in STATES} == {None, *Status}
    assert {state.partition(", ")[2] for state in STATES if state.startswith("ended")} == set(Reason)


@pytest.mark.parametrize(("transition", "reason"), [("end", Reason.SKIPPED), ("interrupt", Reason.SUCCESS)])
def test_a_reason_outside_the_table_is_not_even_sent(harness: StoreHarness, transition: str, reason: Reason) -> None:
    held = _running(harness)
    with pytest.raises(ValueError, match="cannot end a run as"):
        runs.end(held.id, held.token, reason, 0, "", transition=transition)  # type: ignore[arg-type]  # parametrized


def test_a_rescue_of_a_forgotten_run_clears_its_lease(harness: StoreHarness) -> None:
    ended = harness.run(runs.rescue(UUID(int=7), "crashed", None))
    assert (ended.verdict, ended.state) == ("refused", "gone")


def _what(harness: StoreHarness, *, delay_ms: int = 0, busy: bool = False, **settings: Any) -> Create:
    entry = harness.task("a", **settings)
    if busy:
        harness.trigger("a")
        assert harness.claim("other") is not None
    return ops.creation(entry, ops.Request(delay_ms=delay_ms), harness.now)


def _refused(what: Create) -> Create:
    return Create(ids=what.ids, template=what.template, refuse="skipped: for a test")
