"""Tasks that the API puts into the catalog one by one, and lists in environments."""

import uuid
from typing import Any

import msgspec
import pytest

from shared.store import secret_variables, tasks
from shared.store.dialects import ona_tasks
from shared.store.dialects.ona_tasks import OnaTask, TaskWrite
from shared.store.tasks import Verdict
from shared.tasks import Task, define
from tests.store.harness import StoreHarness

HOME = str(uuid.UUID(int=0))


def put(harness: StoreHarness, name: str, pins: dict[str, str] | None = None, **settings: Any) -> Verdict:
    """Define a task of the API; unless *pins* say otherwise on what there is."""
    task = Task(name=name, **{"run": "true", **settings})
    known = harness.run(tasks.some([name, *task.depends_on]))
    seen = {one: known[one].definition.hash if one in known else "" for one in (name, *task.depends_on)}
    return harness.run(tasks.define(task, define(task), seen if pins is None else pins))


def item(name: str, before: OnaTask | None = None, *, id_: uuid.UUID | None = None, **settings: Any) -> TaskWrite:
    """A task of an environment as it is to be."""
    task = Task(name=name, run=settings.pop("run", "true"))
    listed = before or OnaTask(task=name, environment=HOME, reference=name, variables=["x" * 40, "y" * 300])
    listed = msgspec.structs.replace(listed, **settings)
    return TaskWrite(id=id_ or uuid.uuid4(), listed=listed, before=before, task=task, definition=define(task))


def listed_as(harness: StoreHarness, one: TaskWrite) -> OnaTask:
    """What is listed of a task that was furnished."""
    (found,) = harness.run(ona_tasks.by_id([one.id]))
    assert found is not None
    return found


def test_a_task_is_defined_on_what_was_seen_only(harness: StoreHarness) -> None:
    assert put(harness, "a") == "added"
    seen = {"a": define(Task(name="a", run="true")).hash, "b": ""}
    assert put(harness, "a", run="false") == "changed"
    assert put(harness, "b", seen, depends_on=("a",)) == "stale"
    assert put(harness, "b", depends_on=("a",)) == "added"
    assert put(harness, "b", {"b": "another"}, run="false") == "stale"
    assert (
        put(harness, "b", {"b": "another"}, depends_on=("a",)) == "unchanged"
    )  # it came before, and its answer was lost


def test_the_variables_of_secrets_are_those_of_the_tasks_there_are(harness: StoreHarness) -> None:
    put(harness, "a", secrets={"X": "${OLD} and $${NONE}", "Y": "plain"})
    version = harness.run(secret_variables.version())
    put(harness, "a", secrets={"X": "${NEW}/${NEW_TOO}"})
    put(harness, "b", env={"X": "in no secrets"})
    assert harness.run(secret_variables.names()) == {"NEW", "NEW_TOO"}
    assert harness.run(secret_variables.version()) > version
    assert harness.run(tasks.undefine("a", harness.run(tasks.api_tasks_version())))[0] == "removed"
    assert harness.run(secret_variables.names()) == set()
    harness.task("of_the_file", secrets={"X": "${FILED}"})
    harness.run(tasks.apply([]))
    assert harness.run(secret_variables.names()) == set()


def test_what_the_file_has_stays_the_file_s(harness: StoreHarness) -> None:
    harness.task("a")
    assert put(harness, "a") == "owned_by_file"
    assert harness.run(tasks.undefine("a", 0))[0] == "owned_by_file"
    assert harness.run(tasks.undefine("b", 0))[0] == "gone"


def test_a_task_is_not_deleted_when_one_that_may_need_it_came_in_between(harness: StoreHarness) -> None:
    put(harness, "a")
    known = harness.run(tasks.api_tasks_version())
    put(harness, "lone")
    put(harness, "b", depends_on=("a",))
    assert harness.run(tasks.undefine("a", known))[0] == "stale"
    assert harness.run(tasks.undefine("b", harness.run(tasks.api_tasks_version()))) == ("removed", 0, 0)
    assert harness.run(tasks.undefine("a", harness.run(tasks.api_tasks_version()))) == ("removed", 0, 0)


def test_unrelated_new_tasks_prevent_no_removal(harness: StoreHarness) -> None:
    put(harness, "a")
    known = harness.run(tasks.api_tasks_version())
    put(harness, "b")
    assert harness.run(tasks.undefine("a", known))[0] == "removed"


@pytest.mark.parametrize("begun", [False, True])
def test_a_task_with_a_run_is_live(harness: StoreHarness, begun: bool) -> None:
    put(harness, "a")
    run = harness.trigger("a")
    if begun:
        harness.claim()
    assert harness.run(tasks.undefine("a", harness.run(tasks.api_tasks_version()))) == ("live", 1, run.number)


def test_a_task_whose_plan_continues_is_live(harness: StoreHarness) -> None:
    """What it depends on runs; of the task itself there is no run yet."""
    put(harness, "a")
    put(harness, "b", depends_on=("a",))
    harness.trigger("b")
    assert harness.run(tasks.undefine("b", harness.run(tasks.api_tasks_version()))) == ("live", 1, 0)


def test_a_write_whose_answer_was_lost_may_be_repeated(harness: StoreHarness) -> None:
    new = item("a")
    assert [harness.run(ona_tasks.put_ona_tasks([new], {"a": ""})) for _ in range(3)] == ["done"] * 3
    listed = listed_as(harness, new)
    assert listed.arrival > 0
    assert listed.created_us == harness.now
    pins = {"a": new.definition.hash}
    for change in (
        item("a", listed, id_=new.id, run="false"),
        item("a", listed, id_=new.id, run="false", title="New"),
    ):
        assert [harness.run(ona_tasks.put_ona_tasks([change], pins)) for _ in range(3)] == ["done"] * 3
        pins = {"a": change.definition.hash}
    assert harness.run(ona_tasks.newest(None, None, 10)) == [(listed.arrival, new.id)]


def test_tasks_are_furnished_all_or_none(harness: StoreHarness) -> None:
    harness.task("of-the-file")
    first, other = item("a"), item("b")
    assert harness.run(ona_tasks.put_ona_tasks([first], {"a": ""})) == "done"
    listed = listed_as(harness, first)
    stale = item("a", msgspec.structs.replace(listed, title="Old"), id_=first.id, title="New")
    again = item("c", msgspec.structs.replace(other.listed, task="c", reference="a"))
    taken = msgspec.structs.replace(again, before=None)
    for items, pins, verdict in (
        ([other, stale], {"b": "", "a": first.definition.hash}, "stale"),
        ([other], {"b": "", "a": "another"}, "stale"),
        ([other, taken], {"b": "", "c": ""}, "exists"),
        ([other, item("of-the-file")], {"b": ""}, "owned_by_file"),
    ):
        assert harness.run(ona_tasks.put_ona_tasks(items, pins)) == verdict
        assert harness.run(tasks.names()) == ["a", "of-the-file"]
    assert harness.run(ona_tasks.put_ona_tasks([other], {"b": ""})) == "done"


def test_the_newest_are_found_first_and_from_any_place_on(harness: StoreHarness) -> None:
    made = [item(name) for name in "abcd"]
    for one in made:
        harness.run(ona_tasks.put_ona_tasks([one], {one.task.name: ""}))
    found = harness.run(ona_tasks.newest(uuid.UUID(int=0), None, 2))
    assert [id_ for _, id_ in found] == [made[3].id, made[2].id]
    found = harness.run(ona_tasks.newest(None, found[-1][0], 9))
    assert [id_ for _, id_ in found] == [made[1].id, made[0].id]
    assert harness.run(ona_tasks.newest(uuid.uuid4(), None, 9)) == []
    assert harness.run(ona_tasks.ids_of_references([(uuid.UUID(int=0), "a"), (uuid.uuid4(), "a")])) == [
        made[0].id,
        None,
    ]
    assert harness.run(ona_tasks.ids_of_tasks(["b", "x"])) == [made[1].id, None]


def test_what_goes_from_the_catalog_goes_from_its_environment(harness: StoreHarness) -> None:
    for name in ("a", "b"):
        harness.run(ona_tasks.put_ona_tasks([item(name)], {name: ""}))
    assert harness.run(tasks.undefine("a", harness.run(tasks.api_tasks_version())))[0] == "removed"
    harness.task("b")
    assert harness.run(ona_tasks.newest(None, None, 10)) == []
    assert harness.run(tasks.names()) == ["b"]


def test_a_listed_task_keeps_its_place_through_native_changes(harness: StoreHarness) -> None:
    one = item("a")
    harness.run(ona_tasks.put_ona_tasks([one], {"a": ""}))
    assert put(harness, "a", run="false") == "changed"
    assert harness.run(ona_tasks.newest(None, None, 10)) == [(listed_as(harness, one).arrival, one.id)]
