"""
Marquez: jobs in namespaces, their runs, and OpenLineage events, for ``marquez-python`` and ``openlineage-python``.

A job is a task; a verb or an event reports a transition of a run. Start reading with ``README.md`` (what is supported),
then ``mapping.py`` (their terms and ours).
"""

from api.dialects.marquez import lineage_routes, routes, run_routes

ROUTES = (routes.routes, run_routes.routes, lineage_routes.routes)
