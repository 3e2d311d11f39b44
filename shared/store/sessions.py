"""
Sessions of browsers, and the one-time links that start them.

A session's id and a link's secret are 256 random bits that only the browser has; their keys hold an HMAC of them. What
is stored is signed as the rows of ``tokens`` are, so whoever can write to Redis but does not know ``RUNFLEET_SECRET``
can make no session. A session grants nothing by itself: it names the token it was made with, which each request checks.
"""

import hashlib
import secrets
from typing import Any, Final, TypeVar

import msgspec

from shared.clock import SECOND_US
from shared.signing import Keys
from shared.store.redis.call import Call, Key, nothing
from shared.telemetry import get_logger

_log = get_logger("api")

IDLE_S: Final = 12 * 3600
"""A session without a request for so long ends."""

LIFE_S: Final = 7 * 86_400
"""A session ends so long after the sign-in, however much it is used."""

LINK_S: Final = 600
"""How long a sign-in link may be used."""

BOOTSTRAP: Final = "bootstrap:"
"""What a credential begins with that is ``RUNFLEET_TOKEN``; a fingerprint of it follows."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """
    One browser that is signed in.

    ``credential`` is the token it was made with: the SHA-256 of a token's text, or ``BOOTSTRAP`` and a fingerprint.
    ``csrf`` is what each change by this session must send. ``created_us`` is stored time, set by the API's clock.
    """

    credential: str
    who: str
    csrf: str
    created_us: int

    @property
    def ends_us(self) -> int:
        """Stored time at which it ends at the latest."""
        return self.created_us + LIFE_S * SECOND_US


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What a sign-in link starts a session for."""

    credential: str
    who: str


class _Row(msgspec.Struct, frozen=True):
    """What is stored: a session or link as JSON, and the signature over its key's digest and that JSON."""

    value: msgspec.Raw
    signature: str


S = TypeVar("S", Session, Link)


def fingerprint(token: str, keys: Keys) -> str:
    """The credential that stands for ``RUNFLEET_TOKEN``: sessions made with it end when the variable changes."""
    return BOOTSTRAP + (keys.sign("bootstrap-token", token) or hashlib.sha256(token.encode()).hexdigest())


def create(link: Link, now_us: int, keys: Keys) -> tuple[Session, str, Call[None]]:
    """A new session, the id that its browser gets, and the call that stores it."""
    secret = secrets.token_urlsafe(32)
    session = Session(credential=link.credential, who=link.who, csrf=secrets.token_urlsafe(32), created_us=now_us)
    digest = _digest("session", secret, keys)
    return (
        session,
        secret,
        Call("SET", (_key(digest), _packed("session", digest, session, keys), "EX", IDLE_S), nothing),
    )


def find(secret: str, now_us: int, keys: Keys) -> Call[Session | None]:
    """
    The session with this id, which then lives on for ``IDLE_S``; None when there is none, it is over at stored time
    *now_us*, or it is not signed with a secret of *keys*.
    """
    digest = _digest("session", secret, keys)

    def read(reply: Any) -> Session | None:
        session = _read("session", Session, digest, reply, keys)
        return session if session is not None and now_us < session.ends_us else None

    return Call("GETEX", (_key(digest), "EX", IDLE_S), read)


def end(secret: str, keys: Keys) -> Call[None]:
    """Remove the session with this id, if there is one."""
    return Call("DEL", (_key(_digest("session", secret, keys)),), nothing)


def create_link(link: Link, keys: Keys) -> tuple[str, Call[None]]:
    """The secret of a new sign-in link, and the call that stores it for ``LINK_S``."""
    secret = secrets.token_urlsafe(32)
    digest = _digest("session-link", secret, keys)
    return secret, Call("SET", (_link_key(digest), _packed("session-link", digest, link, keys), "EX", LINK_S), nothing)


def take_link(secret: str, keys: Keys) -> Call[Link | None]:
    """The link with this secret, which works once; None when it was used, is too old, or is not signed by us."""
    digest = _digest("session-link", secret, keys)
    return Call("GETDEL", (_link_key(digest),), lambda reply: _read("session-link", Link, digest, reply, keys))


def _key(digest: str) -> Key:
    return Key(f"session:{digest}")


def _link_key(digest: str) -> Key:
    return Key(f"session-link:{digest}")


def _digest(purpose: str, secret: str, keys: Keys) -> str:
    return keys.sign(f"{purpose}-id", secret) or hashlib.sha256(secret.encode()).hexdigest()


def _packed(purpose: str, digest: str, value: Session | Link, keys: Keys) -> bytes:
    body = msgspec.json.encode(value)
    return msgspec.json.encode(_Row(msgspec.Raw(body), keys.sign(purpose, digest, body)))


def _read(purpose: str, kind: type[S], digest: str, reply: Any, keys: Keys) -> S | None:
    if reply is None:
        return None
    try:
        row = msgspec.json.decode(reply, type=_Row)
        value = msgspec.json.decode(row.value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _log.error("session.untrusted", purpose=purpose)
        return None
    if keys and not keys.signer(row.signature, purpose, digest, bytes(row.value)):
        _log.error("session.untrusted", purpose=purpose)
        return None
    return value
