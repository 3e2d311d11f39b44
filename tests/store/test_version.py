"""A release leaves the store of another one alone."""

import pytest

from shared.errors import Misconfigured
from shared.store import version
from shared.store.redis.call import Call, Key
from shared.store.redis.sync_store import Store


def test_an_empty_store_takes_our_layout_and_keeps_it(store: Store) -> None:
    store.run(version.check())
    store.run(version.check())
    assert store.run(Call("GET", (Key("version"),), int)) == version.SCHEMA


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        (version.SCHEMA + 1, "a newer release wrote .*; start that release, or use another RUNFLEET_KEY_PREFIX"),
        (
            version.SCHEMA - 1,
            "an older release wrote .*; stop all processes of that release, .* set another RUNFLEET_KEY_PREFIX",
        ),
    ],
)
def test_another_releases_store_is_refused_and_left_as_it_is(store: Store, layout: int, sentence: str) -> None:
    store.run(Call("SET", (Key("version"), layout), bool))
    with pytest.raises(Misconfigured, match=sentence):
        store.run(version.check())
    assert store.run(Call("GET", (Key("version"),), int)) == layout


@pytest.mark.damaged
def test_a_layout_that_is_no_number_is_one_sentence(store: Store) -> None:
    store.run(Call("SET", (Key("version"), b"\xff\x1b[2J"), bool))
    with pytest.raises(Misconfigured, match=r"no number: another program wrote it\. Write 2 there") as refused:
        store.run(version.check())
    assert str(refused.value).isprintable()
