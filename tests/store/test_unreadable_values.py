"""What a newer release or a foreign hand wrote: an error with a name, which concerns that one thing only."""

from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

import msgspec
import pytest

from shared import ops
from shared.errors import Unreadable
from shared.runs import FIELDS, Record
from shared.store import executions, fleet, listing, records, runs, tasks
from shared.store.redis.call import Call, Key, Operation, RawKey, as_is
from tests.store.harness import StoreHarness, driven

T = TypeVar("T")


def spoil(harness: StoreHarness, name: str) -> None:
    """Give a task's definition a word that only a newer release knows."""
    entry = harness.entry(name)
    body = entry.definition.body.replace(b'"name":', b'"on_overlap":"of a newer release","name":', 1)
    harness.run(Call("HSET", (Key("def:" + entry.definition.hash), "body", body), bool))


def interrupted(harness: StoreHarness, operation: Operation[T], before: Callable[[int], None]) -> T:
    """The result of *operation* when *before* is called with its number before each of its calls."""
    number = count()
    return driven(harness, operation, lambda _: before(next(number)))


def test_one_definition_that_cannot_be_read_leaves_the_others(harness: StoreHarness) -> None:
    harness.task("bad")
    harness.task("good")
    spoil(harness, "bad")
    found = harness.run(tasks.catalog())
    assert [one.name for one in found.entries] == ["good"]
    assert list(found.unreadable) == ["bad"]
    assert "of a newer release" in found.unreadable["bad"]
    assert [one.name for one in harness.run(tasks.entries())] == ["good"]
    assert list(harness.run(tasks.some(["bad", "good"]))) == ["good"]
    harness.remove("bad")


def test_a_task_that_cannot_be_read_is_not_taken_for_one_that_is_not_there(harness: StoreHarness) -> None:
    harness.task("bad")
    needs = harness.task("needs", depends_on=("bad",))
    spoil(harness, "bad")
    with pytest.raises(Unreadable, match="bad"):
        harness.run(tasks.entry("bad"))
    with pytest.raises(Unreadable, match="bad"):
        harness.run(ops.Catalog().needed(needs))
    harness.remove("bad")


@pytest.mark.parametrize("field", ["status", "reason", "params", "retry_of", "number"])
def test_a_record_with_a_word_that_is_not_known_has_an_error_with_a_name(harness: StoreHarness, field: str) -> None:
    harness.task()
    run = harness.trigger()
    key = RawKey(b"run:" + run.id.bytes)
    whole: bytes = harness.run(Call("GET", (key,), as_is))
    values: list[Any] = [getattr(records.decode_record(whole), name) for name in FIELDS]
    values[FIELDS.index(field)] = "{of a newer release"
    harness.run(Call("SET", (key, packed(values)), bool))
    looks: list[Call[Any]] = [runs.get(run.id), runs.many([run.id])]
    for look in looks:
        with pytest.raises(Unreadable, match="cannot be read by this release"):
            harness.run(look)
    harness.run(Call("SET", (key, whole), bool))


@pytest.mark.parametrize("value", ["status", "params", "number", "created_us", "all of it"])
def test_lists_leave_out_a_record_that_cannot_be_read(harness: StoreHarness, value: str) -> None:
    harness.task()
    first, bad, last = (harness.trigger() for _ in range(3))
    key = RawKey(b"run:" + bad.id.bytes)
    whole: bytes = harness.run(Call("GET", (key,), as_is))
    values: list[Any] = [getattr(records.decode_record(whole), name) for name in FIELDS]
    if value in FIELDS:
        values[FIELDS.index(value)] = 2**62 if value == "created_us" else "{of a newer release"
    harness.run(Call("SET", (key, packed(values) if value in FIELDS else b"no record"), bool))
    searched = listing.Filter(search="a#")
    of_execution = listing.Filter(execution_id=bad.id)
    for where, wanted in (
        (listing.Filter(), {first.id, last.id}),
        (searched, {first.id, last.id}),
        (of_execution, set()),
    ):
        assert {run.id for run in harness.run(listing.page(where)).runs} == wanted
    assert {run.id for run in harness.run(listing.newest("a", 5))} == {first.id, last.id}
    listed = {one.id for one in harness.run(executions.page()).executions}
    assert {first.id, last.id} <= listed
    harness.run(Call("SET", (key, whole), bool))


def packed(values: list[Any]) -> bytes:
    assert len(values) == len(Record.__struct_fields__)
    return msgspec.msgpack.encode(values)


@pytest.mark.parametrize("reader", ["entries", "some", "entry"])
def test_a_definition_replaced_between_two_looks_is_read_again(harness: StoreHarness, reader: str) -> None:
    harness.task("a", run="one")

    def apply(number: int) -> None:
        if number == 1:
            harness.task("a", run="two")

    read: dict[str, Callable[[], Operation[Any]]] = {
        "entries": tasks.entries,
        "some": lambda: tasks.some(["a"]),
        "entry": lambda: tasks.entry("a"),
    }
    found = interrupted(harness, read[reader](), apply)
    entry = {"entries": lambda: found[0], "some": lambda: found["a"], "entry": lambda: found}[reader]()
    assert entry.task.run == "two"


def test_a_definition_that_is_not_there_at_all_is_named(harness: StoreHarness) -> None:
    hash_ = harness.task("a").definition.hash
    fields: list[bytes] = harness.run(Call("HGETALL", (Key("def:" + hash_),), list))
    harness.run(Call("DEL", (Key("def:" + hash_),), bool))
    assert harness.run(tasks.catalog()).unreadable == {"a": "its definition is not in Redis"}
    harness.run(Call("HSET", (Key("def:" + hash_), *fields), bool))


@pytest.mark.damaged
def test_a_last_tick_or_a_name_that_cannot_be_read_leaves_the_others(harness: StoreHarness) -> None:
    harness.tasks({"a": {"cron": ("* * * * *",)}, "b": {"cron": ("* * * * *",)}}, {})
    last = harness.run(tasks.cursors())
    harness.run(Call("HSET", (Key("ticks"), "a", b"\xff no number"), int))
    harness.run(Call("HSET", (Key("ticks"), b"\xff", "1"), int))
    for key in ("queues", "queues:paused", "prune-candidates"):
        harness.run(Call("SADD", (Key(key), b"\xff"), int))
    for key in ("workers", "schedulers", "history"):
        harness.run(Call("ZADD", (Key(key), 1, b"\xff"), int))
    assert harness.run(tasks.cursors())["b"] == last["b"]
    assert "a" not in harness.run(tasks.cursors())
    assert "\ufffd" in harness.run(tasks.known_tasks())
    assert harness.run(tasks.prune_candidates(10)) == ["\ufffd"]
    assert [queue.name for queue in harness.run(fleet.queues())] == ["\ufffd"]
    assert harness.run(fleet.workers()) == []
    assert harness.run(fleet.facts()).counts["tasks"] == 2
    assert harness.run(fleet.worker_gone()) == ["\ufffd"]
