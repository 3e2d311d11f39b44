"""``runfleet check``: validates the task file and shows when its tasks will run. Needs no Redis."""

import os
import sys
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from shared import clock, schedules
from shared.config import read_config
from shared.settings import read_settings
from shared.tasks import Task

TICKS: Final = 3
"""The number of next ticks shown for each schedule."""


def check(file: Path | None = None) -> None:
    """
    Validate the task file and show when its tasks will run.

    Parameters
    ----------
    file
        The task file; RUNFLEET_CONFIG or runfleet.toml when not given.
    """
    settings = read_settings()
    path = file or Path(settings.config)
    config = read_config(path, os.environ, with_advice=True)
    now_us = clock.now_us()
    for task in config.tasks.values():
        sys.stdout.write(f"{task.name}: {describe(task, now_us)}\n")
    for warning in config.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    count = len(config.tasks)
    sys.stderr.write(f"{path} is valid: {count} task{'' if count == 1 else 's'}.\n")


def describe(task: Task, now_us: int) -> str:
    """When *task* runs: its schedule in words and its next ticks after stored time *now_us*, in the task's zone."""
    if not task.cron:
        return "executed and reported by another system" if task.external else "when triggered"
    schedule, zone = schedules.parse(task.cron, task.timezone), ZoneInfo(task.timezone)
    ticks: list[str] = []
    at_us = schedule.next_after(now_us)
    while at_us is not None and len(ticks) < TICKS:
        ticks.append(clock.to_datetime(at_us).astimezone(zone).isoformat(sep=" ", timespec="seconds"))
        at_us = schedule.next_after(at_us)
    return f"{schedule.words()}; next {', '.join(ticks)}" if ticks else schedule.words()
