"""
Authentication and authorisation: tokens, scopes and the tasks that a token is for.

A token comes as ``Authorization: Bearer rf_…``, or as the password of Basic authentication. ``RUNFLEET_TOKEN`` is one
with scope ``admin``; the others are kept in the store as hashes, in signed rows. Scopes contain each other: ``read`` ⊂
``run`` ⊂ ``admin``. A token may be for some tasks only: then ``Grant.authorise`` is what every route calls, with all
tasks that the request touches. With ``RUNFLEET_OPEN=on`` no token is needed, but then only on this machine: the process
listens on loopback only, and requests that a foreign web page could have made are refused here.
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeVar

from litestar.types import Scope as Connection

from api.http.quotas import Meter
from shared.errors import Forbidden, NotFound, StoreUnavailable, TooManyRequests, Unauthorized
from shared.settings import Settings
from shared.store import tokens
from shared.store.redis.async_store import AsyncStore
from shared.store.tokens import Quota

Scope = Literal["read", "run", "admin"]
"""The rights of a token, each including those before it."""

REMEMBER_S: Final = 2.0
"""How long a token read from the store is trusted, and so how long a revoked one may live on in other processes."""

RECHECK_S: Final = 10.0
"""How often a stream checks that its token is still valid; with ``REMEMBER_S`` it ends within 15 s of that."""

MAX_FAILURES: Final = 20
"""Failed tokens of one client address within ``FAILURE_WINDOW_S``; each further one is answered 429 instead of 401."""

MAX_FAILURES_IN_ALL: Final = 1000
"""The same of all addresses together."""

FAILURE_WINDOW_S: Final = 60.0
MAX_REMEMBERED: Final = 10_000

_RANK: Final[dict[str, int]] = {"read": 0, "run": 1, "admin": 2}


@dataclass(frozen=True, slots=True)
class Grant:
    """
    The rights of a request: *scope*, on tasks whose name matches *tasks* ("" for all). *who* is for people.

    *quota* bounds what it may start; None is unlimited. *token_id* is "" for rights without a token of the store.
    *meter* counts what it has started.
    """

    who: str
    scope: Scope
    tasks: str = ""
    quota: Quota | None = None
    token_id: str = ""
    meter: Meter | None = field(default=None, compare=False)

    def charge(self, size: int) -> int:
        """
        Count one trigger of *size* bytes (``Meter.charge``); returns the limit of its task's pending runs (0: none).

        Raises OverQuota.
        """
        return self.meter.charge(size) if self.meter is not None else 0

    def covers(self, *names: str) -> bool:
        """Whether this grant covers every one of these tasks."""
        return not self.tasks or all(fnmatchcase(name, self.tasks) for name in names)

    def require(self, scope: Scope) -> None:
        """Raises Forbidden, naming the missing scope."""
        if _RANK[self.scope] < _RANK[scope]:
            raise Forbidden(f"this needs a token with scope {scope}; {self.who} has scope {self.scope}")

    def authorise(self, tasks: Iterable[str], *, absent: str = "") -> None:
        """
        Raises unless this grant covers every one of *tasks*: all that a request touches, plans and dependencies too.

        NotFound with the text *absent* (that of a missing thing) for a thing that this grant may not see; without that
        text Forbidden, which names the pattern and none of the tasks beyond it.
        """
        if self.covers(*tasks):
            return
        if absent:
            raise NotFound(absent)
        raise Forbidden(f"{self.who} is for tasks that match {self.tasks} only, and this involves others")


K = TypeVar("K")
V = TypeVar("V")

OPEN: Final = Grant("anybody on this machine", "admin")
_BOOTSTRAP: Final = Grant("RUNFLEET_TOKEN", "admin")


class TooManyFailures(TooManyRequests):
    """One client address sent many wrong tokens; it may try again after ``retry_after_s`` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many wrong tokens from your address; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Authenticator:
    """Turns a request's token into a ``Grant``. *measured_s* is a monotonic clock."""

    def __init__(self, settings: Settings, store: AsyncStore, measured_s: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now = measured_s
        self._bootstrap = _digest(settings.token) if settings.token else b""
        self._known: OrderedDict[bytes, tuple[float, Grant | None]] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._meters: OrderedDict[str, Meter] = OrderedDict()
        self._is_open = settings.open
        self._keys = settings.keys

    async def grant(self, scope: Connection) -> Grant:
        """
        The rights of this request.

        Raises Unauthorized without a valid token, TooManyFailures after many wrong ones from the same address,
        Forbidden when the API is open and the request may come from a foreign web page.
        """
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if not sent:
            if not self._is_open:
                raise Unauthorized("send a token: Authorization: Bearer rf_…")
            _refuse_foreign_page(scope)
            return OPEN
        token = sent_token(sent)
        client, digest = client_of(scope), _digest(token)
        if self._bootstrap and hmac.compare_digest(digest, self._bootstrap):
            found: Grant | None = _BOOTSTRAP
        else:
            found = await self._find(digest, token.decode("latin-1"))
        if found is not None:
            return found
        if self._is_open:
            _refuse_foreign_page(scope)
            return OPEN
        self._count_failure(client)
        raise Unauthorized("this token is unknown, revoked or expired")

    async def until_refused(self, scope: Connection) -> Unauthorized:
        """Wait until a granted request would be refused: its token was revoked or expired. Returns the reason."""
        while True:
            await asyncio.sleep(RECHECK_S)
            with suppress(StoreUnavailable):
                if not await self._still_grants(scope):
                    return Unauthorized("this token was revoked or has expired")

    async def _still_grants(self, scope: Connection) -> bool:
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if sent:
            token = sent_token(sent)
            digest = _digest(token)
            if self._bootstrap and hmac.compare_digest(digest, self._bootstrap):
                return True
            if await self._find(digest, token.decode("latin-1")) is not None:
                return True
        return self._is_open

    def forget(self) -> None:
        """Read tokens from the store again, because one was created or revoked here."""
        self._known.clear()

    async def _find(self, digest: bytes, text: str) -> Grant | None:
        now = self._now()
        until, grant = self._known.get(digest, (-1.0, None))
        if now < until:
            return grant
        token = await self._store.run(tokens.lookup(text, time.time_ns() // 1000, self._keys))
        grant = None if token is None else self._grant_of(token)
        if grant is not None:
            _remember(self._known, digest, (now + REMEMBER_S, grant))
        return grant

    def _grant_of(self, token: tokens.Token) -> Grant:
        who = f"token {token.name!r}"
        if token.scope != "run":
            return Grant(who, token.scope, token.tasks, None, token.id)
        meter = self._meters.get(token.id)
        if meter is None or meter.quota != token.quota:
            meter = Meter(who, token.quota, self._now)
        _remember(self._meters, token.id, meter)
        return Grant(who, token.scope, token.tasks, token.quota, token.id, meter)

    def _count_failure(self, client: str) -> None:
        """
        Raises TooManyFailures after many failures from this address, or from all together.

        Called only after the token was looked up: behind a proxy all clients may share one address, and one client's
        wrong tokens must not lock out those with a valid one. A token has 256 random bits, which cannot be guessed.
        """
        now = self._now()
        for key, most in ((client, MAX_FAILURES), ("*", MAX_FAILURES_IN_ALL)):
            since, count = self._failures.get(key, (now, 0))
            if now - since >= FAILURE_WINDOW_S:
                since, count = now, 0
            _remember(self._failures, key, (since, count + 1))
            if count >= most:
                raise TooManyFailures(int(since + FAILURE_WINDOW_S - now) + 1)


def client_of(scope: Connection) -> str:
    """The address of the client; "" on a unix socket."""
    client = scope.get("client")
    return client[0] if client else ""


def is_private_name(host: str) -> bool:
    """
    Whether no public name server can answer for *host* (as in a Host header): an address, a bare name, ``.local`` etc.

    A page on ``evil.example`` whose name server answers 127.0.0.1 can talk to a server on loopback as if to itself. Its
    requests carry that name in the Host header, which reveals it.
    """
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 or "]" in host else host
    name = name.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith((".localhost", ".local", ".internal"))
    return True


def _refuse_foreign_page(scope: Connection) -> None:
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"localhost").decode("latin-1")
    if not is_private_name(host):
        raise Forbidden(
            f"without tokens the API serves requests to local host names only, not to {host}; set RUNFLEET_OPEN=off"
        )
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and origin.partition("://")[2] != host:
        raise Forbidden(f"without tokens the API refuses requests from web pages of {origin}; set RUNFLEET_OPEN=off")


def sent_token(header: bytes) -> bytes:
    """The token of an Authorization header: a bearer token, or a Basic password for clients that know nothing else."""
    kind, _, text = header.partition(b" ")
    token = text.strip()
    if kind.lower() == b"basic":
        try:
            token = base64.b64decode(token, validate=True).partition(b":")[2]
        except ValueError:
            token = b""
    elif kind.lower() != b"bearer":
        token = b""
    if not token:
        raise Unauthorized("the Authorization header must be: Bearer and a token (or Basic, with it as the password)")
    return token


def _digest(token: str | bytes) -> bytes:
    return hashlib.sha256(token.encode() if isinstance(token, str) else token).digest()


def _remember(store: OrderedDict[K, V], key: K, value: V) -> None:
    store[key] = value
    store.move_to_end(key)
    while len(store) > MAX_REMEMBERED:
        store.popitem(last=False)
