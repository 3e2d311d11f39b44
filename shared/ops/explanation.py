"""Explains a run: why it waits, whether it takes longer than usual, what differs from the last success."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from shared import cures
from shared.clock import to_datetime
from shared.config.durations import format_duration
from shared.runs import Run, Status
from shared.store import logs, run_rows, runs
from shared.store.listing import last_success, newest_before
from shared.store.redis.call import together
from shared.store.waiting import Gate, waiting
from shared.words import BAD, State, elapsed_ms

SILENT_MS: Final = 600_000
"""A run that prints nothing for this long, and takes longer than usual, may hang."""

FACTOR: Final = 1.5
"""A duration that differs less than this from the usual one is not worth a word."""

RECENT: Final = 30
"""Runs before it that are looked at for what changed."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """
    One reason for a run's state. ``code`` is its row in ``docs/api.md``; ``limit`` is name, held and maximum (None: no
    maximum), ``place`` the place in line there, ``run`` the one that it waits for, and ``cure`` what helps, or "".
    """

    code: str
    text: str
    since: datetime | None = None
    run: Run | None = None
    limit: tuple[str, int, int | None] | None = None
    place: int = 0
    cure: str = ""


class Change(msgspec.Struct, frozen=True):
    """A difference between a bad end and the last success."""

    code: str
    text: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run is in its state: ``because`` has at least one cause, the first of which is in ``text``."""

    state: State
    text: str
    because: list[Cause]
    earliest_at: datetime | None = None
    changed: list[Change] = []


async def explain(run: Run, covers: Callable[[str], bool]) -> Explanation:
    """Why *run* is in its state, in at most ten commands. Runs of tasks that *covers* refuses are not named."""
    known = await run_rows.states([run])
    state = known.by_run[run.id]
    if run.status == Status.PENDING:
        return await _pending(run, state, covers)
    if run.status == Status.RUNNING:
        return await _running(run, state, known.at)
    return await _ended(run, state)


async def _pending(run: Run, state: State, covers: Callable[[str], bool]) -> Explanation:
    if state == "due":
        due = run.due_at or None
        code, text = (
            ("retry_delay", "waits before it is tried again") if run.retry_attempt else ("delayed", "is due later")
        )
        return Explanation(state=state, text=text, because=[Cause(code=code, text=text)], earliest_at=due)
    facts = await waiting(run.id)
    found = [await _gate(run, gate, covers) for gate in facts.gates[:3]]
    if facts.is_external and not found:
        text = "waits until the system that executes it reports its start"
        found.append(Cause(code="external", text=text))
    if facts.is_paused:
        text = f"queue {run.queue} is paused"
        found.append(Cause(code="queue_paused", text=text, cure=cures.resume_queue(run.queue)))
    if state == "no_worker":
        text = f"no worker serves queue {run.queue}"
        found.append(Cause(code="no_worker", text=text, cure=cures.serve_queue(run.queue)))
    if not found or facts.ahead:
        ahead = facts.ahead or 0
        text = f"{'1 run is' if ahead == 1 else f'{ahead} runs are'} ahead of it in queue {run.queue}"
        found.append(Cause(code="behind", text=text, place=ahead + 1))
    return Explanation(state=state, text=found[0].text, because=found)


async def _gate(run: Run, gate: Gate, covers: Callable[[str], bool]) -> Cause:
    kind, _, name = gate.name.partition(":")
    holder = await runs.get(gate.run) if gate.run else None
    if holder is not None and not covers(holder.task_name):
        holder = None
    since = (holder.start_at or None) if holder else to_datetime(gate.since_us) if gate.since_us else None
    who = f"{holder.task_name}#{holder.number}" if holder else ""
    what = f"max_concurrent of {name}" if kind == "task" else f"the limit {name}"
    most = "" if gate.most is None else f" = {gate.most}"
    text = f"waits until {who} is over" if who else "waits for others"
    return Cause(
        code="overlap" if kind == "task" else "limit",
        text=f"{text}: {what}{most} is taken",
        since=since,
        run=holder,
        limit=(name, gate.held, gate.most),
        place=gate.place,
        cure=cures.stop_run(who) if who else "",
    )


async def _running(run: Run, state: State, now: datetime) -> Explanation:
    if run.stop_requested:
        cause = Cause(code="stop_requested", text="was asked to stop")
        return Explanation(state=state, text=cause.text, because=[cause])
    usual = (await run_rows.usual([run.task_name])).get(run.task_name)
    took = elapsed_ms(run, now)
    if usual is None:
        cause = Cause(code="on_time", text=f"runs for {_rough(took)}; how long is usual is not known yet")
    elif took <= usual.p95_ms:
        cause = Cause(code="on_time", text=f"runs for {_rough(took)}, usually {_rough(usual.p50_ms)}")
    else:
        cause = Cause(code="slow", text=f"runs for {_rough(took)}, longer than 95 % of its successes")
        last = (await logs.part(run.id, -1, 1)).lines
        spoke_at = to_datetime(last[-1].at_us) if last else run.start_at or now
        silent_ms = (now - spoke_at) // timedelta(milliseconds=1)
        if silent_ms >= SILENT_MS:
            silent = Cause(code="silent", text=f"has printed nothing for {_rough(silent_ms)}", since=spoke_at)
            return Explanation(state=state, text=silent.text, because=[silent, cause])
    return Explanation(state=state, text=cause.text, because=[cause])


async def _ended(run: Run, state: State) -> Explanation:
    text = run.message or (f"exited with {run.exit_code}" if run.exit_code >= 0 else f"ended as {state}")
    cause = Cause(code="ended", text=text, since=run.end_at or None)
    changed = await _changed(run) if state in BAD else []
    return Explanation(state=state, text=text, because=[cause], changed=changed)


async def _changed(run: Run) -> list[Change]:
    before, good, successes = await together(
        newest_before(run.task_name, run.number, RECENT),
        last_success(run.task_name, run.number),
        run_rows.streak(run.task_name, "success", run.number - 1),
    )
    if good is None:
        return []
    found = []
    if good.definition != run.definition:
        since = sum(1 for other in before if other.number > good.number and other.definition == run.definition)
        when = f"{since + 1} runs ago" if since else "just before this run"
        found.append(Change("definition", f"the definition changed {when}"))
    if successes is not None:
        some = "1 success" if successes.count == 1 else f"{successes.count} successes"
        found.append(Change("first_failure", f"first failure after {some}"))
    if good.worker and run.worker and good.worker != run.worker:
        found.append(Change("worker", f"another worker than the last success ({good.worker})"))
    if isinstance(good.duration_ms, int) and isinstance(run.duration_ms, int) and good.duration_ms:
        factor = run.duration_ms / good.duration_ms
        if factor >= FACTOR:
            found.append(Change("duration", f"{factor:.1f} × as long as the last success ({_rough(good.duration_ms)})"))
        elif factor <= 1 / FACTOR:
            found.append(Change("duration", f"over sooner than the last success ({_rough(good.duration_ms)})"))
    if good.params != run.params:
        names = _differing(good.params or {}, run.params or {})
        found.append(Change("params", f"other parameters than the last success: {', '.join(names[:5])}"))
    if good.exit_code != run.exit_code and run.exit_code >= 0:
        found.append(Change("exit_code", f"exit code {run.exit_code} instead of {good.exit_code}"))
    return found


def _differing(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """The names of parameters that differ; never a value, which may be secret."""
    missing = object()
    return sorted(name for name in {*one, *other} if one.get(name, missing) != other.get(name, missing))


def _rough(ms: int) -> str:
    """A duration to the second, or shorter than that to the millisecond."""
    return format_duration(ms - ms % 1000 if ms >= 1000 else ms)
