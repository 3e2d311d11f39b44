"""The warnings of ``runfleet check``: valid settings of a task file that are probably not intended."""

from collections.abc import Callable, Mapping
from typing import Final

from shared.clock import SECOND_US
from shared.config.durations import format_duration
from shared.config.source_locations import Place
from shared.tasks import DAY_MS, Task

PlaceOf = Callable[[str, str], Place]
"""The place of a task's key, by the names of the task and the key; the whole file without both."""

FROM_US: Final = 1_767_225_600 * SECOND_US
"""Ticks are counted from the beginning of 2026, so that the same file always gets the same warnings."""

WINDOW_MS: Final = 28 * DAY_MS
SHARE: Final = 0.5
"""The share of ``keep_for`` that ``keep_runs`` must leave to avoid a warning."""


def advise(tasks: Mapping[str, Task], channels: bool, place_of: PlaceOf) -> None:
    """Report the warnings at the places of *place_of*. *channels*: there are tables ``[notify.<name>]``."""
    warned = False
    for name, task in tasks.items():
        _advise_on_history(task, place_of(name, "keep_runs"))
        if task.notify and not warned:
            warned = True  # once is enough
            place_of(name, "notify").problem(
                "has no effect: this release sends no messages yet. Watch the event stream, or poll "
                "GET /api/runs?end_reason=failed"
            )
    if channels and not warned:
        place_of("", "notify").problem("has no effect: this release sends no messages yet")
    whole = place_of("", "")
    if not tasks and not whole.found:  # otherwise an include that matches nothing is the reason
        whole.problem("has no tasks; a task begins with a line such as [tasks.report]")


def _advise_on_history(task: Task, place: Place) -> None:
    from shared import schedules

    if not task.cron:
        return
    try:
        schedule = schedules.parse(task.cron, task.timezone)
    except schedules.BadSchedule:
        return  # reported at the schedule
    window_ms = min(task.keep_for_ms, WINDOW_MS)
    ticks = schedule.count_between(FROM_US, FROM_US + window_ms * 1000)
    needed = -(-ticks * task.replicas * task.keep_for_ms // window_ms)
    if needed * SHARE <= task.keep_runs:
        return
    kept_ms = task.keep_for_ms * task.keep_runs // needed
    kept = format_duration(max(1000, kept_ms - kept_ms % (3_600_000 if kept_ms > 7_200_000 else 1000)))
    place.problem(
        f"{task.keep_runs} of each end reason are about {kept} at this schedule, not keep_for "
        f"({format_duration(task.keep_for_ms)}): write keep_runs = {min(needed, 1_000_000)}, or a shorter keep_for"
    )
