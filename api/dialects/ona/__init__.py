"""
Ona (formerly Gitpod): tasks and their executions, for its own unmodified client.

Start reading with the README, then ``wire`` (what a message is), ``bodies`` and ``execution_bodies`` (every message),
``connect_rpc`` (how one is called), ``tasks`` and ``executions`` (the handlers). ``catalog`` finds tasks,
``task_writes`` and ``automations`` define them, ``translation`` maps their specs to definitions, ``status`` renders
executions, and ``task_list`` and ``execution_list`` list both.
"""

from api.dialects.ona import event_stream, executions, logs, tasks

ROUTES = (tasks.routes, executions.routes, logs.routes, event_stream.routes)
"""The endpoints, by topic."""
