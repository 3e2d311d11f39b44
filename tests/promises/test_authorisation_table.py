"""Every route has its row in the table of who may do what, with the scope that it really needs."""

from typing import Any

from api.app import create_app, dialect_endpoints, native_endpoints
from api.dashboard.serving import dashboard_paths
from shared.settings import Settings
from tests.authorisation.table import TABLE

APP: Any = create_app(Settings(redis_url="unix:///nowhere/at/all"))
SOCKET_SCOPES = {"/api/events/in": "run", "/api/events/out": "read", "/api/task_runs/subscriptions/scheduled": "run"}
"""What a WebSocket needs is in its code; ``tests/authorisation`` tries it."""


def declared() -> dict[tuple[str, str], str]:
    """(method, path) → the scope that it needs, "" for none."""
    found: dict[tuple[str, str], str] = {(one.method, one.path): one.scope or "" for one in native_endpoints()}
    found |= {(one.method, one.path): one.scope or "" for one in dialect_endpoints()}
    return found | {("WS", path): SOCKET_SCOPES.get(path, "?") for path in APP.asgi_handler._handlers}


def test_every_route_has_one_row_with_its_scope_and_no_row_is_invented() -> None:
    rows = {(row.method, row.path): row.scope for row in TABLE}
    assert len(rows) == len(TABLE), "no route has two rows"
    assert rows == declared()


def test_nothing_is_served_beside_the_routes_that_are_declared() -> None:
    served = {
        (method, route.path.replace(":str}", "}"))
        for route in APP.routes
        for method in getattr(route, "methods", ())
        if method not in ("HEAD", "OPTIONS")
    }
    declared_here = {(row.method, row.path) for row in TABLE if row.method != "WS"}
    assert served - declared_here == {("GET", path.replace(":str}", "}")) for path in dashboard_paths()}
    assert declared_here <= served


def test_the_dashboard_stands_in_front_of_no_call() -> None:
    assert [path for path in dashboard_paths() if path.startswith("/api")] == []
    assert {row.path for row in TABLE} & set(dashboard_paths()) == set()


def test_only_routes_about_no_task_need_no_token() -> None:
    assert {row.path for row in TABLE if row.beyond == "open"} == {row.path for row in TABLE if not row.scope}


def test_routes_for_admins_only_are_marked() -> None:
    assert {str(row) for row in TABLE if row.beyond == "admin"} == {str(row) for row in TABLE if row.scope == "admin"}


def test_history_limits_queues_workers_and_tokens_are_for_admins_to_change() -> None:
    words = ("queues", "workers", "tokens", "concurrency_limits")
    changing = [row for row in TABLE if row.method != "GET" and any(f"/{word}" in row.path for word in words)]
    exceptions = ("/filter", "-lease", "/renew")
    lesser = [
        str(row) for row in TABLE if row.method == "DELETE" and row.scope != "admin" and row.path != "/api/session"
    ]
    lesser += [str(row) for row in changing if row.scope != "admin" and not row.path.endswith(exceptions)]
    assert lesser == []
