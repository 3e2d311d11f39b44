"""A trigger's parameters: which are taken, what is wrong with the others, and how they reach the process."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import params
from shared.tasks import Param, Task

scalars = st.one_of(st.text(max_size=20), st.integers(-(2**53), 2**53), st.booleans())


def _task(call: str | None = None, **declared: Param) -> Task:
    return Task(name="a", run=None if call else "true", call=call, params=declared)


def _problems(task: Task, given_: dict[str, Any] | None) -> list[tuple[str, str]]:
    return [(problem.location, problem.message) for problem in params.accept(task, given_)[1]]


def test_omitted_fields_have_their_defaults() -> None:
    task = _task(rows=Param(type="number", default=10), name=Param())
    assert params.accept(task, None) == ({"rows": 10}, [])
    assert params.accept(task, {"rows": 3, "name": "x"}) == ({"rows": 3, "name": "x"}, [])


def test_a_default_may_be_false_or_empty() -> None:
    task = _task(flag=Param(type="bool", default=False), text=Param(default=""), rows=Param(type="number", default=0))
    assert params.accept(task, {})[0] == {"flag": False, "text": "", "rows": 0}


def test_what_was_given_is_not_changed() -> None:
    given_: dict[str, Any] = {}
    params.accept(_task(rows=Param(type="number", default=10)), given_)
    assert given_ == {}


def test_all_problems_are_reported_at_once() -> None:
    task = _task(rows=Param(type="number"), mode=Param(choices=("fast", "slow")), who=Param(required=True))
    found = params.accept(task, {"rows": "many", "mode": "medium", "extra": 1})[1]
    assert [problem.location for problem in found] == [
        "body.params.extra",
        "body.params.rows",
        "body.params.mode",
        "body.params.who",
    ]
    assert found[0].message == "is not a parameter of task a; it has: rows, mode, who"
    assert found[3].message == "is required by task a"
    assert found[1].value == "many"


def test_a_command_without_parameters_says_so() -> None:
    assert _problems(_task(), {"x": 1}) == [("body.params.x", "is not a parameter of task a; it has: none")]


@pytest.mark.parametrize("task", [_task("m:f"), Task(name="a", external=True)])
def test_a_callable_and_an_external_task_take_any(task: Task) -> None:
    assert params.accept(task, {"x": [1, {"y": None}]}) == ({"x": [1, {"y": None}]}, [])


def test_a_callable_holds_to_what_it_declares() -> None:
    task = _task("m:f", rows=Param(type="number", required=True))
    assert [place for place, _ in _problems(task, {"rows": "x", "other": 1})] == ["body.params.rows"]
    assert [place for place, _ in _problems(task, {})] == ["body.params.rows"]


@pytest.mark.parametrize(
    ("declared", "fitting", "unfitting"),
    [
        (Param(type="string"), ["", "x", "é"], [1, True, None, ["x"], "a\0b"]),
        (Param(type="number"), [0, -1, 1.5], ["1", True, None]),
        (Param(type="bool"), [True, False], [0, 1, "true", None]),
        (Param(type="json"), [None, 1, "x", [1], {"a": 1}], []),
        (Param(choices=("a", "b")), ["a"], ["c", "A", ""]),
        (Param(type="number", choices=(1, 2)), [1], [3, True]),
        (Param(pattern="[a-z]+"), ["abc"], ["", "abc1", "abc\n", "1abc"]),
    ],
)
def test_a_value_fits_or_gets_the_reason_why_not(declared: Param, fitting: list[Any], unfitting: list[Any]) -> None:
    task = _task(x=declared)
    assert [value for value in fitting if _problems(task, {"x": value})] == []
    assert [value for value in unfitting if not _problems(task, {"x": value})] == []


def test_parameters_have_a_size() -> None:
    task = _task("m:f")
    assert _problems(task, {"x": "y" * (params.MAX_BYTES - 8)}) == []
    assert _problems(task, {"x": "y" * (params.MAX_BYTES - 7)}) == [
        ("body.params", "is larger than 256 KiB; pass a reference instead")
    ]


def test_a_long_value_is_cut_in_the_answer() -> None:
    (problem,) = params.accept(_task(x=Param(choices=("a",))), {"x": "y" * 5000})[1]
    assert len(problem.value) == 200


def test_the_environment_holds_what_is_passed_by_it() -> None:
    task = _task(rows=Param(type="number"), who=Param(), opts=Param(type="json"), argument=Param(pass_as="arg"))
    values = {"rows": 3, "who": "ada", "opts": {"a": [1, True]}, "argument": "x"}
    assert params.environment(task, values) == {
        "RUNFLEET_PARAM_ROWS": "3",
        "RUNFLEET_PARAM_WHO": "ada",
        "RUNFLEET_PARAM_OPTS": '{"a":[1,true]}',
    }


def test_arguments_are_whole_elements_in_the_order_declared() -> None:
    task = _task(
        target=Param(pass_as="arg"),
        dry_run=Param(type="bool", pass_as="flag"),
        loud=Param(type="bool", pass_as="flag"),
        out_dir=Param(pass_as="option"),
        rows=Param(type="number", pass_as="option"),
        seen=Param(),
    )
    values = {"rows": 3, "out_dir": "a b; rm -rf /", "loud": False, "dry_run": True, "target": "$(x)", "seen": "y"}
    assert params.arguments(task, values) == ["$(x)", "--dry-run", "--out-dir", "a b; rm -rf /", "--rows", "3"]


@given(value=scalars)
def test_a_value_is_one_element_whatever_it_holds(value: Any) -> None:
    task = _task("m:f", x=Param(type="json", pass_as="option"))
    argv = params.arguments(task, {"x": value})
    assert argv[0] == "--x"
    assert argv[1:] == [value if isinstance(value, str) else msgspec.json.encode(value).decode()]


@given(values=st.dictionaries(st.text(min_size=1, max_size=8), scalars, max_size=5))
def test_a_callable_gets_its_arguments(values: dict[str, Any]) -> None:
    assert params.accept(_task("m:f"), values) == (values, [])


def test_every_text_of_secret_parameters_is_masked() -> None:
    task = _task(
        key=Param(secret=True), doc=Param(type="json", secret=True), pin=Param(type="number", secret=True), day=Param()
    )
    values = {"key": "hunter2", "doc": {"a": ["one", {"b": "two"}]}, "pin": 4711, "day": "monday"}
    hidden = params.secrets(task, values)
    assert hidden >= {"hunter2", "one", "two", "4711", '{"a":["one",{"b":"two"}]}'}
    assert "monday" not in hidden
    assert params.secrets(task, {"day": "monday"}) == frozenset()
