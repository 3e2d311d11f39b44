"""How tests speak to the dialect of Marquez, about jobs and runs in namespace ``ns``."""

from datetime import UTC, datetime, timedelta
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
NOBODY = "01900000-0000-7000-8000-000000000000"
T0 = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def at(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def event(
    kind: str, run: str, seconds: float = 0, job: str = "j", facets: Any = None, namespace: str = "ns"
) -> dict[str, Any]:
    told = {"eventType": kind, "eventTime": at(seconds), "producer": "urn:test"}
    return {**told, "run": {"runId": run, "facets": facets or {}}, "job": {"namespace": namespace, "name": job}}


def send(client: Client, *events: dict[str, Any], status: int = 201) -> Any:
    for one in events:
        answer = client.post("/api/v1/lineage", json=one)
        assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def run_of(client: Client, run: str) -> dict[str, Any]:
    answer = client.get(f"/api/v1/jobs/runs/{run}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def new_job(client: Client, job: str = "j") -> str:
    """The path of a new job."""
    client.put("/api/v1/namespaces/ns", json={"ownerName": "ada"})
    answer = client.put(f"/api/v1/namespaces/ns/jobs/{job}", json={"type": "BATCH", "inputs": [], "outputs": []})
    assert answer.status_code == 200, answer.text
    return f"/api/v1/namespaces/ns/jobs/{job}"


def new_run(client: Client, **body: Any) -> str:
    answer = client.post(f"{new_job(client)}/runs", json=body)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made
