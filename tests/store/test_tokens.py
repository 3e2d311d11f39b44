"""Tokens are shown once, kept as hashes, and end when they should."""

import msgspec
import pytest

from shared.signing import Keys
from shared.store import tokens
from shared.store.redis.call import Call, Drive, Key, as_is
from shared.store.tokens import Quota, Token
from tests.store.consistency import dump
from tests.store.harness import StoreHarness
from tests.store.lost_replies import lose_once

KEYS = Keys("a secret that only processes know")
OLD, NEW = "the secret that was before", "the secret that there is now"


def listed(harness: StoreHarness) -> list[Token]:
    return [row.token for row in harness.run(tokens.listing())]


def rows(harness: StoreHarness) -> dict[bytes, bytes]:
    reply = harness.run(Call("HGETALL", (Key("tokens"),), as_is))
    return dict(zip(reply[::2], reply[1::2], strict=True))


def plant(harness: StoreHarness, digest: bytes | str, row: bytes) -> None:
    """As anybody can who may write to Redis."""
    harness.run(Call("HSET", (Key("tokens"), digest, row), as_is))


def test_a_token_is_found_by_its_text_alone(harness: StoreHarness) -> None:
    token, text = harness.run(tokens.create("ci", "run", "report-*"))
    assert harness.run(tokens.lookup(text, harness.now)) == token
    assert (token.name, token.scope, token.tasks) == ("ci", "run", "report-*")
    assert text.startswith(tokens.PREFIX)


@pytest.mark.parametrize("text", ["", "rf_", "rf_wrong", "ci"])
def test_another_text_finds_nothing(harness: StoreHarness, text: str) -> None:
    harness.run(tokens.create("ci", "run"))
    assert harness.run(tokens.lookup(text, harness.now)) is None


def test_the_text_is_nowhere_in_redis(harness: StoreHarness) -> None:
    _, text = harness.run(tokens.create("ci", "admin"))
    assert text.encode() not in repr(dump(harness)).encode()


def test_a_token_expires_at_its_time(harness: StoreHarness) -> None:
    token, text = harness.run(tokens.create("ci", "read", expires_us=harness.now + 10))
    assert harness.run(tokens.lookup(text, harness.now + 9)) == token
    assert harness.run(tokens.lookup(text, harness.now + 10)) is None
    assert listed(harness) == [token], "it is still listed, so that one sees what became of it"


def test_a_revoked_token_is_gone(harness: StoreHarness) -> None:
    one, text = harness.run(tokens.create("one", "read"))
    two, other = harness.run(tokens.create("two", "read"))
    assert harness.run(tokens.revoke(one.id))
    assert not harness.run(tokens.revoke(one.id))
    assert harness.run(tokens.lookup(text, harness.now)) is None
    assert harness.run(tokens.lookup(other, harness.now)) == two
    assert listed(harness) == [two]


def test_a_token_that_is_revoked_twice_because_an_answer_was_lost_was_there(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, text = harness.run(tokens.create("one", "read"))
    lost = lose_once(monkeypatch, b"HDEL")
    assert harness.run(tokens.revoke(one.id))
    assert lost == [b"HDEL"]
    assert harness.run(tokens.lookup(text, harness.now)) is None
    assert not harness.run(tokens.revoke(one.id))


def test_tokens_are_listed_oldest_first(harness: StoreHarness) -> None:
    made = [harness.run(tokens.create(name, "read"))[0] for name in "cab"]
    assert listed(harness) == made


def test_a_token_keeps_its_quota(harness: StoreHarness) -> None:
    quota = Quota(triggers_per_s=1, pending_runs=2, pending_bytes=3)
    _, text = harness.run(tokens.create("ci", "run", keys=KEYS, quota=quota))
    found = harness.run(tokens.lookup(text, harness.now, KEYS))
    assert found is not None
    assert found.quota == quota


@pytest.mark.parametrize("secret", ["", "another secret of sixteen or more"])
def test_a_row_that_is_not_signed_with_the_secret_is_refused(harness: StoreHarness, secret: str) -> None:
    token, text = harness.run(tokens.create("mine", "admin", keys=Keys(secret)))
    assert harness.run(tokens.lookup(text, harness.now, Keys(secret))) == token
    assert harness.run(tokens.lookup(text, harness.now, KEYS)) is None
    [row] = harness.run(tokens.listing(KEYS))
    assert (row.token, row.is_valid) == (token, False), "it is still listed, so that one can revoke it"
    assert harness.run(tokens.revoke(token.id))


CHANGES = {
    "name": "another",
    "scope": "admin",
    "tasks": "",
    "id": "another",
    "expires_at": None,
    "quota": {"triggers_per_s": 10**6, "pending_runs": 10**7, "pending_bytes": 2**40},
    "created_at": "2031-01-01T00:00:00Z",
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_signed_row_is_refused_when_any_of_its_fields_was_changed(harness: StoreHarness, field: str) -> None:
    _, text = harness.run(tokens.create("ci", "run", "report-*", harness.now + 10**9, keys=KEYS))
    [(digest, value)] = rows(harness).items()
    row = msgspec.json.decode(value)
    row["token"][field] = CHANGES[field]
    row["token"] = {name: value for name, value in row["token"].items() if value is not None}
    plant(harness, digest, msgspec.json.encode(row))
    assert harness.run(tokens.lookup(text, harness.now, KEYS)) is None
    assert set(CHANGES) == set(Token.__struct_fields__), "every field is tried"


def test_the_row_of_one_token_grants_nothing_to_another_text(harness: StoreHarness) -> None:
    _, low = harness.run(tokens.create("low", "read", keys=KEYS))
    low_digest = next(iter(rows(harness)))
    harness.run(tokens.create("high", "admin", keys=KEYS))
    [high_row] = [value for digest, value in rows(harness).items() if digest != low_digest]
    plant(harness, low_digest, high_row)
    assert harness.run(tokens.lookup(low, harness.now, KEYS)) is None


@pytest.mark.parametrize("row", [b"", b"{", b"\xff", b"[]", b'{"token":1,"signature":""}', b"[" * 5000])
def test_a_row_that_is_none_is_listed_and_goes_when_it_is_revoked(harness: StoreHarness, row: bytes) -> None:
    kept, text = harness.run(tokens.create("kept", "read", keys=KEYS))
    plant(harness, b"\xff" * 32, row)
    assert harness.run(tokens.lookup(text, harness.now, KEYS)) == kept
    unreadable, good = harness.run(tokens.listing(KEYS))
    assert (unreadable.is_valid, good.token) == (False, kept)
    assert harness.run(tokens.revoke(unreadable.token.id))
    assert listed(harness) == [kept]


def test_while_secrets_are_rotated_tokens_of_both_are_taken_and_the_old_ones_signed_again(
    harness: StoreHarness,
) -> None:
    old, text = harness.run(tokens.create("old", "run", keys=Keys(OLD)))
    forged, other = harness.run(tokens.create("forged", "admin", keys=Keys("somebody else's secret")))
    both = Keys(NEW, OLD)
    assert harness.run(tokens.lookup(text, harness.now, both)) == old
    assert [row.is_old for row in harness.run(tokens.listing(both))] == [True, False]
    assert harness.run(tokens.sign_again(both)) == 1
    assert harness.run(tokens.sign_again(both)) == 0
    assert harness.run(tokens.lookup(text, harness.now, Keys(NEW))) == old
    assert harness.run(tokens.lookup(other, harness.now, both)) is None, forged


def test_a_token_that_is_revoked_while_it_is_signed_again_stays_away(harness: StoreHarness) -> None:
    token, text = harness.run(tokens.create("old", "run", keys=Keys(OLD)))
    signing = Drive(tokens.sign_again(Keys(NEW, OLD)))
    signing.answer([harness.run(signing.calls[0])])
    (write,) = signing.calls
    assert harness.run(tokens.revoke(token.id))
    harness.run(write)
    assert harness.run(tokens.lookup(text, harness.now, Keys(NEW))) is None


def test_without_a_secret_nothing_is_verified(harness: StoreHarness) -> None:
    token, text = harness.run(tokens.create("ci", "run", keys=KEYS))
    assert harness.run(tokens.lookup(text, harness.now)) == token
