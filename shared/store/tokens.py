"""
API tokens. Only a hash is stored; the text is shown once, when the token is made.

A row of ``tokens`` is signed, with a key made from ``RUNFLEET_SECRET``, over the hash and all that it grants: someone
who can write to Redis but does not know the secret cannot make a token, widen one, or give one another text. Without a
secret nothing is signed and nothing verified.
"""

import hashlib
import secrets
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from shared.clock import from_datetime, to_datetime
from shared.errors import Conflict
from shared.signing import UNSIGNED, Keys
from shared.store.fleet import clock
from shared.store.redis.call import Call, Key, nothing
from shared.store.redis.scripts import script
from shared.telemetry import get_logger

_log = get_logger("api")

Scope = Literal["read", "run", "admin"]
PREFIX: Final = "rf_"
PURPOSE: Final = "token"
"""The purpose of the key that signs rows."""


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much a ``run`` token may start: executions a second in each API process, pending runs of one task, and bytes of
    parameters, tags and labels in an API process's last minute. More is refused with 429.
    """

    triggers_per_s: int = 200
    pending_runs: int = 100_000
    pending_bytes: int = 64 * 1024 * 1024


class Token(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    A token without its secret. ``tasks`` is a pattern (``report-*``) of the tasks it may touch, "" for all; ``quota``
    is of use with scope ``run`` only.
    """

    id: str
    name: str
    scope: Scope
    tasks: str = ""
    created_at: datetime
    expires_at: datetime | UnsetType = UNSET
    quota: Quota = Quota()


class ListedToken(msgspec.Struct, frozen=True):
    """
    A row of ``tokens``: the token, and whether it is taken: its signature is that of a secret which this process knows.
    ``is_old``: of ``RUNFLEET_SECRET_OLD``.
    """

    token: Token
    is_valid: bool
    is_old: bool = False


class _Row(msgspec.Struct, frozen=True):
    """A stored row: the token as JSON, and the signature over the hash of its text and that JSON ("": unsigned)."""

    token: msgspec.Raw
    signature: str


async def create(
    name: str,
    scope: Scope,
    tasks: str = "",
    expires_us: int | None = None,
    *,
    keys: Keys = UNSIGNED,
    quota: Quota | None = None,
    request: str = "",
    token_id: str = "",
) -> tuple[Token, str]:
    """
    Make a token; the second of the pair is its text, which cannot be read again.

    The same *request* makes one token, called *token_id*, however often it comes: a later one gets it with the
    text "". Raises Conflict if it was revoked since.
    """
    text = PREFIX + secrets.token_urlsafe(32)
    now_us = await clock()
    token = Token(
        id=token_id or secrets.token_hex(8),
        name=name,
        scope=scope,
        tasks=tasks,
        created_at=to_datetime(now_us),
        expires_at=to_datetime(expires_us) if expires_us is not None else UNSET,
        quota=quota or Quota(),
    )
    digest = digest_of(text)
    is_new = await Call(script("make_token"), (digest, _signed(digest, token, keys), request), bool)
    if is_new:
        return token, text
    known = await listing(keys)
    for each in known:
        if each.token.id == token_id and each.is_valid:
            return each.token, ""
    raise Conflict(f"the token {token_id} that this idempotency key made is revoked; use a new key")


def listing(keys: Keys = UNSIGNED) -> Call[list[ListedToken]]:
    """All tokens, with expired ones and those that are not accepted, oldest first."""

    def read(reply: Any) -> list[ListedToken]:
        rows = [_listed(_text(digest), value, keys) for digest, value in zip(reply[::2], reply[1::2], strict=True)]
        return sorted(rows, key=lambda row: row.token.created_at)

    return Call("HGETALL", (Key("tokens"),), read)


async def revoke(token_id: str) -> bool:
    """Revoke a token, also one that is not accepted; whether there was one."""
    pairs = await Call("HGETALL", (Key("tokens"),), lambda reply: list(zip(reply[::2], reply[1::2], strict=True)))
    # A forged row may bear the id of a good one; both go.
    digests = [digest for digest, value in pairs if _listed(_text(digest), value, UNSIGNED).token.id == token_id]
    if not digests:
        return False
    await Call("HDEL", (Key("tokens"), *digests), nothing)  # gone by now: perhaps this is a repeated call
    return True


def lookup(text: str, now_us: int, keys: Keys = UNSIGNED) -> Call[Token | None]:
    """The token of this text; otherwise as ``by_digest``."""
    return by_digest(digest_of(text), now_us, keys)


def by_digest(digest: str, now_us: int, keys: Keys = UNSIGNED) -> Call[Token | None]:
    """
    The token whose text has this SHA-256, or None when it is unknown, was expired at stored time *now_us*, or its row
    is not signed with a secret of *keys*.
    """

    def read(reply: Any) -> Token | None:
        if reply is None:
            return None
        found = _listed(digest, reply, keys)
        token = found.token
        if not found.is_valid:
            _log.error("token.untrusted", token=token.id)
            return None
        if token.expires_at is not UNSET and from_datetime(token.expires_at) <= now_us:
            return None
        return token

    return Call("HGET", (Key("tokens"), digest), read)


async def sign_again(keys: Keys) -> int:
    """
    Sign those tokens with ``RUNFLEET_SECRET`` that are signed with ``RUNFLEET_SECRET_OLD``; how many there were.

    Tokens that neither of the two has signed stay as they are.
    """
    pairs = await Call("HGETALL", (Key("tokens"),), lambda reply: list(zip(reply[::2], reply[1::2], strict=True)))
    count = 0
    for raw, value in pairs:
        digest = _text(raw)
        found = _listed(digest, value, keys)
        if found.is_valid and found.is_old:
            # Only if it is still there as it was read: a token that is revoked meanwhile must not come back.
            args = (digest, value, _signed(digest, found.token, keys))
            count += await Call(script("replace_token"), args, int)
    return count


def _signed(digest: str, token: Token, keys: Keys) -> bytes:
    body = msgspec.json.encode(token)
    return msgspec.json.encode(_Row(msgspec.Raw(body), keys.sign(PURPOSE, digest, body)))


def _listed(digest: str, value: bytes, keys: Keys) -> ListedToken:
    try:
        row = _row(value)
        token = _token(row.token)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ListedToken(
            Token(id=f"unreadable-{digest[:16]}", name="unreadable", scope="read", created_at=_EPOCH), False
        )
    if not keys:
        return ListedToken(token, True)
    signer = keys.signer(row.signature, PURPOSE, digest, bytes(row.token))
    return ListedToken(token, bool(signer), signer == "old")


def digest_of(text: str) -> str:
    """The SHA-256 of a token's text, as hex: what the store knows it by."""
    return hashlib.sha256(text.encode()).hexdigest()


def _text(field: bytes) -> str:
    return field.decode(errors="replace")


_row = msgspec.json.Decoder(_Row).decode
_token = msgspec.json.Decoder(Token).decode
_EPOCH: Final = to_datetime(0)
