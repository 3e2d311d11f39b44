"""How a task file becomes the catalog, and what it does not do unless somebody asks for it by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from shared import ops
from shared.config import Config
from shared.errors import NotApplied, StoreFull
from shared.ops.task_file import Change
from shared.settings import Settings
from shared.signing import UNSIGNED, Keys
from shared.store import applying, limits, retention, tasks, version
from shared.store.redis.call import Call, Key, Operation
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define, signer
from tests.store.consistency import snapshot
from tests.store.harness import driven, out_of_memory

NEW, OLD = Keys("the secret of the fleet"), Keys("the secret before that")
BOTH = Keys("the secret of the fleet", "the secret before that")
FOUR = ("a", "b", "c", "d")


def file(*names: str, run: str = "true", at: int = 1, slots: Mapping[str, int] | None = None) -> Config:
    """A task file with tasks of these names, changed at that time."""
    made = {name: Task(name=name, run=run) for name in names}
    return Config(tasks=made, limits=dict(slots or {}), notify={}, files=(Path("runfleet.toml"),), modified_us=at)


def signers(store: Store, keys: Keys) -> dict[str, str]:
    return {one.name: signer(one.definition, keys, one.name) for one in store.run(tasks.entries())}


def names(store: Store) -> list[str]:
    return store.run(tasks.names())


def refused(store: Store, operation: Operation[Change]) -> str:
    """What is said when *operation* is not done; it must change nothing."""
    store.run(version.check())
    before = snapshot(store)
    with pytest.raises(NotApplied) as caught:
        store.run(operation)
    assert snapshot(store) == before
    return str(caught.value)


def test_a_file_says_what_it_changes(store: Store) -> None:
    first = store.run(ops.apply_config(file("a", "b"), NEW))
    assert (first.added, first.number) == (["a", "b"], 1)
    config = file("a", "c", run="false")
    second = store.run(ops.apply_config(config, NEW))
    assert second == Change(["c"], ["a"], ["b"], [], [], 2)
    assert names(store) == ["a", "c"]


def test_the_store_knows_who_applied_which_file_and_when(store: Store) -> None:
    store.run(ops.apply_config(file("a", at=7), by="ops@ci"))
    last = store.run(applying.generation())
    assert last is not None
    assert (last.number, last.by, last.modified_us) == (1, "ops@ci", 7)
    assert last.at_us > 1_700_000_000_000_000


def test_a_file_that_changes_nothing_writes_nothing(store: Store) -> None:
    store.run(ops.apply_config(file(*FOUR, slots={"db": 2}), NEW))
    before = snapshot(store)
    change = store.run(ops.apply_config(file(*FOUR, slots={"db": 2}, at=9), NEW))
    assert (change.unchanged, change.number) == (list(FOUR), 1)
    assert snapshot(store) == before


def test_what_was_done_to_a_definition_in_the_store_is_mended(store: Store) -> None:
    store.run(ops.apply_config(file("a"), NEW))
    (entry,) = store.run(tasks.entries())
    store.run(Call("HSET", (Key("def:" + entry.definition.hash), "body", b'{"name":"a","run":"evil"}'), int))
    assert store.run(ops.apply_config(file("a"), NEW)).changed == ["a"]
    assert signers(store, NEW) == {"a": "new"}


# Signatures


def test_without_the_secret_signatures_are_not_taken_away(store: Store) -> None:
    store.run(ops.apply_config(file(*FOUR), NEW))
    said = refused(store, ops.apply_config(file(*FOUR), UNSIGNED))
    assert "4 of 4 tasks in the store (a, b, c, d) are signed, and RUNFLEET_SECRET is not set here" in said
    assert "--allow-unsigned" in said


def test_with_another_secret_signatures_are_not_replaced(store: Store) -> None:
    store.run(ops.apply_config(file(*FOUR), NEW))
    said = refused(store, ops.apply_config(file(*FOUR, run="false"), OLD))
    assert "signed with another secret" in said
    assert "RUNFLEET_SECRET_OLD" in said


def test_tasks_under_other_names_do_not_hide_whose_the_others_are(store: Store) -> None:
    store.run(ops.apply_config(file("a", "b"), NEW))
    assert "(a, b)" in refused(store, ops.apply_config(file("c", "d"), OLD, allow_removals=True))


@pytest.mark.parametrize(("keys", "left"), [(UNSIGNED, ""), (OLD, "new")], ids=["none", "another"])
def test_signatures_are_replaced_on_request(store: Store, keys: Keys, left: str) -> None:
    store.run(ops.apply_config(file("a", "b"), NEW))
    change = store.run(ops.apply_config(file("a", "b"), keys, allow_unsigned=True))
    assert (change.unchanged, change.signatures) == (["a", "b"], ["a", "b"])
    assert signers(store, NEW) == {"a": "", "b": ""}
    assert signers(store, keys) == {"a": left, "b": left}
    assert [one.definition.signature == "" for one in store.run(tasks.entries())] == [not left, not left]


def test_a_rotated_secret_signs_anew_what_the_old_one_signed(store: Store) -> None:
    store.run(ops.apply_config(file(*FOUR), OLD))
    change = store.run(ops.apply_config(file(*FOUR), BOTH))
    assert change.signatures == list(FOUR)
    assert set(signers(store, NEW).values()) == {"new"}
    assert store.run(ops.apply_config(file(*FOUR), BOTH)).signatures == []


def test_a_rotated_secret_signs_tasks_of_the_api_again_but_no_unsigned_ones(store: Store) -> None:
    mine, planted, foreign = (Task(name=name, run="true") for name in ("mine", "planted", "foreign"))
    made = [(mine, define(mine, OLD)), (planted, define(planted)), (foreign, define(foreign, Keys("a third secret")))]
    store.run(tasks.apply(made, source="api", remove=False))
    for number in (1, 1):
        change = store.run(ops.apply_config(file("a"), BOTH))
        assert change.number == number
    assert signers(store, NEW) == {"a": "new", "mine": "new", "planted": "", "foreign": ""}
    assert change.signatures == []
    store.run(tasks.apply(made[:1], source="api", remove=False))
    assert store.run(ops.apply_config(file("a"), BOTH)).signatures == ["mine"]


def test_a_first_secret_signs_what_was_unsigned(store: Store) -> None:
    store.run(ops.apply_config(file("a", "b")))
    assert store.run(ops.apply_config(file("a", "b"), NEW)).signatures == ["a", "b"]
    assert set(signers(store, NEW).values()) == {"new"}


def test_not_even_the_script_takes_a_signature_away_unasked(store: Store) -> None:
    task = Task(name="a", run="true")
    store.run(tasks.apply([(task, define(task, NEW))]))
    store.run(tasks.apply([(task, define(task))]))
    assert signers(store, NEW) == {"a": "new"}


def test_a_forged_definition_does_not_keep_a_file_from_being_applied(store: Store) -> None:
    store.run(ops.apply_config(file("a"), NEW))
    (entry,) = store.run(tasks.entries())
    store.run(Call("HSET", (Key("def:" + entry.definition.hash), "body", b"{}", "signature", "f" * 64), int))
    assert store.run(ops.apply_config(file("a"), NEW)).changed == ["a"]


# Removals


def test_more_than_half_of_the_tasks_go_only_when_that_is_asked_for(store: Store) -> None:
    store.run(ops.apply_config(file(*FOUR)))
    said = refused(store, ops.apply_config(file("a")))
    assert "would remove 3 of 4 tasks (b, c, d)" in said
    assert "--allow-removals" in said
    assert store.run(ops.apply_config(file("a"), allow_removals=True)).removed == ["b", "c", "d"]


def test_an_empty_file_removes_nothing(store: Store) -> None:
    store.run(ops.apply_config(file("a")))
    assert "would remove 1 of 1 tasks (a)" in refused(store, ops.apply_config(file()))


def test_half_of_the_tasks_may_go(store: Store) -> None:
    store.run(ops.apply_config(file(*FOUR)))
    assert store.run(ops.apply_config(file("a", "b"))).removed == ["c", "d"]


def test_tasks_of_the_api_neither_count_nor_go(store: Store) -> None:
    store.run(
        tasks.apply(
            [(Task(name=f"api{n}", run="true"), define(Task(name=f"api{n}", run="true"))) for n in range(9)],
            source="api",
        )
    )
    store.run(ops.apply_config(file("a", "b")))
    assert "would remove 2 of 2" in refused(store, ops.apply_config(file("c")))


# Older and newer files


def by_itself(config: Config) -> Operation[Change]:
    return ops.apply_config(config, only_newer=True)


def test_by_itself_a_newer_file_is_applied(store: Store) -> None:
    assert store.run(by_itself(file("a", at=5))).number == 1
    assert store.run(by_itself(file("a", run="false", at=6))).number == 2
    assert store.run(by_itself(file("a", run="date", at=6))).number == 3


def test_by_itself_a_file_that_others_came_after_is_left(store: Store) -> None:
    """However new it looks: a checkout stamps all files with its own time."""
    store.run(by_itself(file("a", at=5)))
    store.run(ops.apply_config(file("a", run="false", at=6), by="ops@ci"))
    said = refused(store, by_itself(file("a", at=99)))
    assert "it was applied as number 1, and after it number 2 was applied" in said
    assert "by ops@ci" in said
    assert "run `runfleet apply`" in said


def test_by_itself_a_file_changed_earlier_than_the_one_there_is_left(store: Store) -> None:
    store.run(ops.apply_config(file("a", at=5_000_000)))
    said = refused(store, by_itself(file("b", "a", at=4_000_000)))
    assert "was changed at 1970-01-01 00:00:04+00:00, before the one in the store was (1970-01-01 00:00:05" in said


def test_an_older_file_can_be_applied_on_request(store: Store) -> None:
    store.run(ops.apply_config(file("a", at=5)))
    store.run(ops.apply_config(file("a", run="false", at=6)))
    assert store.run(ops.apply_config(file("a", at=5))).changed == ["a"]
    assert store.run(by_itself(file("a", at=5))).number == 3
    assert "number 2" in refused(store, by_itself(file("a", run="false", at=6)))


def test_two_that_apply_at_once_do_not_pass_each_other(store: Store) -> None:
    """The one that read first sees that the other was there, and looks again."""

    others: list[Change] = []

    def apply_another(calls: Sequence[Call[Any]]) -> None:
        if getattr(calls[0].what, "name", "") == "apply_little" and not others:
            others.append(store.run(ops.apply_config(file("a"), OLD)))

    with pytest.raises(NotApplied, match="another secret"):
        driven(store, ops.apply_config(file("a"), NEW), apply_another)
    assert signers(store, OLD) == {"a": "new"}


def test_an_apply_whose_answer_was_lost_is_done_once(store: Store) -> None:
    config = file("a", "b")
    made = [(task, define(task)) for task in config.tasks.values()]
    call = applying.apply(made, {}, over=0, digest="x", by="me", modified_us=1)
    assert [store.run(call), store.run(call)] == ["done", "done"]
    last = store.run(applying.generation())
    assert last is not None
    assert last.number == 1


def test_a_file_is_known_even_after_hundreds_of_others(store: Store) -> None:
    store.run(by_itself(file("a")))
    made = [(task, define(task)) for task in file("a").tasks.values()]
    for number in range(1, 1100):
        store.run(applying.apply(made, {}, over=number, digest=f"d{number}", by="", modified_us=0))
    assert len(store.run(applying.snapshot()).files) == 1000


# After a wipe


def test_what_was_applied_last_is_written_back_as_it_was(store: Store, settings: Settings) -> None:
    store.run(ops.apply_config(file("a"), NEW))
    store.run(ops.apply_config(file("a", "b", run="false", at=8, slots={"db": 2}), NEW, by="ops@ci"))
    store.run(tasks.pause("b", True))
    before = store.run(applying.snapshot())
    with redis.Redis.from_url(settings.redis_url) as client:
        client.flushall()
    assert store.run(applying.restore(before)) == "done"
    assert store.run(applying.snapshot()) == before
    assert store.run(tasks.limits()) == {"db": 2}
    assert signers(store, NEW) == {"a": "new", "b": "new"}
    assert "number 1" in refused(store, ops.apply_config(file("a"), NEW, only_newer=True))


def test_nothing_is_written_back_over_a_file_that_came_since(store: Store) -> None:
    store.run(ops.apply_config(file("a")))
    before = store.run(applying.snapshot())
    assert store.run(applying.restore(before)) == "stale"
    assert names(store) == ["a"]


# A full Redis


def test_what_lowers_the_history_is_applied_in_a_full_redis_and_looked_at_at_once(
    store: Store, settings: Settings
) -> None:
    """That is when an operator must change a task file."""
    store.run(ops.apply_config(file("a", "b", "c", slots={"db": 2})))
    for _ in range(3):
        run = store.run(ops.trigger(ops.Catalog(), "a", ops.Request())).run
        store.run(ops.stop(str(run.id)))
    store.run(tasks.prune_candidates(10))
    few = Config(
        tasks={"a": Task(name="a", run="true", keep_runs=1), "b": Task(name="b", run="true")},
        limits={"db": 1},
        notify={},
        files=(Path("runfleet.toml"),),
        modified_us=2,
    )
    with out_of_memory(settings.redis_url):
        change = store.run(ops.apply_config(few))
        assert (change.changed, change.removed) == (["a"], ["c"])
        assert "a" in store.run(tasks.prune_candidates(10))
        assert store.run(retention.prune("a", 1, 10**12)).runs == 2
    assert store.run(tasks.limits()) == {"db": 1}


def test_what_changes_much_is_refused_in_a_full_redis_with_what_to_do(store: Store, settings: Settings) -> None:
    store.run(ops.apply_config(file("a")))
    much = file("a", "b", run="x" * 600_000)
    before = snapshot(store)
    with (
        out_of_memory(settings.redis_url),
        pytest.raises(StoreFull, match=r"1\.1 MiB.*smaller change first.*keep_runs.*raise maxmemory"),
    ):
        store.run(ops.apply_config(much))
    assert snapshot(store) == before
    assert store.run(ops.apply_config(much)).changed == ["a"]


# Limits


def test_a_limit_of_the_file_holds_over_one_of_the_api_and_gives_it_back(store: Store) -> None:
    assert store.run(limits.put("db", 5, b"{}"))
    store.run(ops.apply_config(file("a", slots={"db": 2})))
    found = store.run(limits.one_limit("db"))
    assert found is not None
    assert (found.max, found.about) == (2, b"")
    assert not store.run(limits.put("db", 9, b"{}"))
    assert not store.run(limits.remove("db"))
    store.run(ops.apply_config(file("a")))
    assert store.run(limits.one_limit("db")) == limits.Limit("db", 5, b"{}")


def test_a_limit_of_the_file_goes_with_it(store: Store) -> None:
    store.run(ops.apply_config(file("a", slots={"db": 2})))
    store.run(ops.apply_config(file("a")))
    assert store.run(limits.one_limit("db")) is None


def test_a_limit_that_is_deleted_twice_because_an_answer_was_lost_was_there(store: Store) -> None:
    store.run(limits.put("db", 5, b"{}"))
    gone = limits.remove("db")
    assert [store.run(gone), store.run(gone), store.run(limits.remove("db"))] == [True, True, False]
