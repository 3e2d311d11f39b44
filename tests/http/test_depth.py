"""What is nested too deep is refused in words, however deep it is."""

import pytest
from litestar import Litestar
from litestar.testing import TestClient

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("depth", [101, 800, 950, 1_500, 100_000])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("body", ['{"params":{"x":%s}}', '{"labels":%s}', "%s"])
def test_a_deep_trigger_is_422(client: TestClient[Litestar], body: str, opened: str, closed: str, depth: int) -> None:
    text = body % (opened * depth + "1" + closed * depth)
    answer = client.post("/api/tasks/elsewhere/run", content=text, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"].startswith("body")


@pytest.mark.parametrize("depth", [101, 800, 950, 1_500])
def test_deep_outputs_are_422(client: TestClient[Litestar], depth: int) -> None:
    run = client.post("/api/tasks/elsewhere/run").json()
    body = '{"end_reason":"success","outputs":{"x":%s}}' % ("[" * depth + "]" * depth)
    answer = client.post(f"/api/runs/{run['id']}/report", content=body, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"].startswith("body")


def test_what_is_just_not_too_deep_is_taken_and_shown(client: TestClient[Litestar]) -> None:
    body = '{"params":{"x":%s}}' % ("[" * 100 + "]" * 100)
    made = client.post("/api/tasks/elsewhere/run", content=body, headers=JSON)
    assert made.status_code == 201
    assert client.get(f"/api/runs/{made.json()['id']}").json()["params"] == made.json()["params"]
