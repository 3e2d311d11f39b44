"""What Prefect's command line and people read: flows, flow runs, log lines, and their filters."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from shared.store.redis.sync_store import Store
from shared.tasks import MB
from tests.dialects.conftest import Vendor
from tests.http.conftest import Served, claim, write

Client = TestClient[Litestar]


def new_flow(client: Client | httpx.Client, name: str, **body: Any) -> str:
    answer = client.post("/api/flows/", json={"name": name, **body})
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def new_flow_run(client: Client | httpx.Client, flow: str, **body: Any) -> str:
    answer = client.post("/api/flow_runs/", json={"flow_id": flow, **body})
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def new_task_run(client: Client | httpx.Client, flow_run: str | None) -> str:
    body = {"task_key": "add", "dynamic_key": uuid4().hex, "flow_run_id": flow_run}
    answer = client.post("/api/task_runs/", json=body)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def line(second: int, text: str, level: int = 20, **of: str | None) -> dict[str, Any]:
    return {"name": "n", "level": level, "message": text, "timestamp": f"2026-01-01T00:00:{second:02}Z", **of}


def tell(client: Client | httpx.Client, *lines: dict[str, Any]) -> None:
    answer = client.post("/api/logs/", json=list(lines))
    assert answer.status_code == 201, answer.text


def lines_of(client: Client, status: int = 200, **body: Any) -> list[str]:
    answer = client.post("/api/logs/filter", json=body)
    assert answer.status_code == status, answer.text
    return [one["message"] for one in answer.json()] if status == 200 else []


def test_log_lines_of_clients_control_no_terminal(client: Client) -> None:
    run = new_task_run(client, None)
    odd = "\x1b[2J\x1b]0;title\x07 \x1b[31mred\x1b[0m tab\there \x00\x08\x7f\x9b31m"
    tell(client, line(1, odd, task_run_id=run))
    [shown] = lines_of(client, logs={"task_run_id": {"any_": [run]}})
    assert shown == "\u241b[2J\u241b]0;title\u2407 \x1b[31mred\x1b[0m tab\there \u2400\u2408\u2421\\x9b31m"


def test_flows_are_found(client: Client) -> None:
    new_flow(client, "zebra", tags=["x", "y"])
    ant = new_flow(client, "ant")
    new_task_run(client, None)  # its task is no flow

    def names(**body: Any) -> list[str]:
        answer = client.post("/api/flows/filter", json=body)
        assert answer.status_code == 200, answer.text
        return [flow["name"] for flow in answer.json()]

    assert names() == names(sort=None, flows=None) == ["ant", "zebra"]
    assert names(sort="NAME_DESC") == names(sort="CREATED_DESC")[::-1] == ["zebra", "ant"]
    assert names(flows={"operator": "or_", "name": {"like_": "EBR"}, "id": {"any_": [ant]}}) == ["ant", "zebra"]
    assert names(flows={"tags": {"all_": ["x"]}}) == ["zebra"]
    assert names(flows={"tags": {"is_null_": True}}) == ["ant"]
    assert names(flows={"id": {"any_": []}}) == names(limit=0) == names(offset=2) == []
    assert names(limit=1, offset=1) == ["zebra"]
    assert client.post("/api/flows/count", json={"flows": {"name": {"any_": ["ant"]}}}).json() == 1
    assert client.post("/api/flows/count").json() == 2
    for body in ({"limit": 201}, {"flows": {"x": 1}}, {"sort": "ID_DESC"}, {"flow_runs": {"name": {"any_": ["a"]}}}):
        assert client.post("/api/flows/filter", json=body).status_code == 422, body


@pytest.mark.parametrize("name", ["", "a/b", "50%", "a&b", "<i>"])
def test_names_that_prefects_clients_cannot_read_back_are_refused(client: Client, name: str) -> None:
    assert client.post("/api/flows/", json={"name": name}).status_code == 422
    assert client.post("/api/v2/concurrency_limits/", json={"name": name, "limit": 1}).status_code == 422
    flow = new_flow(client, "fine")
    policy = {"flow_id": flow, "empirical_policy": {"retries": "many"}}
    assert client.post("/api/flow_runs/", json=policy).status_code == 422


def test_flow_runs_are_found_by_what_their_filter_says(client: Client) -> None:
    sums, other = new_flow(client, "sums"), new_flow(client, "other")
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2199-01-01T00:00:00Z"}}
    a = new_flow_run(client, sums, name="a", tags=["x"], state={"type": "RUNNING"}, idempotency_key="k")
    b = new_flow_run(client, sums, name="b", tags=["x", "y"], flow_version="2")
    c = new_flow_run(client, other, name="c", state=later)

    def names(sort: str = "NAME_ASC", **filters: Any) -> list[str]:
        body = {"sort": sort, "flow_runs": filters} if filters else {"sort": sort}
        answer = client.post("/api/flow_runs/filter", json=body)
        assert answer.status_code == 200, answer.text
        assert client.post("/api/flow_runs/count", json=body).json() == len(answer.json())
        return [run["name"] for run in answer.json()]

    assert names() == names("EXPECTED_START_TIME_ASC") == names("ID_DESC")[::-1] == ["a", "b", "c"]
    assert names("NAME_DESC") == names("EXPECTED_START_TIME_DESC") == ["c", "b", "a"]
    assert names("START_TIME_ASC")[0] == names("START_TIME_DESC")[0] == "a"
    nothing = dict.fromkeys(("any_", "not_any_"))
    assert names(id={**nothing, "any_": [a, c]}) == ["a", "c"]
    assert names(id={**nothing, "not_any_": [a]}) == ["b", "c"]
    assert names(state={"operator": "and_", "type": {**nothing, "any_": ["RUNNING"]}, "name": None}) == ["a"]
    assert names(state={"type": {**nothing, "not_any_": ["RUNNING"]}}) == ["b", "c"]
    assert names(state={"name": {**nothing, "any_": ["Pending"]}}) == ["b"]
    assert names(tags={"operator": "and_", "all_": None, "any_": ["y", "z"], "is_null_": None}) == ["b"]
    assert names(tags={"is_null_": True}) == ["c"]
    assert names(flow_version={"any_": ["2"]}) == ["b"]
    assert names(idempotency_key={"not_any_": ["k"]}) == ["b", "c"]
    assert names(deployment_id={"operator": "and_", "any_": None, "is_null_": True}) == ["a", "b", "c"]
    assert names(deployment_id={"any_": [str(uuid4())]}) == []
    assert names(parent_task_run_id={"is_null_": False}) == []
    assert names(next_scheduled_start_time={"after_": "2100-01-01T00:00:00Z"}) == ["c"]
    assert names(start_time={"is_null_": False}) == ["a"]
    of_flow = {"flows": {"name": {"any_": ["sums"]}}, "sort": "NAME_ASC"}
    assert [run["id"] for run in client.post("/api/flow_runs/filter", json=of_flow).json()] == [a, b]
    refused: list[dict[str, Any]] = [
        {"flow_runs": {"parent_flow_run_id": {"any_": [a]}}},
        {"flow_runs": {"unknown": {}}},
        {"flows": {"tags": {"all_": ["x"]}}},
        {"task_runs": {"name": {"any_": ["x"]}}},
        {"limit": -1},
    ]
    for body in refused:
        assert client.post("/api/flow_runs/filter", json=body).status_code == 422, body


def test_a_flow_run_has_its_states(client: Client) -> None:
    run = new_flow_run(client, new_flow(client, "sums"))
    client.post(f"/api/flow_runs/{run}/set_state", json={"state": {"type": "RUNNING"}})
    client.post(f"/api/flow_runs/{run}/set_state", json={"state": {"type": "COMPLETED"}})
    states = client.get("/api/flow_run_states/", params={"flow_run_id": run}).json()
    assert [state["type"] for state in states] == ["PENDING", "RUNNING", "COMPLETED"]
    assert {state["state_details"]["flow_run_id"] for state in states} == {run}
    assert client.get("/api/flow_run_states/", params={"flow_run_id": str(uuid4())}).json() == []
    assert client.get("/api/flow_run_states/").status_code == 422


def test_log_lines_of_flow_runs_and_their_task_runs_are_read_back_in_order(client: Client) -> None:
    run = new_flow_run(client, new_flow(client, "sums"))
    one, two, stranger = new_task_run(client, run), new_task_run(client, run), new_task_run(client, None)
    tell(client, line(1, "begins", flow_run_id=run), line(4, "ends", flow_run_id=run))
    tell(
        client,
        line(2, "first\nsecond", flow_run_id=run, task_run_id=one),
        line(3, "failed", 40, flow_run_id=run, task_run_id=two),
        line(3, "not told of yet", flow_run_id=run, task_run_id=str(uuid4())),
        line(3, "elsewhere", task_run_id=stranger),
    )
    of_flow_run = {"flow_run_id": {"any_": [run]}}
    everything = ["begins", "first", "second", "failed", "not told of yet", "ends"]
    assert sorted(lines_of(client, logs=of_flow_run)) == sorted(everything)
    found = lines_of(client, logs=of_flow_run)
    assert (found[:3], found[-1]) == (["begins", "first", "second"], "ends")
    assert lines_of(client, logs=of_flow_run, sort="TIMESTAMP_DESC") == found[::-1]
    assert lines_of(client, logs=of_flow_run, limit=2, offset=1) == ["first", "second"]
    assert lines_of(client, logs={**of_flow_run, "level": {"ge_": 30, "le_": None}}) == ["failed"]
    within = {"after_": "2026-01-01T00:00:02Z", "before_": "2026-01-01T00:00:02Z"}
    assert lines_of(client, logs={**of_flow_run, "timestamp": within}) == ["first", "second"]
    assert lines_of(client, logs={"task_run_id": {"any_": [one]}}) == ["first", "second"]
    assert lines_of(client, logs={**of_flow_run, "task_run_id": {"any_": [one, stranger]}}) == ["first", "second"]
    assert lines_of(client, logs={"task_run_id": {"any_": [str(uuid4())]}}) == []
    shown = client.post("/api/logs/filter", json={"logs": {"task_run_id": {"any_": [two]}}}).json()[0]
    assert (shown["level"], shown["flow_run_id"], shown["task_run_id"]) == (40, run, two)
    assert shown["timestamp"] == "2026-01-01T00:00:03Z"
    for body in ({}, {"logs": {"level": {"ge_": 1}}}, {"logs": {**of_flow_run, "text": {"query": "x"}}}):
        lines_of(client, 422, **body)


def test_the_first_lines_of_a_full_batch_are_kept(client: Client) -> None:
    run = new_task_run(client, None)
    texts = [f"{number:03}" + "x" * 49_997 for number in range(90)]  # 4.5 MB
    tell(client, *(line(1, text, task_run_id=run) for text in texts))
    kept = lines_of(client, logs={"task_run_id": {"any_": [run]}})
    assert kept == texts[: len(kept)]
    assert (len(kept) + 1) * 50_000 > MB >= len(kept) * 50_000
    assert client.get(f"/api/runs/{run}/log").json()["truncated"]
    tell(client, line(2, "later and short", task_run_id=run))
    assert lines_of(client, logs={"task_run_id": {"any_": [run]}}) == kept


def test_the_log_of_a_run_that_a_worker_of_ours_executes_is_read_back(client: Client, store: Store) -> None:
    run = client.post("/api/tasks/report/run").json()["id"]
    write(store, claim(store), 0, ["hello", "again"])
    assert lines_of(client, logs={"task_run_id": {"any_": [run]}}) == ["hello", "again"]


def test_a_history_may_end_with_the_last_of_all_years(client: Client) -> None:
    body = {"history_start": "2024-01-01T00:00:00Z", "history_end": "9999-12-31T23:59:59-14:00"}
    answer = client.post("/api/task_runs/history", json={**body, "history_interval_seconds": 1e9})
    assert answer.status_code == 200, answer.text


def test_prefects_own_command_line_reads_and_cancels(open_api: Served, vendor: Vendor) -> None:
    with httpx.Client(base_url=open_api.url) as http:
        run = new_flow_run(http, new_flow(http, "sums"), name="a-sum", state={"type": "RUNNING"})
        ended = new_flow_run(http, new_flow(http, "others"), name="done", state={"type": "COMPLETED"})
        task_run = new_task_run(http, run)
        tell(http, line(1, "adding up", flow_run_id=run), line(2, "one and two", task_run_id=task_run))
    commands = {
        "flow ls": (0, ["sums", "others"]),
        "flow-run ls --state Running --flow-name sums": (0, [run, "a-sum"]),
        "flow-run ls --state-type FAILED": (0, ["No flow runs found"]),
        f"flow-run inspect {run}": (0, ["name='a-sum'"]),
        f"flow-run logs {run}": (0, ["adding up", "one and two"]),
        f"flow-run logs {run} --reverse --num-logs 1": (0, ["one and two"]),
        f"flow-run cancel {run}": (0, ["successfully scheduled for cancellation"]),
        f"flow-run cancel {ended}": (1, ["already COMPLETED"]),
        f"flow-run cancel {uuid4()}": (1, ["not found"]),
        f"flow-run delete {ended}": (0, ["Successfully deleted"]),
        f"flow-run inspect {ended}": (1, []),
        "task-run ls": (0, [task_run]),
        f"task-run inspect {task_run}": (0, ["task_key='add'"]),
        f"task-run logs {task_run}": (0, ["one and two"]),
        f"task-run inspect {uuid4()}": (1, ["not found"]),
        "concurrency-limit create db 3": (0, ["Created concurrency limit"]),
        "concurrency-limit inspect db": (0, ["db"]),
        "concurrency-limit ls": (0, ["db"]),
        "concurrency-limit reset db": (0, ["Reset"]),
        "concurrency-limit delete db": (0, ["Deleted"]),
        "concurrency-limit delete db --": (1, ["No concurrency limit found"]),
        "global-concurrency-limit create all --limit 4": (0, ["Created"]),
        "global-concurrency-limit create rate --limit 4 --slot-decay-per-second 1": (1, ["slots that decay"]),
        "global-concurrency-limit update all --limit 5": (0, ["Updated"]),
        "global-concurrency-limit disable all": (0, ["Disabled"]),
        "global-concurrency-limit enable all": (0, ["Enabled"]),
        "global-concurrency-limit inspect all": (0, ["limit=5"]),
        "global-concurrency-limit ls": (0, ["all"]),
        "global-concurrency-limit delete all": (0, ["Deleted"]),
        "global-concurrency-limit inspect all --": (1, ["not found"]),
    }
    said = vendor("prefect", "prefect_cli.py", *commands, PREFECT_API_URL=f"{open_api.url}/api")
    parts = said.split("\n$ ")
    assert len(parts) == len(commands), said
    for part, (command, (code, words)) in zip(parts, commands.items(), strict=True):
        assert f"\n= {code}" in part, f"{command}:\n{part}"
        for word in words:
            assert word in part, f"{command}:\n{part}"
