"""What is right in a task file and probably not meant: said by ``runfleet check``, and nothing is refused for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from shared.clock import SECOND_US
from shared.config.durations import format_duration
from shared.config.source_locations import Place
from shared.tasks import DAY_MS, Task

PlaceOf = Callable[[str, str], Place]
"""Where the value of a key of a task stands, by the names of the task and the key; the whole file without both."""

FROM_US: Final = 1_767_225_600 * SECOND_US
"""Schedules are counted from the beginning of 2026, so that the same file is always told the same."""

WINDOW_MS: Final = 28 * DAY_MS
SHARE: Final = 0.5
"""What ``keep_runs`` may cut ``keep_for`` to without a word."""


def advise(tasks: Mapping[str, Task], channels: bool, place_of: PlaceOf) -> None:
    """Report it at the places of *place_of*. *channels*: there are tables ``[notify.<name>]``."""
    told = False
    for name, task in tasks.items():
        _advise_on_history(task, place_of(name, "keep_runs"))
        if task.notify and not told:
            told = True  # one sentence is enough
            place_of(name, "notify").problem(
                "nobody hears anything yet: messages are not sent by this release. Watch the event stream, or poll "
                "GET /api/runs?end_reason=failed"
            )
    if channels and not told:
        place_of("", "notify").problem("nobody hears anything yet: messages are not sent by this release")
    whole = place_of("", "")
    if not tasks and not whole.found:  # else an include that matches nothing says why
        whole.problem("there is no task in it; a task begins with a line such as [tasks.report]")


def _advise_on_history(task: Task, place: Place) -> None:
    from shared import schedules

    if not task.cron:
        return
    try:
        schedule = schedules.parse(task.cron, task.timezone)
    except schedules.BadSchedule:
        return  # reported where it stands
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
