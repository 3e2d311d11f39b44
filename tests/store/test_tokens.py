"""Tokens are shown once, kept as hashes, and end when they should."""

from __future__ import annotations

import msgspec
import pytest

from shared.signing import Keys
from shared.store import tokens
from shared.store.redis.call import Call, Drive, Key, as_is
from shared.store.tokens import Quota, Token
from tests.store.checking import dump
from tests.store.desk import Desk
from tests.store.losing import lose_once

KEYS = Keys("a secret that only processes know")
OLD, NEW = "the secret that was before", "the secret that there is now"


def listed(desk: Desk) -> list[Token]:
    return [row.token for row in desk.run(tokens.listing())]


def rows(desk: Desk) -> dict[bytes, bytes]:
    reply = desk.run(Call("HGETALL", (Key("tokens"),), as_is))
    return dict(zip(reply[::2], reply[1::2], strict=True))


def plant(desk: Desk, digest: bytes | str, row: bytes) -> None:
    """As anybody can who may write to Redis."""
    desk.run(Call("HSET", (Key("tokens"), digest, row), as_is))


def test_a_token_is_found_by_its_text_alone(desk: Desk) -> None:
    token, text = desk.run(tokens.create("ci", "run", "report-*"))
    assert desk.run(tokens.lookup(text, desk.now)) == token
    assert (token.name, token.scope, token.tasks) == ("ci", "run", "report-*")
    assert text.startswith(tokens.PREFIX)


@pytest.mark.parametrize("text", ["", "rf_", "rf_wrong", "ci"])
def test_another_text_finds_nothing(desk: Desk, text: str) -> None:
    desk.run(tokens.create("ci", "run"))
    assert desk.run(tokens.lookup(text, desk.now)) is None


def test_the_text_is_nowhere_in_redis(desk: Desk) -> None:
    _, text = desk.run(tokens.create("ci", "admin"))
    assert text.encode() not in repr(dump(desk)).encode()


def test_a_token_expires_at_its_time(desk: Desk) -> None:
    token, text = desk.run(tokens.create("ci", "read", expires_us=desk.now + 10))
    assert desk.run(tokens.lookup(text, desk.now + 9)) == token
    assert desk.run(tokens.lookup(text, desk.now + 10)) is None
    assert listed(desk) == [token], "it is still listed, so that one sees what became of it"


def test_a_revoked_token_is_gone(desk: Desk) -> None:
    one, text = desk.run(tokens.create("one", "read"))
    two, other = desk.run(tokens.create("two", "read"))
    assert desk.run(tokens.revoke(one.id))
    assert not desk.run(tokens.revoke(one.id))
    assert desk.run(tokens.lookup(text, desk.now)) is None
    assert desk.run(tokens.lookup(other, desk.now)) == two
    assert listed(desk) == [two]


def test_a_token_that_is_revoked_twice_because_an_answer_was_lost_was_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, text = desk.run(tokens.create("one", "read"))
    lost = lose_once(monkeypatch, b"HDEL")
    assert desk.run(tokens.revoke(one.id))
    assert lost == [b"HDEL"]
    assert desk.run(tokens.lookup(text, desk.now)) is None
    assert not desk.run(tokens.revoke(one.id))


def test_tokens_are_listed_oldest_first(desk: Desk) -> None:
    made = [desk.run(tokens.create(name, "read"))[0] for name in "cab"]
    assert listed(desk) == made


def test_a_token_keeps_its_quota(desk: Desk) -> None:
    quota = Quota(triggers_per_s=1, pending_runs=2, pending_bytes=3)
    _, text = desk.run(tokens.create("ci", "run", keys=KEYS, quota=quota))
    found = desk.run(tokens.lookup(text, desk.now, KEYS))
    assert found is not None
    assert found.quota == quota


@pytest.mark.parametrize("secret", ["", "another secret of sixteen or more"])
def test_a_row_that_is_not_signed_with_the_secret_is_refused(desk: Desk, secret: str) -> None:
    token, text = desk.run(tokens.create("mine", "admin", keys=Keys(secret)))
    assert desk.run(tokens.lookup(text, desk.now, Keys(secret))) == token
    assert desk.run(tokens.lookup(text, desk.now, KEYS)) is None
    [row] = desk.run(tokens.listing(KEYS))
    assert (row.token, row.is_valid) == (token, False), "it is still listed, so that one can revoke it"
    assert desk.run(tokens.revoke(token.id))


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
def test_a_signed_row_is_refused_when_any_of_its_fields_was_changed(desk: Desk, field: str) -> None:
    _, text = desk.run(tokens.create("ci", "run", "report-*", desk.now + 10**9, keys=KEYS))
    [(digest, value)] = rows(desk).items()
    row = msgspec.json.decode(value)
    row["token"][field] = CHANGES[field]
    row["token"] = {name: value for name, value in row["token"].items() if value is not None}
    plant(desk, digest, msgspec.json.encode(row))
    assert desk.run(tokens.lookup(text, desk.now, KEYS)) is None
    assert set(CHANGES) == set(Token.__struct_fields__), "every field is tried"


def test_the_row_of_one_token_grants_nothing_to_another_text(desk: Desk) -> None:
    _, low = desk.run(tokens.create("low", "read", keys=KEYS))
    low_digest = next(iter(rows(desk)))
    desk.run(tokens.create("high", "admin", keys=KEYS))
    [high_row] = [value for digest, value in rows(desk).items() if digest != low_digest]
    plant(desk, low_digest, high_row)
    assert desk.run(tokens.lookup(low, desk.now, KEYS)) is None


@pytest.mark.parametrize("row", [b"", b"{", b"\xff", b"[]", b'{"token":1,"signature":""}', b"[" * 5000])
def test_a_row_that_is_none_is_listed_and_goes_when_it_is_revoked(desk: Desk, row: bytes) -> None:
    kept, text = desk.run(tokens.create("kept", "read", keys=KEYS))
    plant(desk, b"\xff" * 32, row)
    assert desk.run(tokens.lookup(text, desk.now, KEYS)) == kept
    unreadable, good = desk.run(tokens.listing(KEYS))
    assert (unreadable.is_valid, good.token) == (False, kept)
    assert desk.run(tokens.revoke(unreadable.token.id))
    assert listed(desk) == [kept]


def test_while_secrets_are_rotated_tokens_of_both_are_taken_and_the_old_ones_signed_again(desk: Desk) -> None:
    old, text = desk.run(tokens.create("old", "run", keys=Keys(OLD)))
    forged, other = desk.run(tokens.create("forged", "admin", keys=Keys("somebody else's secret")))
    both = Keys(NEW, OLD)
    assert desk.run(tokens.lookup(text, desk.now, both)) == old
    assert [row.is_old for row in desk.run(tokens.listing(both))] == [True, False]
    assert desk.run(tokens.sign_again(both)) == 1
    assert desk.run(tokens.sign_again(both)) == 0
    assert desk.run(tokens.lookup(text, desk.now, Keys(NEW))) == old
    assert desk.run(tokens.lookup(other, desk.now, both)) is None, forged


def test_a_token_that_is_revoked_while_it_is_signed_again_stays_away(desk: Desk) -> None:
    token, text = desk.run(tokens.create("old", "run", keys=Keys(OLD)))
    signing = Drive(tokens.sign_again(Keys(NEW, OLD)))
    signing.answer([desk.run(signing.calls[0])])
    (write,) = signing.calls
    assert desk.run(tokens.revoke(token.id))
    desk.run(write)
    assert desk.run(tokens.lookup(text, desk.now, Keys(NEW))) is None


def test_without_a_secret_nothing_is_verified(desk: Desk) -> None:
    token, text = desk.run(tokens.create("ci", "run", keys=KEYS))
    assert desk.run(tokens.lookup(text, desk.now)) == token
