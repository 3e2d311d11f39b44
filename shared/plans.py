"""The order in which a task and its dependencies run: groups of steps, one group after another. Pure."""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from shared.errors import Invalid, NotFound, Problem
from shared.tasks import Task


class Step(msgspec.Struct, frozen=True):
    """
    A task's place in a plan. ``needs`` are the places of the steps it depends on; ``group`` is -1 for one that is done.
    """

    task: str
    group: int
    needs: tuple[int, ...]


def steps(tasks: Mapping[str, Task], name: str, done: Collection[str] = ()) -> list[Step]:
    """
    The plan of task *name* as steps, in the order of ``groups``.

    Steps in *done* are in no group and block no other, unless something that they depend on is not done.

    Raises as ``groups`` does.
    """
    order = [step for group in groups(tasks, name) for step in group]
    place = {step: number for number, step in enumerate(order)}
    levels: dict[str, int] = {}
    for step in order:
        if step not in done or any(each in levels for each in tasks[step].depends_on):
            levels[step] = max((levels[each] + 1 for each in tasks[step].depends_on if each in levels), default=0)
    return [Step(step, levels.get(step, -1), tuple(place[each] for each in tasks[step].depends_on)) for step in order]


def groups(tasks: Mapping[str, Task], name: str) -> list[list[str]]:
    """
    The plan of task *name*: its transitive dependencies, each once, as topological levels; it is itself the last group.

    A step stands in the first group in which all that it depends on is done; names in a group are sorted. Raises
    NotFound for a name that *tasks* doesn't have and Invalid for a cycle, both of which a checked task file rules out.
    """
    order: list[str] = []
    cycle = _walk(tasks, [name], order, strict=True)
    if cycle:
        raise Invalid([Problem(f"tasks.{cycle[0]}.depends_on", f"depends on itself: {show_cycle(cycle)}")])
    levels: dict[str, int] = {}
    plan: list[list[str]] = []
    for step in order:
        level = max((levels[needed] + 1 for needed in tasks[step].depends_on), default=0)
        levels[step] = level
        plan.extend([] for _ in range(len(plan), level + 1))
        plan[level].append(step)
    return [sorted(group) for group in plan]


def find_cycle(tasks: Mapping[str, Task]) -> list[str]:
    """A cycle of ``depends_on``, first name repeated at the end; [] if there is none. Unknown names are passed over."""
    return _walk(tasks, tasks, [], strict=False)


def show_cycle(cycle: list[str]) -> str:
    """A cycle for people: ``a → b → a``."""
    return " → ".join(cycle)


def _walk(
    tasks: Mapping[str, Task], starts: Mapping[str, Task] | list[str], order: list[str], strict: bool
) -> list[str]:
    """
    Depth first from *starts*, adding each task to *order* after all it depends on. Returns the first cycle met, or [].

    Its own stack, because a chain of a thousand steps is deeper than Python's.
    """
    done: set[str] = set()
    for start in starts:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, Iterator[str]]] = []
        upcoming: str | None = start
        while upcoming is not None or stack:
            if upcoming in on_path and upcoming is not None:
                return [*path[path.index(upcoming) :], upcoming]
            if upcoming is not None and upcoming not in done:
                task = tasks.get(upcoming)
                if task is None and strict:
                    needed_by = f', which "{path[-1]}" depends on,' if path else ""
                    raise NotFound(f'task "{upcoming}"{needed_by} does not exist')
                path.append(upcoming)
                on_path.add(upcoming)
                stack.append((upcoming, iter(task.depends_on if task else ())))
            if not stack:
                break
            name, rest = stack[-1]
            upcoming = next(rest, None)
            if upcoming is None:
                stack.pop()
                path.pop()
                on_path.discard(name)
                done.add(name)
                order.append(name)
    return []
