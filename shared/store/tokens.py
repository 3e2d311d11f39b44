"""Tokens: who may use the API. Only a hash is stored; the text is shown once, when the token is made."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from shared.clock import from_datetime, to_datetime
from shared.errors import Conflict
from shared.store.call import Call, Key, Operation
from shared.store.decoding import json_reading
from shared.store.fleet import clock
from shared.store.scripts import script

Scope = Literal["read", "run", "admin"]
PREFIX: Final = "rf_"


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token without its secret. ``tasks`` is a pattern (``report-*``) of the tasks it may touch, "" for all."""

    id: str
    name: str
    scope: Scope
    tasks: str = ""
    created_at: datetime
    expires_at: datetime | UnsetType = UNSET


_token = json_reading(Token, "a token")


def create(
    name: str,
    scope: Scope,
    tasks: str = "",
    expires_us: int | None = None,
    *,
    request: str = "",
    token_id: str = "",
) -> Operation[tuple[Token, str]]:
    """
    Make a token; the second of the pair is its text, which nobody can read again.

    The same *request* makes one token, called *token_id*, however often it comes: whoever comes later gets it with the
    text "". Raises Conflict when it is revoked by then.
    """
    text = PREFIX + secrets.token_urlsafe(32)
    now_us = yield clock()
    token = Token(
        id=token_id or secrets.token_hex(8),
        name=name,
        scope=scope,
        tasks=tasks,
        created_at=to_datetime(now_us),
        expires_at=to_datetime(expires_us) if expires_us is not None else UNSET,
    )
    is_new: bool = yield Call(script("make_token"), (_digest(text), msgspec.json.encode(token), request), bool)
    if is_new:
        return token, text
    known: list[Token] = yield listing()
    for each in known:
        if each.id == token_id:
            return each, ""
    raise Conflict(f"the token {token_id} that this idempotency key made is revoked; use a new key")


def listing() -> Call[list[Token]]:
    """All tokens, expired ones included, oldest first."""

    def read(reply: Any) -> list[Token]:
        return sorted((_token(value) for value in reply), key=lambda token: token.created_at)

    return Call("HVALS", (Key("tokens"),), read)


def revoke(token_id: str) -> Operation[bool]:
    """Take a token away; whether there was one."""
    pairs = yield Call("HGETALL", (Key("tokens"),), lambda reply: list(zip(reply[::2], reply[1::2], strict=True)))
    for digest, value in pairs:
        if _token(value).id == token_id:
            gone: int = yield Call("HDEL", (Key("tokens"), digest), int)
            return bool(gone)
    return False


def lookup(text: str, now_us: int) -> Call[Token | None]:
    """The token of this text, or None when it is unknown or was expired at stored time *now_us*."""

    def read(reply: Any) -> Token | None:
        if reply is None:
            return None
        token = _token(reply)
        if token.expires_at is not UNSET and from_datetime(token.expires_at) <= now_us:
            return None
        return token

    return Call("HGET", (Key("tokens"), _digest(text)), read)


def any_exist() -> Call[bool]:
    """Whether any token was made."""
    return Call("EXISTS", (Key("tokens"),), bool)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
