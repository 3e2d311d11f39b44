"""
Prefect's REST API 0.8.4 around task runs, as far as its clients (3.x) need it. Start with README.md.
"""

from api.dialects.prefect import flowruns, flows, leases, limits, log_queries, logs, routes, service, taglimits
from api.dialects.prefect import sockets as sockets

ROUTES = (
    routes.routes,
    service.routes,
    flows.routes,
    flowruns.routes,
    limits.routes,
    taglimits.routes,
    leases.routes,
    logs.routes,
    log_queries.routes,
)
