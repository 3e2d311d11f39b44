"""Plans: levels of dependencies, cycles, and size."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Invalid, NotFound
from shared.plans import find_cycle, groups, show_cycle
from shared.tasks import Task


def tasks_of(edges: dict[str, list[str]]) -> dict[str, Task]:
    return {name: Task(name=name, run="true", depends_on=tuple(needed)) for name, needed in edges.items()}


def test_a_task_without_dependencies_is_one_group_with_one_step() -> None:
    assert groups(tasks_of({"a": [], "b": ["a"]}), "a") == [["a"]]


def test_a_step_stands_right_after_the_last_thing_it_needs() -> None:
    edges = {"load": ["clean", "schema"], "clean": ["fetch"], "schema": [], "fetch": [], "other": ["load"]}
    assert groups(tasks_of(edges), "load") == [["fetch", "schema"], ["clean"], ["load"]]


def test_a_shared_dependency_runs_once() -> None:
    edges = {"top": ["left", "right"], "left": ["base"], "right": ["base"], "base": []}
    assert groups(tasks_of(edges), "top") == [["base"], ["left", "right"], ["top"]]


def test_a_chain_of_thousands_is_planned() -> None:
    edges = {f"t{index}": [f"t{index - 1}"] if index else [] for index in range(5000)}
    assert groups(tasks_of(edges), "t4999") == [[f"t{index}"] for index in range(5000)]


def test_a_dense_graph_is_walked_once() -> None:
    edges = {f"t{index}": [f"t{lower}" for lower in range(index)] for index in range(300)}
    assert len(groups(tasks_of(edges), "t299")) == 300


def test_an_unknown_dependency_is_not_found() -> None:
    with pytest.raises(NotFound, match='task "gone", which "a" depends on, does not exist'):
        groups(tasks_of({"a": ["gone"]}), "a")


def test_a_cycle_is_shown_instead_of_a_plan() -> None:
    with pytest.raises(Invalid, match="b → c → b"):
        groups(tasks_of({"a": ["b"], "b": ["c"], "c": ["b"]}), "a")


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ({}, ""),
        ({"a": ["b"], "b": []}, ""),
        ({"a": ["gone"]}, ""),
        ({"a": ["a"]}, "a → a"),
        ({"a": ["b"], "b": ["a"]}, "a → b → a"),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, "a → b → c → a"),
    ],
)
def test_a_cycle_is_found_where_there_is_one(edges: dict[str, list[str]], cycle: str) -> None:
    assert show_cycle(find_cycle(tasks_of(edges))) == cycle


NAMES = [f"t{index}" for index in range(8)]


@given(st.fixed_dictionaries({name: st.lists(st.sampled_from(NAMES), unique=True, max_size=3) for name in NAMES}))
def test_every_graph_has_a_plan_or_a_cycle(edges: dict[str, list[str]]) -> None:
    tasks = tasks_of(edges)
    cycle = find_cycle(tasks)
    if cycle:
        assert cycle[0] == cycle[-1]
        assert all(needed in edges[step] for step, needed in pairwise(cycle))
        return
    for name in NAMES:
        plan = groups(tasks, name)
        level = {step: index for index, group in enumerate(plan) for step in group}
        assert plan[-1] == [name]
        assert sum(map(len, plan)) == len(level)
        for step, own in level.items():
            assert own == max((level[needed] + 1 for needed in edges[step]), default=0)
