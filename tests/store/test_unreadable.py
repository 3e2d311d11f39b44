"""What a newer release or a foreign hand wrote: an error with a name, which concerns that one thing only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

import msgspec
import pytest

from shared import ops
from shared.errors import Unreadable
from shared.runs import FIELDS, Record
from shared.store import executions, fleet, listing, runs, tasks
from shared.store.redis.call import Call, Key, Operation, RawKey, as_is
from tests.store.desk import Desk, driven

T = TypeVar("T")


def spoil(desk: Desk, name: str) -> None:
    """Give a task's definition a word that only a newer release knows."""
    entry = desk.entry(name)
    body = entry.definition.body.replace(b'"name":', b'"on_overlap":"of a newer release","name":', 1)
    desk.run(Call("HSET", (Key("def:" + entry.definition.hash), "body", body), bool))


def interrupted(desk: Desk, operation: Operation[T], before: Callable[[int], None]) -> T:
    """The result of *operation* when *before* is called with its number before each of its calls."""
    number = count()
    return driven(desk, operation, lambda _: before(next(number)))


def test_one_definition_that_cannot_be_read_leaves_the_others(desk: Desk) -> None:
    desk.task("bad")
    desk.task("good")
    spoil(desk, "bad")
    found = desk.run(tasks.catalog())
    assert [one.name for one in found.entries] == ["good"]
    assert list(found.unreadable) == ["bad"]
    assert "of a newer release" in found.unreadable["bad"]
    assert [one.name for one in desk.run(tasks.entries())] == ["good"]
    assert list(desk.run(tasks.some(["bad", "good"]))) == ["good"]
    desk.remove("bad")


def test_a_task_that_cannot_be_read_is_not_taken_for_one_that_is_not_there(desk: Desk) -> None:
    desk.task("bad")
    needs = desk.task("needs", depends_on=("bad",))
    spoil(desk, "bad")
    with pytest.raises(Unreadable, match="bad"):
        desk.run(tasks.entry("bad"))
    with pytest.raises(Unreadable, match="bad"):
        desk.run(ops.Catalog().needed(needs))
    desk.remove("bad")


@pytest.mark.parametrize("field", ["status", "reason", "params", "retry_of", "number"])
def test_a_record_with_a_word_that_is_not_known_has_an_error_with_a_name(desk: Desk, field: str) -> None:
    desk.task()
    run = desk.trigger()
    key = RawKey(b"run:" + run.id.bytes)
    whole: bytes = desk.run(Call("GET", (key,), as_is))
    values: list[Any] = [getattr(runs.decode_record(whole), name) for name in FIELDS]
    values[FIELDS.index(field)] = "{of a newer release"
    desk.run(Call("SET", (key, packed(values)), bool))
    looks: list[Call[Any]] = [runs.get(run.id), runs.many([run.id])]
    for look in looks:
        with pytest.raises(Unreadable, match="cannot be read by this release"):
            desk.run(look)
    desk.run(Call("SET", (key, whole), bool))


@pytest.mark.parametrize("value", ["status", "params", "number", "created_us", "all of it"])
def test_lists_leave_out_a_record_that_cannot_be_read(desk: Desk, value: str) -> None:
    desk.task()
    first, bad, last = (desk.trigger() for _ in range(3))
    key = RawKey(b"run:" + bad.id.bytes)
    whole: bytes = desk.run(Call("GET", (key,), as_is))
    values: list[Any] = [getattr(runs.decode_record(whole), name) for name in FIELDS]
    if value in FIELDS:
        values[FIELDS.index(value)] = 2**62 if value == "created_us" else "{of a newer release"
    desk.run(Call("SET", (key, packed(values) if value in FIELDS else b"no record"), bool))
    searched = listing.Filter(search="a#")
    of_execution = listing.Filter(execution_id=bad.id)
    for where, wanted in (
        (listing.Filter(), {first.id, last.id}),
        (searched, {first.id, last.id}),
        (of_execution, set()),
    ):
        assert {run.id for run in desk.run(listing.page(where)).runs} == wanted
    assert {run.id for run in desk.run(listing.newest("a", 5))} == {first.id, last.id}
    listed = {one.id for one in desk.run(executions.page()).executions}
    assert {first.id, last.id} <= listed
    desk.run(Call("SET", (key, whole), bool))


def packed(values: list[Any]) -> bytes:
    assert len(values) == len(Record.__struct_fields__)
    return msgspec.msgpack.encode(values)


@pytest.mark.parametrize("reader", ["entries", "some", "entry"])
def test_a_definition_replaced_between_two_looks_is_read_again(desk: Desk, reader: str) -> None:
    desk.task("a", run="one")

    def apply(number: int) -> None:
        if number == 1:
            desk.task("a", run="two")

    read: dict[str, Callable[[], Operation[Any]]] = {
        "entries": tasks.entries,
        "some": lambda: tasks.some(["a"]),
        "entry": lambda: tasks.entry("a"),
    }
    found = interrupted(desk, read[reader](), apply)
    entry = {"entries": lambda: found[0], "some": lambda: found["a"], "entry": lambda: found}[reader]()
    assert entry.task.run == "two"


def test_a_definition_that_is_not_there_at_all_is_named(desk: Desk) -> None:
    hash_ = desk.task("a").definition.hash
    fields: list[bytes] = desk.run(Call("HGETALL", (Key("def:" + hash_),), list))
    desk.run(Call("DEL", (Key("def:" + hash_),), bool))
    assert desk.run(tasks.catalog()).unreadable == {"a": "its definition is not in Redis"}
    desk.run(Call("HSET", (Key("def:" + hash_), *fields), bool))


@pytest.mark.damaged
def test_a_last_tick_or_a_name_that_cannot_be_read_leaves_the_others(desk: Desk) -> None:
    desk.tasks({"a": {"cron": ("* * * * *",)}, "b": {"cron": ("* * * * *",)}}, {})
    last = desk.run(tasks.cursors())
    desk.run(Call("HSET", (Key("ticks"), "a", b"\xff no number"), int))
    desk.run(Call("HSET", (Key("ticks"), b"\xff", "1"), int))
    for key in ("queues", "queues:paused", "prune-candidates"):
        desk.run(Call("SADD", (Key(key), b"\xff"), int))
    for key in ("workers", "schedulers", "history"):
        desk.run(Call("ZADD", (Key(key), 1, b"\xff"), int))
    assert desk.run(tasks.cursors())["b"] == last["b"]
    assert "a" not in desk.run(tasks.cursors())
    assert "\ufffd" in desk.run(tasks.known_tasks())
    assert desk.run(tasks.dirty(10)) == ["\ufffd"]
    assert [queue.name for queue in desk.run(fleet.queues())] == ["\ufffd"]
    assert desk.run(fleet.workers()) == []
    assert desk.run(fleet.facts()).counts["tasks"] == 2
    assert desk.run(fleet.gone()) == ["\ufffd"]
