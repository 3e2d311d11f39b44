"""What engines tell of task runs by events, beside what clients set and what becomes of the consumers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.dialects.prefect import events
from shared import ops
from shared.store import tasks
from shared.store.dialects import orchestrated
from shared.store.redis.sync_store import Store
from tests.dialects.test_prefect_orchestration import TYPES
from tests.store.consistency import check_store

Client = TestClient[Litestar]


@pytest.fixture(autouse=True)
def _whole(store: Store) -> Iterator[None]:
    yield
    check_store(store)


def deferred(client: Client, **body: Any) -> str:
    state = {"type": "SCHEDULED", "state_details": {"deferred": True}}
    body = {"task_key": "theirs", "dynamic_key": uuid4().hex, "state": state, **body}
    answer = client.post("/api/task_runs/", json=body)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def hand_over(store: Store, run: str, consumer: str) -> None:
    [entry] = [one for one in store.run(tasks.entries()) if one.name.startswith("prefect.theirs")]
    assert store.run(orchestrated.consumer_fetch(consumer, b"{}", [entry.name], orchestrated.Turn.first())).id == UUID(
        run
    )


def tell(client: Client, run: str, kind: str, name: str = "", after_s: float = 0) -> None:
    """As whoever executes the run tells of a state."""
    event = {
        "id": str(uuid4()),
        "occurred": (datetime.now(UTC) + timedelta(seconds=after_s)).isoformat(),
        "event": f"prefect.task-run.{name or kind.capitalize()}",
        "resource": {"prefect.resource.id": f"prefect.task-run.{run}"},
        "payload": {
            "validated_state": {"type": kind, "name": name or kind.capitalize()},
            "task_run": {"task_key": "theirs", "dynamic_key": "1"},
        },
    }
    answer = client.post("/api/events", json=[event])
    assert answer.status_code == 204, answer.text


def state_of(client: Client, run: str) -> str:
    kind: str = client.get(f"/api/task_runs/{run}").json()["state_type"]
    return kind


def set_state(client: Client, run: str, kind: str) -> None:
    answer = client.post(f"/api/task_runs/{run}/set_state", json={"state": {"type": kind}})
    assert answer.json()["status"] == "ACCEPT", answer.text


def test_a_run_that_a_client_cancelled_stays_cancelled_whatever_its_process_reports(
    client: Client, store: Store
) -> None:
    run = deferred(client)
    hand_over(store, run, "a-1")
    tell(client, run, "PENDING")
    tell(client, run, "RUNNING")
    set_state(client, run, "CANCELLED")
    tell(client, run, "COMPLETED")
    assert state_of(client, run) == "CANCELLED"
    assert client.get(f"/api/runs/{run}").json()["end_reason"] == "stopped"


def test_a_run_that_was_cancelled_and_scheduled_again_is_reported_again(client: Client, store: Store) -> None:
    run = deferred(client)
    hand_over(store, run, "a-1")
    tell(client, run, "RUNNING")
    set_state(client, run, "CANCELLED")
    answer = client.post(
        f"/api/task_runs/{run}/set_state",
        json={"state": {"type": "SCHEDULED", "state_details": {"deferred": True}}},
    )
    assert answer.json()["status"] == "ACCEPT"
    hand_over(store, run, "a-2")
    for kind in ("PENDING", "RUNNING", "COMPLETED"):
        tell(client, run, kind)
    assert state_of(client, run) == "COMPLETED"


def test_a_process_may_report_a_cancellation_itself_and_then_continue(client: Client) -> None:
    run = deferred(client)
    for kind in ("RUNNING", "CANCELLED", "RUNNING", "COMPLETED"):
        tell(client, run, kind)
    assert state_of(client, run) == "COMPLETED"


@pytest.mark.parametrize("source", TYPES)
def test_every_state_can_follow_every_other_if_it_is_forced(client: Client, source: str) -> None:
    for target in TYPES:
        run = deferred(client)
        for kind in (source, target):
            answer = client.post(f"/api/task_runs/{run}/set_state", json={"state": {"type": kind}, "force": True})
            assert answer.status_code == 201, f"{source} to {target}: {answer.text}"
        assert state_of(client, run) == target
        native = client.get(f"/api/runs/{run}").json()
        assert native["status"] in ("pending", "running", "ended"), f"{source} to {target}"


@pytest.mark.parametrize("source", TYPES)
def test_every_state_can_be_reported_after_every_other(client: Client, source: str) -> None:
    for target in TYPES:
        run = deferred(client)
        tell(client, run, source)
        tell(client, run, target)
        assert state_of(client, run) == target, f"{source} to {target}"


def test_slots_that_a_lost_consumer_leased_for_a_run_are_free_for_its_next_attempt(
    client: Client, store: Store
) -> None:
    client.post("/api/concurrency_limits/", json={"tag": "one", "concurrency_limit": 1})
    run, other = deferred(client, tags=["one"]), deferred(client)
    hand_over(store, run, "a-1")
    tell(client, run, "RUNNING")
    take = {"names": ["tag:one"], "slots": 1, "lease_duration": 60}

    def taken(holder: str) -> int:
        body = {**take, "holder": {"type": "task_run", "id": holder}}
        return client.post("/api/v2/concurrency_limits/increment-with-lease", json=body).status_code

    assert (taken(run), taken(other)) == (200, 423)
    catalog = ops.Catalog()
    store.run(events.return_to_queue(catalog, UUID(other), "a-1"))
    assert taken(other) == 423, "its holder is still there"
    store.run(events.return_to_queue(catalog, UUID(run), "a-1"))
    assert client.get("/api/concurrency_limits/tag/one").json()["active_slots"] == []
    assert state_of(client, run) == "SCHEDULED"
    assert taken(run) == 200
