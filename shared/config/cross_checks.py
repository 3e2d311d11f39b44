"""The checks between tasks: unknown names, circular dependencies, and parameters that no schedule gives."""

from collections.abc import Callable, Mapping, Sequence

from shared.config.source_locations import Place, nearest
from shared.plans import find_cycle, show_cycle
from shared.tasks import Task

PlaceOf = Callable[[str, str], Place]
"""The place of a task's key."""


def check_names(tasks: Mapping[str, Task], known: Mapping[str, Sequence[str]], place_of: PlaceOf) -> None:
    """Report each task, limit or channel that a task names and that is not *known*."""
    for name, task in tasks.items():
        checks = (("depends_on", "tasks", task.depends_on), ("limits", "limits", task.limits))
        for key, kind, wanted in (*checks, ("notify", "notify", task.notify)):
            for index, other in enumerate(wanted):
                if other not in known[kind]:
                    place = place_of(name, key).under(index)
                    place.problem(f"there is no [{kind}.{other}]", nearest(other, known[kind]))


def check_cycles(tasks: Mapping[str, Task], place_of: PlaceOf) -> None:
    """Report each circle of tasks that depend on each other once."""
    rest = dict(tasks)
    while cycle := find_cycle(rest):
        if len(cycle) > 2:  # a task that depends on itself was reported when it was read
            place = place_of(cycle[0], "depends_on")
            place.problem(f"tasks depend on each other in a circle: {show_cycle(cycle)}; remove one of these")
        for name in cycle[1:]:
            del rest[name]


def check_required(tasks: Mapping[str, Task], place_of: PlaceOf) -> None:
    """Report required parameters of scheduled tasks and their dependencies, because a schedule gives none."""
    for name, task in tasks.items():
        if not task.cron or not all(needed in tasks for needed in task.depends_on):
            continue
        for needed in sorted(_all_needed(task, tasks)):
            for param, declared in tasks[needed].params.items():
                if declared.required:
                    message = (
                        f"{needed}, which it depends on, requires the parameter {param}, and a schedule gives none"
                    )
                    place_of(name, "cron").problem(f"{message}: give {param} a default, or remove cron")


def _all_needed(task: Task, tasks: Mapping[str, Task]) -> set[str]:
    """All known tasks that *task* depends on, directly or indirectly."""
    found: set[str] = set()
    waiting = [*task.depends_on]
    while waiting:
        name = waiting.pop()
        if name in tasks and name not in found:
            found.add(name)
            waiting += tasks[name].depends_on
    return found
