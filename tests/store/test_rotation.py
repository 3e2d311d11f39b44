"""Definitions that the secret before has signed are all found, however many keys there are, and signed anew."""

from contextlib import closing

import msgspec
import pytest

from shared import ops
from shared.ops import rotation
from shared.settings import Settings
from shared.signing import Keys
from shared.store import applying, open_store
from shared.store.redis.call import Call, Key, as_is
from tests.store.test_applying import file


@pytest.mark.parametrize("prefix", ["{runfleet}", "{a[b-c]*?^}\\\\"])
def test_all_are_found_and_signed_anew_and_what_neither_signed_stays(
    settings: Settings, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "BATCH", 3)
    with closing(open_store(msgspec.structs.replace(settings, key_prefix=prefix))) as store:
        both, old, _ = (Keys(*secrets, prefix) for secrets in _secrets())
        store.run(ops.apply_config(file("a", "b"), old))
        for name in ("a", "b"):  # bound to definitions that go from the catalog
            store.run(ops.trigger(ops.Catalog(), name, ops.Request()))
        store.run(ops.apply_config(file("a", "b", run="false"), old))
        store.run(ops.apply_config(file("a", "b", "c", run="false"), old))
        for number in range(50):
            store.run(Call("SET", (Key(f"other:{number}"), "x"), as_is))
        store.run(Call("HSET", (Key("def:planted"), "body", b"{}", "signature", "0" * 64), as_is))
        assert sorted(store.run(rotation.signed_with_the_old(both)).values()) == ["a", "a", "b", "b", "c"]
        assert store.run(rotation.sign_again(both)) == 5
        assert store.run(rotation.signed_with_the_old(both)) == {}
        assert store.run(rotation.sign_again(both)) == 0
        assert store.run(Call("HGET", (Key("def:planted"), "signature"), as_is)) == b"0" * 64
        assert store.run(rotation.signed_with_the_old(Keys("another secret", _secrets()[2][0], prefix))) != {}


def _secrets() -> tuple[tuple[str, str], tuple[str, str], tuple[str, str]]:
    new, old = "the secret of the fleet", "the secret before that"
    return (new, old), (old, ""), (new, "")
