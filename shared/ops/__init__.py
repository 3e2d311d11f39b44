"""
Operations: trigger, stop, rerun, fire, enqueue, rescue, report, apply, prune.

Each is an operation of the store: it decides with the pure modules, makes a transition by one script, and wakes
workers for what became ready. Requests, the scheduler's jobs and tests run the same operations. Start reading with
``starts``.
"""

from shared.ops.catalog import Catalog, declare, pause, resume
from shared.ops.maintenance import PRUNE_BATCH, enqueue_due, next_attempt, prune, rescue
from shared.ops.new_execution import Request, creation, gates
from shared.ops.redaction import REDACTED, definition_shown, without_secrets
from shared.ops.reports import accepted, report
from shared.ops.starts import Triggered, fire, make_all, miss, rerun, rerun_execution, trigger
from shared.ops.stops import delete, stop, stop_execution, stop_rest, stop_task
from shared.ops.task_file import apply_config

__all__ = [
    "PRUNE_BATCH",
    "REDACTED",
    "Catalog",
    "Request",
    "Triggered",
    "accepted",
    "apply_config",
    "creation",
    "declare",
    "definition_shown",
    "delete",
    "enqueue_due",
    "fire",
    "gates",
    "make_all",
    "miss",
    "next_attempt",
    "pause",
    "prune",
    "report",
    "rerun",
    "rerun_execution",
    "rescue",
    "resume",
    "stop",
    "stop_execution",
    "stop_rest",
    "stop_task",
    "trigger",
    "without_secrets",
]
