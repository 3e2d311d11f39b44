"""
Tasks and their executions as Ona (formerly Gitpod) has them, for its own unmodified client.

Start reading with the README, then ``bodies`` (every message), ``calls`` (how one comes in), ``tasks`` and
``executions`` (the handlers). ``catalog`` finds tasks, ``writing`` defines them, ``translation`` knows what their specs
are here, and ``phases`` how executions are told.
"""

from api.dialects.ona import executions, logs, tasks, watching

ROUTES = (tasks.routes, executions.routes, logs.routes, watching.routes)
"""What is answered, by topic."""
