"""
What the product does: trigger, stop, rerun, fire, release, rescue, apply, forget.

Each is an operation of the store: it decides with the pure modules, makes a move by one script, and rings the bell
for what became ready. The same operation is run by a request, a chore or a test. Start reading with ``starting``.
"""

from shared.ops.applying import apply_config
from shared.ops.catalog import Catalog, declare, pause, resume
from shared.ops.keeping import FORGET_BATCH, forget, next_attempt, release, rescue
from shared.ops.making import Request, creation, gates
from shared.ops.masking import REDACTED, definition_shown, without_secrets
from shared.ops.reporting import accepted, report
from shared.ops.starting import Triggered, fire, make_all, miss, rerun, rerun_execution, trigger
from shared.ops.stopping import delete, stop, stop_execution, stop_rest, stop_task

__all__ = [
    "FORGET_BATCH",
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
    "fire",
    "forget",
    "gates",
    "make_all",
    "miss",
    "next_attempt",
    "pause",
    "release",
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
