"""
Every route: the scope that it needs, and what a token for some tasks gets of what is beyond its pattern.

Written by hand. A route without a row fails ``tests/promises/test_authorisation_table.py``; what each row says is tried
in ``test_every_route.py``.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from api.dialects.ona.errors import CALLS, ENVIRONMENTS, EVENTS, LOGS
from tests.authorisation.world import Owner

Beyond = Literal["open", "no tasks", "hidden", "left out", "barred", "admin"]
"""
What a token for some tasks gets of others.

``open``: no token is needed. ``no tasks``: the answer is about none. ``hidden``: what is theirs looks as if it did not
exist. ``left out``: a list, a stream or a sum without it. ``barred``: refused (403, or 404), because the request itself
names what would be made or touched. ``admin``: only tokens for all tasks have that scope.
"""


class Asked(NamedTuple):
    """A request about something of an owner."""

    path: str
    json: Any = None
    params: Mapping[str, str] | None = None


class Row(NamedTuple):
    """One route; ``method`` WS is a WebSocket. ``status``: what is answered when all is well, if that is no success."""

    method: str
    path: str
    scope: Literal["", "read", "run", "admin"]
    beyond: Beyond
    asked: Callable[[Owner], Asked]
    status: int = 0
    streams: bool = False
    shows: bool = True
    """Whether a list names what is mine; counts don't."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def plain(path: str, body: Any = None) -> Callable[[Owner], Asked]:
    """A request that is the same whatever the owner has."""
    return lambda owner: Asked(path, body)


def connect(message: Mapping[str, str]) -> dict[str, str]:
    """A message of Ona's as a GET sends it."""
    return {"connect": "v1", "encoding": "json", "message": json.dumps(message)}


def new_key() -> str:
    return uuid.uuid4().hex


STATE = {"state": {"type": "RUNNING"}, "force": True}
HISTORY = {
    "history_start": "2026-01-01T00:00:00Z",
    "history_end": "2026-01-02T00:00:00Z",
    "history_interval_seconds": 3600,
}
TAGS = "/api/concurrency_limits"
LIMITS = "/api/v2/concurrency_limits"
JOBS = "/api/v1/namespaces/{namespace}/jobs"

NATIVE = (
    Row("GET", "/api/tasks", "read", "left out", plain("/api/tasks")),
    Row("GET", "/api/tasks/{taskName}", "read", "hidden", lambda o: Asked(f"/api/tasks/{o.task}")),
    Row(
        "PUT", "/api/tasks/{taskName}", "admin", "admin", lambda o: Asked(f"/api/tasks/x-{new_key()}", {"run": "true"})
    ),
    Row("DELETE", "/api/tasks/{taskName}", "admin", "admin", lambda o: Asked("/api/tasks/none"), status=404),
    Row("POST", "/api/tasks/{taskName}/run", "run", "hidden", lambda o: Asked(f"/api/tasks/{o.task}/run", {})),
    Row("GET", "/api/tasks/{taskName}/runs", "read", "hidden", lambda o: Asked(f"/api/tasks/{o.task}/runs")),
    Row("POST", "/api/tasks/{taskName}/stop", "run", "hidden", lambda o: Asked(f"/api/tasks/{o.task}/stop")),
    Row("POST", "/api/tasks/{taskName}/pause", "run", "hidden", lambda o: Asked(f"/api/tasks/{o.task}/pause")),
    Row("POST", "/api/tasks/{taskName}/resume", "run", "hidden", lambda o: Asked(f"/api/tasks/{o.task}/resume")),
    Row("GET", "/api/tasks/{taskName}/stats", "read", "hidden", lambda o: Asked(f"/api/tasks/{o.task}/stats")),
    Row("GET", "/api/runs", "read", "left out", plain("/api/runs")),
    Row("GET", "/api/runs/{id}", "read", "hidden", lambda o: Asked(f"/api/runs/{o.run}")),
    Row("GET", "/api/runs/{id}/why", "read", "hidden", lambda o: Asked(f"/api/runs/{o.run}/why")),
    Row("GET", "/api/runs/{id}/neighbours", "read", "hidden", lambda o: Asked(f"/api/runs/{o.run}/neighbours")),
    Row("DELETE", "/api/runs/{id}", "admin", "admin", lambda o: Asked(f"/api/runs/{o.ended}")),
    Row("POST", "/api/runs/{id}/stop", "run", "hidden", lambda o: Asked(f"/api/runs/{o.run}/stop")),
    Row("POST", "/api/runs/{id}/rerun", "run", "hidden", lambda o: Asked(f"/api/runs/{o.ended}/rerun")),
    Row("POST", "/api/runs/{id}/report", "run", "hidden", lambda o: Asked(f"/api/runs/{o.external_run}/report")),
    Row("GET", "/api/runs/{id}/log", "read", "hidden", lambda o: Asked(f"/api/runs/{o.run}/log")),
    Row("GET", "/api/runs/{id}/log/find", "read", "hidden", lambda o: Asked(f"/api/runs/{o.run}/log/find?q=x")),
    Row("GET", "/api/runs/{id}/log/outline", "read", "hidden", lambda o: Asked(f"/api/runs/{o.run}/log/outline")),
    Row("GET", "/api/runs/{id}/log/raw", "read", "hidden", lambda o: Asked(f"/api/runs/{o.ended}/log/raw")),
    Row("GET", "/api/runs/{id}/log/stream", "read", "hidden", lambda o: Asked(f"/api/runs/{o.ended}/log/stream")),
    Row("GET", "/api/executions", "read", "left out", plain("/api/executions")),
    Row("GET", "/api/executions/{id}", "read", "hidden", lambda o: Asked(f"/api/executions/{o.execution}")),
    Row("POST", "/api/executions/{id}/stop", "run", "hidden", lambda o: Asked(f"/api/executions/{o.execution}/stop")),
    Row("POST", "/api/executions/{id}/rerun", "run", "hidden", lambda o: Asked(f"/api/executions/{o.ended}/rerun")),
    Row(
        "POST",
        "/api/hooks/environments/{id}/{trigger}",
        "run",
        "hidden",
        lambda o: Asked(f"/api/hooks/environments/{o.environment}/postEnvironmentStart"),
    ),
    Row("GET", "/api/queues", "read", "left out", plain("/api/queues")),
    Row("POST", "/api/queues/{queue}/pause", "admin", "admin", lambda o: Asked(f"/api/queues/{o.queue}/pause")),
    Row("POST", "/api/queues/{queue}/resume", "admin", "admin", lambda o: Asked(f"/api/queues/{o.queue}/resume")),
    Row("GET", "/api/workers", "read", "left out", plain("/api/workers")),
    Row("POST", "/api/workers/{id}/drain", "admin", "admin", lambda o: Asked(f"/api/workers/{o.worker}/drain")),
    Row("GET", "/api/fleet", "read", "left out", plain("/api/fleet"), shows=False),
    Row("GET", "/api/events/stream", "read", "left out", plain("/api/events/stream"), streams=True),
    Row("POST", "/api/session", "", "open", plain("/api/session", {"token": "rf_unknown"}), status=401),
    Row("GET", "/api/session", "read", "no tasks", plain("/api/session")),
    Row("DELETE", "/api/session", "read", "no tasks", plain("/api/session")),
    Row("POST", "/api/session/links", "read", "no tasks", plain("/api/session/links")),
    Row("GET", "/api/tokens", "admin", "admin", plain("/api/tokens")),
    Row("POST", "/api/tokens", "admin", "admin", plain("/api/tokens", {"name": "n", "scope": "read"})),
    Row("DELETE", "/api/tokens/{id}", "admin", "admin", lambda o: Asked(f"/api/tokens/{o.token}")),
    Row("GET", "/metrics", "read", "left out", plain("/metrics")),
    Row("GET", "/health", "", "open", plain("/health")),
    Row("GET", "/ready", "", "open", plain("/ready")),
    Row("GET", "/schemas/{file}", "", "open", plain("/schemas/Run.json")),
    Row("GET", "/openapi.json", "", "open", plain("/openapi.json")),
    Row("GET", "/docs", "", "open", plain("/docs")),
)

MARQUEZ = (
    Row("GET", "/api/v1/namespaces", "read", "left out", plain("/api/v1/namespaces")),
    Row(
        "PUT",
        "/api/v1/namespaces/{namespace}",
        "run",
        "barred",
        lambda o: Asked(f"/api/v1/namespaces/{o.namespace}", {"ownerName": "somebody"}),
    ),
    Row(
        "GET", "/api/v1/namespaces/{namespace}", "read", "hidden", lambda o: Asked(f"/api/v1/namespaces/{o.namespace}")
    ),
    Row(
        "DELETE",
        "/api/v1/namespaces/{namespace}",
        "admin",
        "admin",
        lambda o: Asked("/api/v1/namespaces/no"),
        status=404,
    ),
    Row("GET", "/api/v1/jobs", "read", "left out", plain("/api/v1/jobs")),
    Row("GET", JOBS, "read", "hidden", lambda o: Asked(f"/api/v1/namespaces/{o.namespace}/jobs")),
    Row(
        "PUT",
        JOBS + "/{job}",
        "run",
        "barred",
        lambda o: Asked(
            f"/api/v1/namespaces/runfleet/jobs/{o.name}-{new_key()}", {"type": "BATCH", "inputs": [], "outputs": []}
        ),
    ),
    Row("GET", JOBS + "/{job}", "read", "hidden", lambda o: Asked(f"/api/v1/namespaces/{o.namespace}/jobs/{o.job}")),
    Row(
        "DELETE",
        JOBS + "/{job}",
        "admin",
        "admin",
        lambda o: Asked(f"/api/v1/namespaces/{o.namespace}/jobs/none"),
        status=404,
    ),
    Row(
        "GET",
        JOBS + "/{job}/runs",
        "read",
        "hidden",
        lambda o: Asked(f"/api/v1/namespaces/{o.namespace}/jobs/{o.job}/runs"),
    ),
    Row(
        "POST",
        JOBS + "/{job}/runs",
        "run",
        "hidden",
        lambda o: Asked(f"/api/v1/namespaces/{o.namespace}/jobs/{o.job}/runs", {}),
    ),
    Row("GET", "/api/v1/jobs/runs/{id}", "read", "hidden", lambda o: Asked(f"/api/v1/jobs/runs/{o.job_run}")),
    Row(
        "GET",
        "/api/v1/jobs/runs/{id}/facets",
        "read",
        "hidden",
        lambda o: Asked(f"/api/v1/jobs/runs/{o.job_run}/facets", params={"type": "run"}),
    ),
    *(
        Row(
            "POST",
            f"/api/v1/jobs/runs/{{id}}/{verb}",
            "run",
            "hidden",
            lambda o, verb=verb: Asked(f"/api/v1/jobs/runs/{o.new_job_run}/{verb}"),  # type: ignore[misc]
        )
        for verb in ("start", "complete", "fail", "abort")
    ),
    Row("POST", "/api/v1/lineage", "run", "barred", lambda o: Asked("/api/v1/lineage", o.told())),
    Row("GET", "/api/v1/events/lineage", "read", "left out", plain("/api/v1/events/lineage")),
)


def call(name: str, scope: Any, beyond: Beyond, message: Callable[[Owner], dict[str, Any]], **more: Any) -> list[Row]:
    """The rows of a call of Ona's: what only reads can be a GET too."""
    path = CALLS + name
    rows = [Row("POST", path, scope, beyond, lambda o: Asked(path, message(o)), **more)]
    if scope == "read":
        rows.append(Row("GET", path, scope, beyond, lambda o: Asked(path, params=connect(message(o))), **more))
    return rows


ONA = (
    *call(
        "CreateTask",
        "admin",
        "admin",
        lambda o: {"environmentId": o.environment, "metadata": {"reference": new_key()}, "spec": {"command": "true"}},
    ),
    *call("GetTask", "read", "hidden", lambda o: {"id": o.ona_task}),
    *call("ListTasks", "read", "left out", lambda o: {}),
    *call("UpdateTask", "admin", "admin", lambda o: {"id": o.ona_task, "metadata": {"name": "new"}}),
    *call("DeleteTask", "admin", "admin", lambda o: {"id": o.ona_task}),
    *call(
        "UpsertAutomationsFile",
        "admin",
        "admin",
        lambda o: {
            "environmentId": o.environment,
            "automationsFile": {"tasks": {"f": {"name": "F", "command": "true"}}},
        },
    ),
    *call("StartTask", "run", "hidden", lambda o: {"id": o.ona_task}),
    *call("GetTaskExecution", "read", "hidden", lambda o: {"id": o.ona_execution}),
    *call("ListTaskExecutions", "read", "left out", lambda o: {"pagination": {"pageSize": 100}}),
    *call("StopTaskExecution", "run", "hidden", lambda o: {"id": o.ona_execution}),
    Row("GET", LOGS + "{execution}", "read", "hidden", lambda o: Asked(f"{LOGS}{o.ended}")),
    Row(
        "POST",
        ENVIRONMENTS + "CreateEnvironmentLogsToken",
        "read",
        "no tasks",
        lambda o: Asked(ENVIRONMENTS + "CreateEnvironmentLogsToken", {"environmentId": o.environment}),
    ),
    Row(
        "GET",
        ENVIRONMENTS + "CreateEnvironmentLogsToken",
        "read",
        "no tasks",
        lambda o: Asked(ENVIRONMENTS + "CreateEnvironmentLogsToken", params=connect({"environmentId": o.environment})),
    ),
    Row(
        "POST",
        EVENTS + "WatchEvents",
        "read",
        "left out",
        lambda o: Asked(EVENTS + "WatchEvents", {"environmentId": str(uuid.UUID(int=0))}),
        streams=True,
    ),
)

PREFECT = (
    Row(
        "POST",
        "/api/task_runs",
        "run",
        "barred",
        lambda o: Asked("/api/task_runs", {"task_key": o.key, "dynamic_key": new_key()}),
    ),
    Row("GET", "/api/task_runs/{id}", "read", "hidden", lambda o: Asked(f"/api/task_runs/{o.task_run}")),
    Row(
        "PATCH", "/api/task_runs/{id}", "run", "hidden", lambda o: Asked(f"/api/task_runs/{o.task_run}", {"name": "n"})
    ),
    Row("DELETE", "/api/task_runs/{id}", "admin", "admin", lambda o: Asked(f"/api/task_runs/{o.task_run}")),
    Row(
        "POST",
        "/api/task_runs/{id}/set_state",
        "run",
        "hidden",
        lambda o: Asked(f"/api/task_runs/{o.task_run}/set_state", STATE),
    ),
    Row(
        "GET",
        "/api/task_run_states",
        "read",
        "hidden",
        lambda o: Asked("/api/task_run_states", params={"task_run_id": o.task_run}),
    ),
    Row("POST", "/api/task_runs/filter", "read", "left out", plain("/api/task_runs/filter", {})),
    Row("POST", "/api/task_runs/paginate", "read", "left out", plain("/api/task_runs/paginate", {})),
    Row(
        "POST",
        "/api/task_runs/count",
        "read",
        "hidden",
        lambda o: Asked("/api/task_runs/count", {"task_runs": {"id": {"any_": [o.task_run]}}}),
    ),
    Row(
        "POST",
        "/api/task_runs/history",
        "read",
        "hidden",
        lambda o: Asked("/api/task_runs/history", {**HISTORY, "task_runs": {"id": {"any_": [o.task_run]}}}),
    ),
    Row("GET", "/api/hello", "", "open", plain("/api/hello")),
    Row("GET", "/api/health", "", "open", plain("/api/health")),
    Row("GET", "/api/ready", "", "open", plain("/api/ready")),
    Row("GET", "/api/csrf-token", "", "open", plain("/api/csrf-token"), status=404),
    Row("GET", "/api/version", "read", "no tasks", plain("/api/version")),
    Row("GET", "/api/admin/version", "read", "no tasks", plain("/api/admin/version")),
    Row("GET", "/api/admin/storage", "read", "no tasks", plain("/api/admin/storage")),
    Row("POST", "/api/task_workers/filter", "read", "left out", plain("/api/task_workers/filter", {}), shows=False),
    Row("POST", "/api/flows", "run", "barred", lambda o: Asked("/api/flows", {"name": f"{o.name} {new_key()}"})),
    Row("GET", "/api/flows/{id}", "read", "hidden", lambda o: Asked(f"/api/flows/{o.flow_id}")),
    Row("GET", "/api/flows/name/{name}", "read", "hidden", lambda o: Asked(f"/api/flows/name/{o.flow}")),
    Row("POST", "/api/flows/filter", "read", "left out", plain("/api/flows/filter", {})),
    Row(
        "POST",
        "/api/flows/count",
        "read",
        "hidden",
        lambda o: Asked("/api/flows/count", {"flows": {"id": {"any_": [o.flow_id]}}}),
    ),
    Row("POST", "/api/flow_runs", "run", "hidden", lambda o: Asked("/api/flow_runs", {"flow_id": o.flow_id})),
    Row("GET", "/api/flow_runs/{id}", "read", "hidden", lambda o: Asked(f"/api/flow_runs/{o.flow_run}")),
    Row(
        "PATCH", "/api/flow_runs/{id}", "run", "hidden", lambda o: Asked(f"/api/flow_runs/{o.flow_run}", {"name": "n"})
    ),
    Row("DELETE", "/api/flow_runs/{id}", "admin", "admin", lambda o: Asked(f"/api/flow_runs/{o.flow_run}")),
    Row(
        "POST",
        "/api/flow_runs/{id}/set_state",
        "run",
        "hidden",
        lambda o: Asked(f"/api/flow_runs/{o.flow_run}/set_state", STATE),
    ),
    Row("POST", "/api/flow_runs/filter", "read", "left out", plain("/api/flow_runs/filter", {})),
    Row(
        "POST",
        "/api/flow_runs/count",
        "read",
        "hidden",
        lambda o: Asked("/api/flow_runs/count", {"flow_runs": {"id": {"any_": [o.flow_run]}}}),
    ),
    Row(
        "GET",
        "/api/flow_run_states",
        "read",
        "hidden",
        lambda o: Asked("/api/flow_run_states", params={"flow_run_id": o.flow_run}),
    ),
    Row("POST", LIMITS, "admin", "admin", lambda o: Asked(LIMITS, {"name": new_key(), "limit": 1})),
    Row("POST", LIMITS + "/filter", "read", "left out", plain(LIMITS + "/filter", {})),
    Row("GET", LIMITS + "/{id}", "read", "hidden", lambda o: Asked(f"{LIMITS}/{o.limit}")),
    Row("PATCH", LIMITS + "/{id}", "admin", "admin", lambda o: Asked(f"{LIMITS}/tag:{o.tag}", {"limit": 90})),
    Row("DELETE", LIMITS + "/{id}", "admin", "admin", lambda o: Asked(f"{LIMITS}/none"), status=404),
    Row("POST", TAGS, "admin", "admin", lambda o: Asked(TAGS, {"tag": new_key(), "concurrency_limit": 1})),
    Row("POST", TAGS + "/filter", "read", "left out", plain(TAGS + "/filter", {})),
    Row("GET", TAGS + "/tag/{tag}", "read", "hidden", lambda o: Asked(f"{TAGS}/tag/{o.tag}")),
    Row("GET", TAGS + "/{id}", "read", "hidden", lambda o: Asked(f"{TAGS}/{o.tag_limit}")),
    Row("DELETE", TAGS + "/tag/{tag}", "admin", "admin", lambda o: Asked(f"{TAGS}/tag/none"), status=404),
    Row("DELETE", TAGS + "/{id}", "admin", "admin", lambda o: Asked(f"{TAGS}/{uuid.UUID(int=9)}"), status=404),
    Row("POST", TAGS + "/tag/{tag}/reset", "admin", "admin", lambda o: Asked(f"{TAGS}/tag/{o.tag}/reset", {})),
    Row(
        "POST",
        LIMITS + "/increment-with-lease",
        "run",
        "barred",
        lambda o: Asked(f"{LIMITS}/increment-with-lease", {"names": [o.limit], "slots": 1}),
    ),
    Row(
        "POST",
        LIMITS + "/decrement-with-lease",
        "run",
        "hidden",
        lambda o: Asked(f"{LIMITS}/decrement-with-lease", {"lease_id": o.lease}),
    ),
    Row(
        "POST", LIMITS + "/leases/{id}/renew", "run", "hidden", lambda o: Asked(f"{LIMITS}/leases/{o.lease}/renew", {})
    ),
    Row("POST", "/api/logs", "run", "hidden", lambda o: Asked("/api/logs", [line(o.task_run)])),
    Row(
        "POST",
        "/api/logs/filter",
        "read",
        "hidden",
        lambda o: Asked("/api/logs/filter", {"logs": {"task_run_id": {"any_": [o.task_run]}}}),
    ),
    Row("POST", "/api/events", "run", "barred", lambda o: Asked("/api/events", [state_event(o.task_run, o.key)])),
)


def line(task_run: str) -> dict[str, Any]:
    """A line of the log of a task run, as Prefect's client sends it."""
    return {"message": "a line", "timestamp": "2026-01-01T00:00:00Z", "level": 20, "task_run_id": task_run}


def state_event(task_run: str, key: str, name: str = "Running") -> dict[str, Any]:
    """What Prefect's engine tells of a task run."""
    return {
        "id": str(uuid.uuid4()),
        "occurred": "2026-01-01T00:00:00Z",
        "event": f"prefect.task-run.{name}",
        "resource": {"prefect.resource.id": f"prefect.task-run.{task_run}"},
        "payload": {
            "validated_state": {"type": name.upper(), "name": name},
            "task_run": {"task_key": key, "dynamic_key": task_run},
        },
    }


SOCKETS = (
    Row("WS", "/api/events/in", "run", "barred", plain("/api/events/in")),
    Row("WS", "/api/events/out", "read", "left out", plain("/api/events/out")),
    Row(
        "WS", "/api/task_runs/subscriptions/scheduled", "run", "barred", plain("/api/task_runs/subscriptions/scheduled")
    ),
)

TABLE: tuple[Row, ...] = (*NATIVE, *MARQUEZ, *ONA, *PREFECT, *SOCKETS)
