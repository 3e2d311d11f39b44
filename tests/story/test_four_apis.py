"""
One server, four ways to speak to it. Each of the other systems' APIs makes runs of the same kind, in the same history;
so whatever made a run, it can be read in all four, and says the same.

Here the requests are written out; ``tests/dialects`` drives the server with the systems' own client libraries.
"""

from typing import Any

from tests.system.fleet import Fleet

TASKS = """
[tasks.report]
run = "echo counting"
"""
ENVIRONMENT = "0190f6a1-7c3e-7a3b-9d2e-3f4a5b6c7d8e"
ONA = "/api/gitpod.v1.EnvironmentAutomationService"


def test_a_run_created_through_any_api_is_read_through_all(fleet: Fleet) -> None:
    fleet.apply(TASKS)

    def send(method: str, path: str, body: Any = None) -> Any:
        response = fleet.http.request(method, path, json=body)
        assert response.is_success, f"{method} {path}: {response.text}"
        return response.json()

    # The native API: a worker of ours executes it.
    native = fleet.perform("report")["id"]

    # Marquez: somebody else executes it, and says so as it goes.
    send("PUT", "/api/v1/namespaces/shop", {"ownerName": "ada"})
    send("PUT", "/api/v1/namespaces/shop/jobs/orders", {"type": "BATCH", "inputs": [], "outputs": []})
    marquez = send("POST", "/api/v1/namespaces/shop/jobs/orders/runs", {})["id"]
    send("POST", f"/api/v1/jobs/runs/{marquez}/start")
    send("POST", f"/api/v1/jobs/runs/{marquez}/complete")

    # Prefect: a task run that its client drives from state to state.
    wanted = {"task_key": "orders-1a2b3c4d", "dynamic_key": "0", "state": {"type": "PENDING"}}
    prefect = send("POST", "/api/task_runs/", wanted)["id"]
    send("POST", f"/api/task_runs/{prefect}/set_state", {"state": {"type": "RUNNING"}})
    send("POST", f"/api/task_runs/{prefect}/set_state", {"state": {"type": "COMPLETED"}})

    # Ona: a task with a command, defined and started by its API, executed by our worker.
    metadata = {"reference": "hello", "name": "Hello", "triggeredBy": [{"manual": True}]}
    hello = {"environmentId": ENVIRONMENT, "metadata": metadata, "spec": {"command": "echo hello"}}
    task = send("POST", f"{ONA}/CreateTask", hello)["task"]["id"]
    ona = send("POST", f"{ONA}/StartTask", {"id": task})["taskExecution"]["id"]

    # Whoever made it: the same run, the same outcome, in everybody's words.
    for run in (native, marquez, prefect, ona):
        assert fleet.ended(fleet.run(run))["end_reason"] == "success"
        assert send("GET", f"/api/v1/jobs/runs/{run}")["state"] == "COMPLETED"
        assert send("GET", f"/api/task_runs/{run}")["state_type"] == "COMPLETED"
        execution = send("POST", f"{ONA}/GetTaskExecution", {"id": run})["taskExecution"]
        assert execution["status"]["phase"] == "TASK_EXECUTION_PHASE_SUCCEEDED"

    # They stand in one history, with the task each belongs to.
    listed = {run["id"]: run["task_name"] for run in fleet.runs()}
    assert set(listed) == {native, marquez, prefect, ona}
    assert listed[native] == "report"
    assert listed[marquez].startswith("marquez.orders.")
    assert listed[prefect].startswith("prefect.orders-1a2b3c4d.")

    # And a person who stops one stops it for everybody.
    late = send("POST", "/api/task_runs/", wanted | {"dynamic_key": "1"})["id"]
    fleet.post(f"/api/runs/{late}/stop")
    assert send("GET", f"/api/task_runs/{late}")["state_type"] == "CANCELLED"
    assert send("GET", f"/api/v1/jobs/runs/{late}")["state"] == "ABORTED"
