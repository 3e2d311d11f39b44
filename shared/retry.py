"""Decides whether and when a failed attempt is retried. Pure: the dice are an argument."""

from collections.abc import Callable

from shared.runs import Reason
from shared.tasks import Task

Dice = Callable[[], float]
"""Answers a float in [0, 1), like ``random.random``."""

POISON_CRASHES = 3
"""A chain whose attempts crashed this often in a row is ended: its command probably kills workers."""

MAX_RERUNS = 5
"""How often ``on_interrupt = "rerun"`` runs an attempt again without charging it."""


def delay_ms(attempt: int, task: Task, dice: Dice) -> int:
    """
    How long to wait before retry number *attempt* (from 1), in milliseconds.

    A list of delays gives each retry its own, the last repeating; a single delay stays, grows by itself or doubles,
    up to ``retry_max_delay_ms``. Then up to ``retry_jitter`` of the delay is added, also beyond that bound, so that a
    thousand runs that failed together don't come back together once they all wait the longest.
    """
    delays = task.retry_delay_ms
    if len(delays) > 1:
        delay = delays[min(attempt, len(delays)) - 1]
    elif task.retry_backoff == "linear":
        delay = delays[0] * attempt
    elif task.retry_backoff == "exponential":
        delay = delays[0] << min(attempt - 1, 62)
    else:
        delay = delays[0]
    delay = min(delay, task.retry_max_delay_ms)
    return delay + int(delay * task.retry_jitter * dice())


def is_retried(reason: Reason, exit_code: int, task: Task) -> bool:
    """
    Whether ``retry_on`` names this ending: by reason, or by ``exit:<code>`` or ``exit:<a>-<b>`` (inclusive).

    ``stopped`` and ``skipped`` never are; an exit rule applies to ``failed`` endings only.
    """
    if reason in (Reason.SUCCESS, Reason.STOPPED, Reason.SKIPPED):
        return False
    for rule in task.retry_on:
        if rule == reason:
            return True
        if reason is Reason.FAILED and rule.startswith("exit:"):
            first, _, last = rule.removeprefix("exit:").partition("-")
            if int(first) <= exit_code <= int(last or first):
                return True
    return False
