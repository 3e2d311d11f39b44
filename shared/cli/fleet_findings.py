"""What ``runfleet doctor`` thinks of the fleet: schedulers, workers, queues, tasks and who may use the API."""

from __future__ import annotations

from typing import Final

from shared.addresses import is_local, is_loopback
from shared.cli.findings import Check, Facts, Finding, count, names
from shared.clock import to_datetime
from shared.config.durations import format_duration
from shared.tasks import is_task_name, is_trusted, signer

LONG_WAIT_MS: Final = 60_000
"""A run that waits for so long in a queue that is served says that there are too few slots."""

SAME_SECRET: Final = "give every process the same RUNFLEET_SECRET, then run `runfleet apply` with it"


def scheduler(facts: Facts) -> list[Finding]:
    """Whether somebody keeps time."""
    if facts.leader:
        more = f"; {count(len(facts.standbys), 'other')} would take over" if facts.standbys else ""
        return [Finding("scheduler", "ok", "scheduler", facts.leader, f"leads{more}")]
    return [
        Finding(
            "scheduler",
            "error",
            "scheduler",
            "none",
            "no schedule fires, no retry with a delay starts and no lost run is noticed",
            "start one: runfleet scheduler (or `scheduler` of the Procfile)",
        )
    ]


def workers(facts: Facts) -> list[Finding]:
    """Who could run something, and who went without a word."""
    serving = [worker for worker in facts.workers if worker.serves]
    slots = sum(worker.slots for worker in serving)
    value = f"{len(serving)} with {count(slots, 'slot')}"
    if serving:
        found = [Finding("workers", "ok", "workers", value, "are heard of")]
    else:
        cure = "start one: runfleet worker (or `worker` of the Procfile)"
        unfit = sum(worker.alive and bool(worker.unfit) for worker in facts.workers)
        value = f"{unfit}, taking no runs" if unfit else "none"
        found = [Finding("workers", "warning", "workers", value, "nothing can run", cure)]
    for worker in facts.workers:
        if worker.alive and worker.unfit:
            cure = "mend that, or start another worker; it looks again every few seconds"
            found.append(Finding("worker-unfit", "error", f"worker {worker.id}", "takes no runs", worker.unfit, cure))
        if worker.alive:
            continue
        silent = f"silent for {worker.heartbeat_age_ms // 1000} s"
        held = "it holds no run any more: what it had is over or waits for another worker"
        if worker.running:
            held = f"{count(len(worker.running), 'run')} of it will end as crashed"
        cure = f"look at process {worker.pid} on {worker.host}: killed, out of memory, or cut off from Redis"
        found.append(Finding("worker-lost", "warning", f"worker {worker.id}", silent, held, cure))
    return found


def queues(facts: Facts) -> list[Finding]:
    """Queues whose runs nobody will take."""
    served = {queue for worker in facts.workers if worker.serves for queue in worker.queues}
    users: dict[str, list[str]] = {}
    for entry in facts.entries:
        if not entry.task.external:
            users.setdefault(entry.task.queue, []).append(entry.name)
    depths = {queue.name: queue.depth for queue in facts.queues}
    latencies = {queue.name: queue.latency_ms for queue in facts.queues}
    paused = {queue.name for queue in facts.queues if queue.paused}
    found = []
    for name in sorted(users.keys() | depths.keys()):
        depth, subject = depths.get(name, 0), f"queue {name}"
        cure = f"start a worker that serves it: RUNFLEET_QUEUES={','.join(sorted({*facts.settings.queues, name}))}"
        if not is_task_name(name):  # nothing that is to be copied into a shell
            cure = "no queue may be called so, and none of ours is: find out who writes into this Redis"
        if name in paused:
            message = "it is paused: nothing is taken from it"
            cure = f"POST /api/queues/{name}/resume when it shall go on"
            found.append(Finding("queue-paused", "info", subject, f"{depth} waiting", message, cure))
        elif name in served:
            waited_ms = latencies.get(name, 0)
            value = f"{depth} waiting" + (f", the oldest for {_rough(waited_ms)}" if depth else "")
            if waited_ms >= LONG_WAIT_MS:
                found.append(_slow(facts, name, value))
            elif name in users:
                found.append(Finding("queue-unserved", "ok", subject, value, "is served"))
        elif depth:
            message = "no live worker serves it"
            found.append(Finding("queue-unserved", "error", subject, f"{depth} waiting", message, cure))
        elif name in users:
            message = f"no live worker serves it; used by {names(users[name])}"
            found.append(Finding("queue-unserved", "warning", subject, "0 waiting", message, cure))
    return found


def _slow(facts: Facts, name: str, value: str) -> Finding:
    """A queue that is served, and in which a run waits for long all the same."""
    queue = next(one for one in facts.queues if one.name == name)
    taken = f"{queue.running} of its runs hold the {count(queue.slots, 'slot')} of its workers"
    message = f"is served, but not fast enough: {taken}"
    cure = (
        "start more workers (RUNFLEET_WORKER_THREADS, RUNFLEET_WORKER_PROCESSES), or give tasks that run for long a "
        "timeout, max_concurrent or a queue of their own"
    )
    return Finding("queue-slow", "warning", f"queue {name}", value, message, cure)


def _rough(ms: int) -> str:
    """A duration for people: to the second, or in full minutes from ten of them on."""
    seconds = ms // 1000
    if seconds >= 600:
        seconds -= seconds % 60
    return format_duration(seconds * 1000) if seconds else "0s"


def definitions(facts: Facts) -> list[Finding]:
    """Whether workers will execute what is defined."""
    return _unreadable(facts) + _signatures(facts)


def _unreadable(facts: Facts) -> list[Finding]:
    if not facts.unreadable:
        return []
    first, why = next(iter(facts.unreadable.items()))
    message = f"cannot be read, so they neither fire nor start: {names(list(facts.unreadable))} ({first}: {why})"
    cure = "run `runfleet apply` with this release, or use the release that wrote them"
    value = f"{len(facts.unreadable)} unreadable"
    return [Finding("definitions-unreadable", "error", "tasks", value, message, cure)]


def _signatures(facts: Facts) -> list[Finding]:
    keys = facts.settings.keys
    ours = [entry for entry in facts.entries if not entry.task.external]
    value = count(len(facts.entries), "task")
    if not keys:
        signed = any(entry.definition.signature for entry in ours)
        message = (
            "are signed, but RUNFLEET_SECRET is not set here, so that nothing can be said of them"
            if signed
            else "are unsigned: whoever can write to Redis can make workers run commands"
        )
        cure = SAME_SECRET if signed else f"{SAME_SECRET} (make one with `openssl rand -hex 32`)"
        if facts.settings.unsigned or is_local(facts.settings.redis_url):
            return [Finding("definitions-unsigned", "warning", "tasks", value, message, cure)]
        message = "no process starts here: Redis is on another machine, and RUNFLEET_SECRET is not set"
        return [Finding("definitions-unsigned", "error", "tasks", value, message, cure)]
    doubtful = [entry.name for entry in ours if not is_trusted(entry.definition, keys, entry.name)]
    old = [entry.name for entry in ours if signer(entry.definition, keys, entry.name) == "old"]
    if not doubtful and old:
        message = f"are signed with RUNFLEET_SECRET_OLD, and not executed without it any more: {names(old)}"
        cure = "run `runfleet apply` with both secrets set"
        return [Finding("definitions-old", "warning", "tasks", f"{len(old)} of {value}", message, cure)]
    if not doubtful:
        return [Finding("definitions-untrusted", "ok", "tasks", value, "are signed with this RUNFLEET_SECRET")]
    message = f"no worker with this RUNFLEET_SECRET executes {names(doubtful)}: the signature is not of this secret"
    return [
        Finding("definitions-untrusted", "error", "tasks", f"{len(doubtful)} of {value}", message, SAME_SECRET),
    ]


def schedules(facts: Facts) -> list[Finding]:
    """Schedules that do not fire: overdue, unreadable, resting ones; and what fails in the scheduler."""
    return [*_overdue(facts), *_failing(facts), *_resting(facts)]


def _overdue(facts: Facts) -> list[Finding]:
    standing, found = facts.standing, []
    health = facts.health
    if standing.overdue:
        oldest = min(standing.overdue.values())
        value = f"{len(standing.overdue)} overdue"
        message = (
            f"owe a tick since {to_datetime(oldest):%Y-%m-%d %H:%M:%S} UTC or later: {names(list(standing.overdue))}"
        )
        cure = (
            "look for scheduler.job_failed in the log of the scheduler that leads; if Redis is full, give it memory"
            if facts.leader
            else "start a scheduler: runfleet scheduler (or `scheduler` of the Procfile)"
        )
        found.append(Finding("schedule-overdue", "error", "schedules", value, message, cure))
    told = dict.fromkeys(health.unreadable_tasks, "the scheduler that leads cannot read it") if health else {}
    unreadable = {name: why for name, why in {**told, **standing.unreadable}.items() if name not in facts.unreadable}
    if unreadable:
        name, why = next(iter(unreadable.items()))
        message = f"never fire: {names(list(unreadable))} ({name}: {why})"
        cure = "install the time zones (tzdata) where the scheduler runs, or run there the release that applied them"
        found.append(
            Finding("schedule-unreadable", "error", "schedules", f"{len(unreadable)} unreadable", message, cure)
        )
    return found


def _failing(facts: Facts) -> list[Finding]:
    failing = facts.health.failing if facts.health and facts.leader else {}
    if not failing:
        return []
    what, why = next(iter(failing.items()))
    message = f"fail and are tried again: {names(list(failing))} ({what}: {why})"
    cure = "look for scheduler.job_failed in its log, which has the whole error"
    return [Finding("scheduler-failing", "warning", "scheduler", f"{len(failing)} failing", message, cure)]


def _resting(facts: Facts) -> list[Finding]:
    resting = [entry.name for entry in facts.entries if entry.paused and entry.task.cron]
    if not resting:
        return []
    value = f"{len(resting)} paused"
    cure = f"POST /api/tasks/{resting[0]}/resume when it shall go on"
    return [Finding("schedule-paused", "info", "schedules", value, f"do not fire: {names(resting)}", cure)]


def task_file(facts: Facts) -> list[Finding]:
    """Whether the task file is what is applied."""
    file = facts.task_file
    if file is None:
        return []
    if file.problems:
        cure = "`runfleet check` lists all that is wrong"
        return [Finding("task-file", "warning", "task file", file.path, file.problems, cure)]
    changes = [
        f"{verb} {names(which)}"
        for verb, which in (("add", file.added), ("change", file.changed), ("remove", file.removed))
        if which
    ]
    if not changes:
        return [Finding("task-file", "ok", "task file", file.path, "is what the store has")]
    message = f"differs from the store; applying it would {', '.join(changes)}"
    return [Finding("task-file", "info", "task file", file.path, message, "`runfleet apply` makes it so")]


def access(facts: Facts) -> list[Finding]:
    """Whether the API asks for a token."""
    settings, host = facts.settings, facts.settings.host
    cure = "set RUNFLEET_TOKEN (make one with `openssl rand -hex 32`)"
    if settings.open:
        cure = f"set RUNFLEET_OPEN=off, and {cure.removeprefix('set ')}"
        if is_loopback(host):
            message = "everybody on this machine may do everything; it serves no other"
            return [Finding("token", "info", "API", "open", message, cure)]
        return [Finding("token", "error", "API", "open", f"it refuses to start on {host} with RUNFLEET_OPEN=on", cure)]
    if settings.token or is_loopback(host):
        return [Finding("token", "ok", "API", "asks for a token", "nobody gets in without")]
    return [Finding("token", "error", "API", "no token", f"it refuses to start on {host} without RUNFLEET_TOKEN", cure)]


def token_rows(facts: Facts) -> list[Finding]:
    """Tokens in the store that are refused, or soon will be."""
    refused = [row.token.name for row in facts.tokens if not row.is_valid]
    old = [row.token.name for row in facts.tokens if row.is_old]
    found = []
    if refused:
        message = f"{names(refused)}: not signed with this RUNFLEET_SECRET, so the API refuses them"
        cure = "make them anew (POST /api/tokens) and revoke these; if nobody here made them, find out who did"
        found.append(Finding("token-rows", "warning", "tokens", f"{len(refused)} refused", message, cure))
    if old:
        message = f"{names(old)}: signed with RUNFLEET_SECRET_OLD"
        cure = "start an API process with both secrets again: it signs them anew"
        found.append(Finding("token-rows", "warning", "tokens", f"{len(old)} of the old secret", message, cure))
    return found


def old_secret(facts: Facts) -> list[Finding]:
    """Whether RUNFLEET_SECRET_OLD is needed still."""
    if not facts.settings.secret_old:
        return []
    definitions, rows = facts.old_definitions, sum(row.is_old for row in facts.tokens)
    if definitions or rows:
        value = f"{count(definitions, 'definition')}, {count(rows, 'token')}"
        message = "are signed with it; without it their runs wait for ever, and the tokens are refused"
        cure = "run `runfleet apply` with both secrets set"
        return [Finding("secret-old", "warning", "RUNFLEET_SECRET_OLD", value, message, cure)]
    message = "nothing here is signed with it any more"
    cure = "when every process has this RUNFLEET_SECRET, remove RUNFLEET_SECRET_OLD from all of them"
    return [Finding("secret-old", "info", "RUNFLEET_SECRET_OLD", "not needed", message, cure)]


CHECKS: Final[tuple[Check, ...]] = (
    scheduler,
    workers,
    queues,
    definitions,
    schedules,
    task_file,
    access,
    token_rows,
    old_secret,
)
"""In the order in which they are shown."""
