"""An older release leaves a newer one's store alone."""

import pytest

from shared.errors import Misconfigured
from shared.store import version
from shared.store.redis.call import Call, Key
from shared.store.redis.sync_store import Store


def test_an_empty_store_takes_our_layout_and_keeps_it(store: Store) -> None:
    store.run(version.check())
    store.run(version.check())
    assert store.run(Call("GET", (Key("version"),), int)) == version.SCHEMA


def test_a_newer_releases_store_is_refused_and_left_as_it_is(store: Store) -> None:
    store.run(Call("SET", (Key("version"), version.SCHEMA + 1), bool))
    with pytest.raises(Misconfigured, match="newer release"):
        store.run(version.check())
    assert store.run(Call("GET", (Key("version"),), int)) == version.SCHEMA + 1


@pytest.mark.damaged
def test_a_layout_that_is_no_number_is_one_sentence(store: Store) -> None:
    store.run(Call("SET", (Key("version"), b"\xff\x1b[2J"), bool))
    with pytest.raises(Misconfigured, match=r"is no number: somebody else wrote it\. Write 1 there") as refused:
        store.run(version.check())
    assert str(refused.value).isprintable()
