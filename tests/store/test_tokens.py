"""Tokens are shown once, kept as hashes, and end when they should."""

from __future__ import annotations

import pytest

from shared.store import tokens
from tests.store.checking import dump
from tests.store.desk import Desk


def test_a_token_is_found_by_its_text_alone(desk: Desk) -> None:
    assert not desk.do(tokens.any_exist())
    token, text = desk.run(tokens.create("ci", "run", "report-*"))
    assert desk.do(tokens.any_exist())
    assert desk.do(tokens.lookup(text, desk.now)) == token
    assert (token.name, token.scope, token.tasks) == ("ci", "run", "report-*")
    assert text.startswith(tokens.PREFIX)


@pytest.mark.parametrize("text", ["", "rf_", "rf_wrong", "ci"])
def test_another_text_finds_nothing(desk: Desk, text: str) -> None:
    desk.run(tokens.create("ci", "run"))
    assert desk.do(tokens.lookup(text, desk.now)) is None


def test_the_text_is_nowhere_in_redis(desk: Desk) -> None:
    _, text = desk.run(tokens.create("ci", "admin"))
    assert text.encode() not in repr(dump(desk)).encode()


def test_a_token_expires_at_its_time(desk: Desk) -> None:
    token, text = desk.run(tokens.create("ci", "read", expires_us=desk.now + 10))
    assert desk.do(tokens.lookup(text, desk.now + 9)) == token
    assert desk.do(tokens.lookup(text, desk.now + 10)) is None
    assert desk.do(tokens.listing()) == [token], "it is still listed, so that one sees what became of it"


def test_a_revoked_token_is_gone(desk: Desk) -> None:
    one, text = desk.run(tokens.create("one", "read"))
    two, other = desk.run(tokens.create("two", "read"))
    assert desk.run(tokens.revoke(one.id))
    assert not desk.run(tokens.revoke(one.id))
    assert desk.do(tokens.lookup(text, desk.now)) is None
    assert desk.do(tokens.lookup(other, desk.now)) == two
    assert desk.do(tokens.listing()) == [two]


def test_tokens_are_listed_oldest_first(desk: Desk) -> None:
    made = [desk.run(tokens.create(name, "read"))[0] for name in "cab"]
    assert desk.do(tokens.listing()) == made
