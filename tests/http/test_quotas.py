"""How much a token may start: more is 429, and says when to try again."""

from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from api.http.quotas import Meter
from shared.errors import OverQuota
from shared.store.listing import Filter, page
from shared.store.redis.sync_store import Store
from shared.store.tokens import Quota
from tests.http.conftest import TOKEN

Client = TestClient[Litestar]
URL = "/api/tasks/typed/run"


def limited(client: Client, **quota: int) -> dict[str, str]:
    """The header of a new token with that quota."""
    body = {"name": "limited", "scope": "run", "quota": quota}
    made = client.post("/api/tokens", json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['token']}"}


def start(client: Client, header: dict[str, str], **body: Any) -> httpx.Response:
    return client.post(URL, json={"params": {"day": "monday"}, **body}, headers=header)


def test_a_token_starts_only_so_many_executions_a_second(guarded: Client, catalog: Store) -> None:
    header = limited(guarded, triggers_per_s=1)
    answers = [start(guarded, header) for _ in range(5)]
    assert answers[0].status_code == 201
    refused = answers[-1]
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert "may start 1 executions a second" in refused.json()["detail"]
    assert catalog.run(page(Filter())).total == sum(one.status_code == 201 for one in answers)


def test_a_token_leaves_only_so_many_runs_of_a_task_pending(guarded: Client) -> None:
    header = limited(guarded, pending_runs=5)
    assert start(guarded, header, replicas=4).status_code == 201
    refused = start(guarded, header, replicas=2)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert "4 runs of task typed are pending" in refused.json()["detail"]
    assert start(guarded, header, replicas=1).status_code == 201
    assert start(guarded, {"Authorization": f"Bearer {TOKEN}"}, replicas=100).status_code == 201, "an admin has none"


def test_a_token_sends_only_so_many_bytes_a_minute(guarded: Client) -> None:
    header = limited(guarded, pending_bytes=1000)
    assert start(guarded, header, params={"day": "x" * 300}, replicas=3).status_code == 201
    refused = start(guarded, header, params={"day": "x" * 300})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_running_again_counts_too(guarded: Client, catalog: Store) -> None:
    header = limited(guarded, triggers_per_s=1)
    run = start(guarded, header).json()
    guarded.post(f"/api/runs/{run['id']}/stop", headers={"Authorization": f"Bearer {TOKEN}"})
    answers = [guarded.post(f"/api/runs/{run['id']}/rerun", headers=header).status_code for _ in range(5)]
    assert 429 in answers


def test_more_replicas_than_the_task_allows_are_refused(guarded: Client) -> None:
    admin = {"Authorization": f"Bearer {TOKEN}"}
    refused = guarded.post("/api/tasks/narrow/run", json={"replicas": 4}, headers=admin)
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"location": "body.replicas", "message": "task narrow has at most 3 (max_replicas)", "value": "4"}
    ]
    assert guarded.post("/api/tasks/narrow/run", json={"replicas": 3}, headers=admin).status_code == 201


@pytest.mark.parametrize(
    "large",
    [
        {"params": {"day": "x" * 7_000}},
        {"labels": {f"label-{number}": "x" * 1000 for number in range(7)}},
        {"tags": [f"{number}{'x' * 98}" for number in range(64)], "labels": {"of": "x" * 1000}},
    ],
    ids=["parameters", "labels", "tags and labels"],
)
def test_the_runs_of_one_trigger_may_have_only_so_much_to_show(guarded: Client, large: dict[str, Any]) -> None:
    admin = {"Authorization": f"Bearer {TOKEN}"}
    assert start(guarded, admin, **large, replicas=100).status_code == 201
    refused = start(guarded, admin, **large, replicas=10_000)
    assert refused.status_code == 422
    assert "pass a reference instead" in refused.json()["errors"][0]["message"]


def test_a_meter_refills_with_time() -> None:
    now = [100.0]
    meter = Meter("it", Quota(triggers_per_s=2, pending_bytes=100), lambda: now[0])
    for _ in range(2):
        meter.charge(0)
    with pytest.raises(OverQuota):
        meter.charge(0)
    now[0] += 0.5
    meter.charge(90)
    now[0] += 10
    with pytest.raises(OverQuota) as refused:
        meter.charge(20)
    assert refused.value.retry_after_s == 50
    now[0] += 50
    meter.charge(20)
    with pytest.raises(OverQuota):
        meter.charge(101)
