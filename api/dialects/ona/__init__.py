"""
Tasks and their executions as Ona (formerly Gitpod) has them, for its own unmodified client.

Start reading with the README, then ``wire`` (what a message is), ``bodies`` and ``execution_bodies`` (every message),
``calls`` (how one comes in), ``tasks`` and ``executions`` (the handlers). ``catalog`` finds tasks, ``writing`` and
``automations`` define them, ``translation`` knows what their specs are here, ``phases`` how executions are told, and
``listing`` and ``history`` how tasks and executions are listed.
"""

from api.dialects.ona import event_stream, executions, logs, tasks

ROUTES = (tasks.routes, executions.routes, logs.routes, event_stream.routes)
"""What is answered, by topic."""
