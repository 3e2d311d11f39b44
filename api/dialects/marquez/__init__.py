"""
Marquez: jobs in namespaces, their runs, and OpenLineage events, for ``marquez-python`` and ``openlineage-python``.

A job is a task, a verb or an event is a report of the one table of moves. Start reading at ``README.md`` (what is
spoken), then ``words.py`` (which of our words is which of theirs).
"""

from api.dialects.marquez import lineage_routes, routes, run_routes

ROUTES = (routes.routes, run_routes.routes, lineage_routes.routes)
