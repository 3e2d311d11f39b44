"""The checks of ``runfleet doctor`` on the fleet: schedulers, workers, queues, tasks, and access to the API."""

from typing import Final

from shared import cures
from shared.addresses import is_local, is_loopback
from shared.cli.findings import Check, Facts, Finding, count, names
from shared.clock import to_datetime
from shared.config.durations import format_duration
from shared.tasks import is_trusted, signer

LONG_WAIT_MS: Final = 60_000
"""A run that waits this long in a served queue means that there are too few slots."""

SAME_SECRET: Final = "give every process the same RUNFLEET_SECRET, then run `runfleet apply` with it"


def scheduler(facts: Facts) -> list[Finding]:
    """Whether a scheduler leads."""
    if facts.leader:
        more = f"; {count(len(facts.standbys), 'other')} would take over" if facts.standbys else ""
        return [Finding("scheduler", "ok", "scheduler", facts.leader, f"leads{more}")]
    return [
        Finding(
            "scheduler",
            "error",
            "scheduler",
            "none",
            "no schedule fires, no delayed retry starts, and no lost run is rescued",
            "start one: runfleet scheduler (or `scheduler` of the Procfile)",
        )
    ]


def workers(facts: Facts) -> list[Finding]:
    """Workers that can execute runs, and those that are lost."""
    serving = [worker for worker in facts.workers if worker.serves]
    slots = sum(worker.slots for worker in serving)
    value = f"{len(serving)} with {count(slots, 'slot')}"
    if serving:
        found = [Finding("workers", "ok", "workers", value, "send heartbeats")]
    else:
        cure = "start one: runfleet worker (or `worker` of the Procfile)"
        unfit = sum(worker.alive and bool(worker.unfit) for worker in facts.workers)
        value = f"{unfit}, claiming no runs" if unfit else "none"
        found = [Finding("workers", "warning", "workers", value, "no run can start", cure)]
    for worker in facts.workers:
        if worker.alive and worker.unfit:
            cure = "fix that, or start another worker; it checks itself every few seconds"
            found.append(Finding("worker-unfit", "error", f"worker {worker.id}", "claims no runs", worker.unfit, cure))
        if worker.alive:
            continue
        silent = f"no heartbeat for {worker.heartbeat_age_ms // 1000} s"
        held = "it holds no runs any more"
        if worker.running:
            held = f"{count(len(worker.running), 'run')} will end as crashed"
        cure = f"check process {worker.pid} on {worker.host}: it may be killed, out of memory, or cut off from Redis"
        found.append(Finding("worker-lost", "warning", f"worker {worker.id}", silent, held, cure))
    return found


def queues(facts: Facts) -> list[Finding]:
    """Queues whose runs no worker claims, or not soon enough."""
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
        cure = cures.serve_queue(name, facts.settings.queues)
        if name in paused:
            message = "is paused: workers claim nothing from it"
            cure = cures.resume_queue(name)
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
    """A served queue in which a run has waited for long."""
    queue = next(one for one in facts.queues if one.name == name)
    taken = f"{queue.running} of its runs occupy the {count(queue.slots, 'slot')} of its workers"
    message = f"is served, but not fast enough: {taken}"
    cure = (
        "start more workers (RUNFLEET_WORKER_THREADS, RUNFLEET_WORKER_PROCESSES), or give long-running tasks a "
        "timeout, max_concurrent or a queue of their own"
    )
    return Finding("queue-slow", "warning", f"queue {name}", value, message, cure)


def _rough(ms: int) -> str:
    """A duration to the second, or, from ten minutes on, to the minute."""
    seconds = ms // 1000
    if seconds >= 600:
        seconds -= seconds % 60
    return format_duration(seconds * 1000) if seconds else "0s"


def definitions(facts: Facts) -> list[Finding]:
    """Whether workers will execute the tasks."""
    return _unreadable(facts) + _signatures(facts)


def _unreadable(facts: Facts) -> list[Finding]:
    if not facts.unreadable:
        return []
    first, why = next(iter(facts.unreadable.items()))
    message = f"cannot be read, and do not start: {names(list(facts.unreadable))} ({first}: {why})"
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
            "are signed, but RUNFLEET_SECRET is not set here, so they cannot be verified"
            if signed
            else "are unsigned: anyone who can write to Redis can make workers run commands"
        )
        cure = SAME_SECRET if signed else f"{SAME_SECRET} (make one with `openssl rand -hex 32`)"
        if facts.settings.unsigned or is_local(facts.settings.redis_url):
            return [Finding("definitions-unsigned", "warning", "tasks", value, message, cure)]
        message = "no process starts here: Redis is on another machine, and RUNFLEET_SECRET is not set"
        return [Finding("definitions-unsigned", "error", "tasks", value, message, cure)]
    doubtful = [entry.name for entry in ours if not is_trusted(entry.definition, keys, entry.name)]
    old = [entry.name for entry in ours if signer(entry.definition, keys, entry.name) == "old"]
    if not doubtful and old:
        message = f"are signed with RUNFLEET_SECRET_OLD, and cannot be executed without it: {names(old)}"
        cure = "run `runfleet apply` with both secrets set"
        return [Finding("definitions-old", "warning", "tasks", f"{len(old)} of {value}", message, cure)]
    if not doubtful:
        return [Finding("definitions-untrusted", "ok", "tasks", value, "are signed with this RUNFLEET_SECRET")]
    message = f"workers with this RUNFLEET_SECRET do not execute {names(doubtful)}, which it did not sign"
    return [
        Finding("definitions-untrusted", "error", "tasks", f"{len(doubtful)} of {value}", message, SAME_SECRET),
    ]


def schedules(facts: Facts) -> list[Finding]:
    """Schedules that are overdue, unreadable or paused, and failing parts of the scheduler."""
    return [*_overdue(facts), *_failing(facts), *_paused(facts)]


def _overdue(facts: Facts) -> list[Finding]:
    standing, found = facts.standing, []
    health = facts.health
    if standing.overdue:
        oldest = min(standing.overdue.values())
        value = f"{len(standing.overdue)} overdue"
        message = (
            f"are overdue since {to_datetime(oldest):%Y-%m-%d %H:%M:%S} UTC or later: {names(list(standing.overdue))}"
        )
        cure = (
            "look for scheduler.job_failed in the log of the leading scheduler; if Redis is full, give it more memory"
            if facts.leader
            else "start a scheduler: runfleet scheduler (or `scheduler` of the Procfile)"
        )
        found.append(Finding("schedule-overdue", "error", "schedules", value, message, cure))
    reported = dict.fromkeys(health.unreadable_tasks, "the leading scheduler cannot read it") if health else {}
    unreadable = {
        name: why for name, why in {**reported, **standing.unreadable}.items() if name not in facts.unreadable
    }
    if unreadable:
        name, why = next(iter(unreadable.items()))
        message = f"never fire: {names(list(unreadable))} ({name}: {why})"
        cure = "install the time zones (tzdata) where the scheduler runs, or use the release there that applied them"
        found.append(
            Finding("schedule-unreadable", "error", "schedules", f"{len(unreadable)} unreadable", message, cure)
        )
    return found


def _failing(facts: Facts) -> list[Finding]:
    failing = facts.health.failing if facts.health and facts.leader else {}
    if not failing:
        return []
    what, why = next(iter(failing.items()))
    message = f"fail and are retried: {names(list(failing))} ({what}: {why})"
    cure = "look for scheduler.job_failed in its log, with the full error"
    return [Finding("scheduler-failing", "warning", "scheduler", f"{len(failing)} failing", message, cure)]


def _paused(facts: Facts) -> list[Finding]:
    paused = [entry.name for entry in facts.entries if entry.paused and entry.task.cron]
    if not paused:
        return []
    value = f"{len(paused)} paused"
    cure = f"POST /api/tasks/{paused[0]}/resume resumes it"
    return [Finding("schedule-paused", "info", "schedules", value, f"do not fire: {names(paused)}", cure)]


def task_file(facts: Facts) -> list[Finding]:
    """Whether the task file differs from the tasks in the store."""
    file = facts.task_file
    if file is None:
        return []
    if file.problems:
        cure = "`runfleet check` lists all mistakes"
        return [Finding("task-file", "warning", "task file", file.path, file.problems, cure)]
    changes = [
        f"{verb} {names(which)}"
        for verb, which in (("add", file.added), ("change", file.changed), ("remove", file.removed))
        if which
    ]
    if not changes:
        return [Finding("task-file", "ok", "task file", file.path, "matches the store")]
    message = f"differs from the store; applying it would {', '.join(changes)}"
    return [Finding("task-file", "info", "task file", file.path, message, "`runfleet apply` applies it")]


def access(facts: Facts) -> list[Finding]:
    """Whether the API requires a token."""
    settings, host = facts.settings, facts.settings.host
    cure = "set RUNFLEET_TOKEN (make one with `openssl rand -hex 32`)"
    if settings.open:
        cure = f"set RUNFLEET_OPEN=off, and {cure.removeprefix('set ')}"
        if is_loopback(host):
            message = "anyone on this machine may do everything; others have no access"
            return [Finding("token", "info", "API", "open", message, cure)]
        return [Finding("token", "error", "API", "open", f"it refuses to start on {host} with RUNFLEET_OPEN=on", cure)]
    if settings.token or is_loopback(host):
        return [Finding("token", "ok", "API", "requires a token", "there is no access without one")]
    return [Finding("token", "error", "API", "no token", f"it refuses to start on {host} without RUNFLEET_TOKEN", cure)]


def token_rows(facts: Facts) -> list[Finding]:
    """Tokens in the store that are refused, or will be without RUNFLEET_SECRET_OLD."""
    refused = [row.token.name for row in facts.tokens if not row.is_valid]
    old = [row.token.name for row in facts.tokens if row.is_old]
    found = []
    if refused:
        message = f"{names(refused)}: not signed with this RUNFLEET_SECRET, so the API refuses them"
        cure = "replace them (POST /api/tokens) and revoke these; if you did not create them, find out who did"
        found.append(Finding("token-rows", "warning", "tokens", f"{len(refused)} refused", message, cure))
    if old:
        message = f"{names(old)}: signed with RUNFLEET_SECRET_OLD"
        cure = "restart an API process with both secrets: it signs them again"
        found.append(Finding("token-rows", "warning", "tokens", f"{len(old)} of the old secret", message, cure))
    return found


def old_secret(facts: Facts) -> list[Finding]:
    """Whether RUNFLEET_SECRET_OLD is still needed."""
    if not facts.settings.secret_old:
        return []
    definitions, rows = facts.old_definitions, sum(row.is_old for row in facts.tokens)
    if definitions or rows:
        value = f"{count(definitions, 'definition')}, {count(rows, 'token')}"
        message = "are signed with it; without it their runs would wait forever, and the tokens would be refused"
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
"""The checks, in the order of the output."""
