"""Metrics of the fleet in the Prometheus text format. Pure."""

from collections.abc import Iterable, Mapping

from msgspec import UNSET

from shared.store.fleet import Fleet, Queue, Worker
from shared.store.tasks import Counts

Sample = tuple[Mapping[str, str], float]


def render(
    facts: Fleet,
    queues: Iterable[Queue],
    workers: Iterable[Worker],
    counts: Mapping[str, Counts],
    *,
    streams: int,
    most_streams: int,
) -> str:
    """The page that Prometheus scrapes. Runs are those still kept, so retention makes their numbers fall: gauges."""
    queues, workers = list(queues), list(workers)

    def by_queue(value: str) -> list[Sample]:
        return [({"queue": queue.name}, getattr(queue, value)) for queue in queues]

    def by_redis(value: str) -> list[Sample]:
        return [] if facts.redis is None else [({}, getattr(facts.redis, value))]

    health = facts.health

    def by_health(value: str) -> list[Sample]:
        return [({}, getattr(health, value))] if health else []

    families: list[tuple[str, str, list[Sample]]] = [
        ("queue_depth", "Runs that are due and wait", by_queue("depth")),
        (
            "queue_latency_seconds",
            "Age of the oldest waiting run",
            [({"queue": queue.name}, queue.latency_ms / 1000) for queue in queues],
        ),
        ("queue_running", "Runs that run", by_queue("running")),
        ("queue_slots", "Runs that the queue's live workers can run at once", by_queue("slots")),
        ("queue_paused", "1 when nothing is taken from the queue", by_queue("paused")),
        (
            "runs",
            "Runs that are kept, by task and state; an ended run's state is its end reason",
            [
                ({"task": name, "state": state}, number)
                for name, count in sorted(counts.items())
                for state, number in {"pending": count.pending, "running": count.running, **count.by_reason}.items()
            ],
        ),
        (
            "workers",
            "Worker processes",
            [
                ({"state": "live"}, sum(1 for worker in workers if worker.serves)),
                (
                    {"state": "unfit"},
                    sum(1 for worker in workers if worker.alive and worker.unfit and not worker.draining),
                ),
                ({"state": "draining"}, sum(1 for worker in workers if worker.alive and worker.draining)),
                ({"state": "silent"}, sum(1 for worker in workers if not worker.alive)),
            ],
        ),
        ("scheduler_leading", "1 when a scheduler leads", [({}, 0 if facts.leader is UNSET else 1)]),
        ("scheduler_standbys", "Schedulers that would take over", [({}, len(facts.standbys))]),
        (
            "scheduler_lag_seconds",
            "Time since the leader's last heartbeat",
            [] if facts.scheduler_lag_ms is UNSET else [({}, facts.scheduler_lag_ms / 1000)],
        ),
        (
            "oldest_waiting_seconds",
            "How long the run waits that waits longest for a worker; 0 when none does",
            [({}, facts.oldest_waiting_ms / 1000)],
        ),
        ("schedules_overdue", "Schedules that owe a tick for half a minute or longer", by_health("overdue")),
        ("schedules_unreadable", "Schedules that the leader cannot read", by_health("unreadable")),
        (
            "schedules_repaired",
            "Schedules that the leader's check found otherwise in its timetable than in the catalog, since its start",
            by_health("repaired"),
        ),
        (
            "scheduler_failures",
            "What failed in the leader since its start, by job",
            [({"job": job}, number) for job, number in sorted(health.failures.items())] if health else [],
        ),
        (
            "scheduler_failing",
            "Things that fail in the leader now and are tried again",
            [({}, len(health.failing))] if health else [],
        ),
        ("redis_memory_bytes", "Memory that Redis uses", by_redis("memory_bytes")),
        ("redis_max_memory_bytes", "Memory that Redis may use; 0 is no limit", by_redis("max_memory_bytes")),
        ("redis_connections", "Clients connected to Redis", by_redis("connections")),
        ("api_streams", "Streams, WebSockets and waits open in the API process that was scraped", [({}, streams)]),
        ("api_streams_max", "How many of them that process serves at once", [({}, most_streams)]),
    ]
    families += [
        (f"fleet_{name}", f"{name.capitalize()} in all", [({}, n)]) for name, n in sorted(facts.counts.items())
    ]
    lines: list[str] = []
    for name, about, samples in families:
        lines += [f"# HELP runfleet_{name} {about}", f"# TYPE runfleet_{name} gauge"]
        lines += [f"runfleet_{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
