"""Tasks, queues, workers, the fleet, and its numbers."""

import re

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from shared.clock import SECOND_US
from shared.runs import Reason
from shared.store import fleet, leadership, tasks, version
from shared.store.fleet import About
from shared.store.health import Health
from shared.store.redis.call import Call, Key
from shared.store.redis.sync_store import Store
from shared.tasks import define
from tests.http.conftest import TASKS, finish
from tests.waiting import wait_until

Client = TestClient[Litestar]


@pytest.fixture
def worker(catalog: Store) -> str:
    """A worker process that said hello."""
    about = About(host="h1", pid=7, version="1", queues=("default", "slow"), slots=8, started_us=1_700_000_000_000_000)
    catalog.run(fleet.heartbeat("h1-7", [], about))
    return "h1-7"


def test_tasks_are_listed_by_name_with_their_state(client: Client) -> None:
    client.post("/api/tasks/report/run")
    listing = client.get("/api/tasks").json()
    assert [task["name"] for task in listing["tasks"]] == sorted(task.name for task in TASKS)
    report = next(task for task in listing["tasks"] if task["name"] == "report")
    assert report["counts"] == {"pending": 1, "running": 0, "total": 1, "by_reason": {}}
    assert report["last_run"]["number"] == 1
    assert (report["schedule"], len(report["next_ticks"]), report["source"]) == ("every hour", 5, "file")


@pytest.mark.parametrize(
    ("query", "names"),
    [("search=REP", ["report"]), ("group=books", ["report"]), ("tag=nightly,x", ["report"]), ("tag=x", [])],
)
def test_tasks_can_be_searched(client: Client, query: str, names: list[str]) -> None:
    assert [task["name"] for task in client.get(f"/api/tasks?{query}").json()["tasks"]] == names


def test_tasks_come_in_pages(client: Client) -> None:
    page = client.get("/api/tasks?limit=2&offset=2").json()
    assert ([task["name"] for task in page["tasks"]], page["total"]) == (["flaky", "locked"], len(TASKS))


def test_secrets_are_never_shown(client: Client) -> None:
    response = client.get("/api/tasks/secretive")
    assert "hunter2" not in response.text
    assert response.json()["definition"]["secrets"] == {"KEY": "[redacted]"}


def test_a_schedule_is_paused_and_resumed(client: Client) -> None:
    paused = client.post("/api/tasks/report/pause").json()
    assert (paused["paused"], "next_ticks" in paused) == (True, False)
    resumed = client.post("/api/tasks/report/resume").json()
    assert (resumed["paused"], len(resumed["next_ticks"])) == (False, 5)


def test_stopping_a_task_stops_all_its_live_runs(client: Client) -> None:
    for _ in range(3):
        client.post("/api/tasks/example/run")
    response = client.post("/api/tasks/example/stop")
    assert (response.status_code, response.json()["affected"]) == (202, 3)
    assert client.get("/api/tasks/example/runs?status=pending").json()["total"] == 0


def test_live_runs_of_a_removed_task_can_be_stopped(client: Client, catalog: Store) -> None:
    client.post("/api/tasks/shipped/run")
    left = [task for task in TASKS if task.name not in ("example", "shipped")]
    catalog.run(tasks.apply([(task, define(task)) for task in left]))
    for name, affected in (("example", 1), ("shipped", 0)):
        response = client.post(f"/api/tasks/{name}/stop")
        assert (response.status_code, response.json().get("affected", 0)) == (202 if affected else 404, affected)
    assert client.get("/api/runs?status=pending,running").json()["total"] == 0


@pytest.mark.parametrize("call", ["GET ", "POST /stop", "POST /pause", "POST /resume", "GET /stats"])
def test_an_unknown_task_is_404_whatever_is_asked_of_it(client: Client, call: str) -> None:
    method, path = call.split(" ")
    assert client.request(method, f"/api/tasks/nowhere{path}").status_code == 404


def test_statistics_count_ends_and_measure_times(client: Client, catalog: Store) -> None:
    for reason in (Reason.SUCCESS, Reason.SUCCESS, Reason.FAILED):
        client.post("/api/tasks/example/run")
        finish(catalog, reason, int(reason is Reason.FAILED))
    stats = client.get("/api/tasks/example/stats?buckets=4").json()
    assert stats["counts"] == {"success": 2, "failed": 1}
    assert set(stats["run_ms"]) == set(stats["wait_ms"]) == {"p50", "p95", "p99"}
    assert [bucket["counts"] for bucket in stats["buckets"]] == [{}, {}, {}, {"success": 2, "failed": 1}]


def test_queues_say_how_much_waits_for_how_many_slots(client: Client, worker: str) -> None:
    client.post("/api/tasks/example/run")
    queues = {queue["name"]: queue for queue in client.get("/api/queues").json()["queues"]}
    assert (queues["default"]["depth"], queues["default"]["slots"], queues["default"]["workers"]) == (1, 8, 1)
    assert (queues["slow"]["depth"], queues["slow"]["latency_ms"]) == (0, 0)


def test_a_queue_is_paused_and_resumed(client: Client, worker: str) -> None:
    assert client.post("/api/queues/slow/pause").json()["paused"] is True
    assert client.post("/api/queues/slow/resume").json()["paused"] is False
    assert client.post("/api/queues/unheard-of/pause").status_code == 404


def test_workers_are_listed_and_drained(client: Client, worker: str) -> None:
    (listed,) = client.get("/api/workers").json()["workers"]
    assert (listed["id"], listed["host"], listed["pid"], listed["queues"]) == (worker, "h1", 7, ["default", "slow"])
    assert (listed["alive"], listed["draining"]) == (True, False)
    response = client.post(f"/api/workers/{worker}/drain")
    assert (response.status_code, response.json()["draining"]) == (202, True)
    assert client.post("/api/workers/unheard-of/drain").status_code == 404


def test_the_fleet_names_its_leader_and_redis(client: Client, catalog: Store) -> None:
    assert "leader" not in client.get("/api/fleet").json()
    catalog.run(leadership.poll("s1"))
    found = client.get("/api/fleet").json()
    assert (found["leader"], found["standbys"]) == ("s1", [])
    assert found["redis"]["memory_bytes"] > 0
    assert found["counts"]["tasks"] == len(TASKS)


@pytest.mark.damaged
@pytest.mark.parametrize("key", ["tasks", "queues", "leader", "due", "version"])
def test_an_overwritten_key_is_in_the_fleet_with_the_cure(client: Client, catalog: Store, key: str) -> None:
    """The process stays ready: a balancer that took it out would hide the page that says what is wrong."""
    assert "wrong_keys" not in client.get("/api/fleet").json()
    catalog.run(Call("SET", (Key(key), "x"), bool))
    [wrong] = client.get("/api/fleet").json()["wrong_keys"]
    assert (wrong["key"], wrong["kind"].partition(" that")[0]) == (key, "a string")
    assert wrong["wanted"] in ("a hash", "a set", "a zset", "a number")
    assert "delete that key" in wrong["cure"]
    assert client.get("/ready").status_code == 200
    catalog.run(Call("DEL", (Key(key),), int))
    catalog.run(Call("GEOADD", (Key(key), 1, 1, "x"), int))
    assert client.get("/ready").status_code == 200


@pytest.mark.damaged
def test_a_newer_releases_store_is_no_reason_to_be_ready(client: Client, catalog: Store) -> None:
    catalog.run(Call("SET", (Key("version"), version.SCHEMA + 1), bool))
    assert client.get("/ready").status_code == 503


def test_schedules_that_do_not_fire_are_in_the_fleet_and_in_the_metrics(client: Client, catalog: Store) -> None:
    told = Health(overdue=2, overdue_tasks=["a", "b"], unreadable=1, unreadable_tasks=["c"], failing={"fire a": "odd"})
    catalog.run(leadership.poll("s1", health=msgspec.structs.replace(told, failures={"fire": 7}).packed()))
    assert client.get("/api/fleet").json()["schedules"] == {
        "overdue": 2,
        "overdue_tasks": ["a", "b"],
        "unreadable": 1,
        "unreadable_tasks": ["c"],
        "failing": {"fire a": "odd"},
    }
    lines = client.get("/metrics").text.splitlines()
    assert {
        "runfleet_schedules_overdue 2",
        "runfleet_schedules_unreadable 1",
        'runfleet_scheduler_failures{job="fire"} 7',
        "runfleet_scheduler_failing 1",
    } <= set(lines)


def test_schedules_are_overdue_also_without_a_leader(client: Client, catalog: Store) -> None:
    now_us = catalog.run(fleet.clock())
    catalog.run(leadership.poll("s1", health=Health(schedules=1).packed()))
    catalog.run(Call("HSET", (Key("ticks"), "report", now_us - 3 * 3600 * SECOND_US), int))
    assert client.get("/api/fleet").json()["schedules"]["overdue"] == 0, "as its leader says"
    catalog.run(Call("DEL", (Key("leader"),), int))
    schedules = client.get("/api/fleet").json()["schedules"]
    assert (schedules["overdue"], schedules["overdue_tasks"]) == (1, ["report"])
    assert "runfleet_schedules_overdue 1" in client.get("/metrics").text.splitlines()


def test_the_age_of_the_oldest_waiting_run_is_in_the_fleet_and_in_the_metrics(client: Client, catalog: Store) -> None:
    assert client.get("/api/fleet").json()["oldest_waiting_ms"] == 0
    client.post("/api/tasks/example/run")
    client.post("/api/tasks/example/run")
    waited_ms = wait_until(lambda: client.get("/api/fleet").json()["oldest_waiting_ms"], "it waits")
    page = client.get("/metrics").text
    found = re.search(r"^runfleet_oldest_waiting_seconds ([\d.]+)$", page, re.MULTILINE)
    assert found
    assert float(found[1]) * 1000 >= waited_ms
    finish(catalog, Reason.SUCCESS, 0)
    finish(catalog, Reason.SUCCESS, 0)
    assert client.get("/api/fleet").json()["oldest_waiting_ms"] == 0


def test_metrics_are_for_the_whole_fleet(client: Client, catalog: Store, worker: str) -> None:
    client.post("/api/tasks/example/run")
    finish(catalog, Reason.FAILED, 1)
    client.post("/api/tasks/example/run")
    response = client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.text.splitlines()
    for line in (
        'runfleet_queue_depth{queue="default"} 1',
        'runfleet_queue_slots{queue="default"} 8',
        'runfleet_runs{task="example",state="failed"} 1',
        'runfleet_workers{state="live"} 1',
        "runfleet_scheduler_leading 0",
    ):
        assert line in lines


def test_ready_says_no_once_the_process_is_stopping(client: Client) -> None:
    assert client.get("/ready").status_code == 200
    client.app.state.runfleet.closing.set()
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200
