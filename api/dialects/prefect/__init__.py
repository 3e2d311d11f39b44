"""
Prefect's REST API 0.8.4 around task runs, as far as its clients (3.x) need it. Start with README.md.
"""

from api.dialects.prefect import (
    flow_runs,
    flows,
    leases,
    limits,
    log_queries,
    logs,
    service,
    tag_limits,
    task_run_routes,
)
from api.dialects.prefect import sockets as sockets

ROUTES = (
    task_run_routes.routes,
    service.routes,
    flows.routes,
    flow_runs.routes,
    limits.routes,
    tag_limits.routes,
    leases.routes,
    logs.routes,
    log_queries.routes,
)
