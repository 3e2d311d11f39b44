"""
Authentication and authorisation: tokens, scopes and the tasks that a token is for.

A token comes as ``Authorization: Bearer rf_…``, or as the password of Basic authentication. ``RUNFLEET_TOKEN`` is one
with scope ``admin``; the others are kept in the store as hashes, in signed rows. A browser that signed in sends the
cookie of a session instead (``api.http.sessions``). Scopes contain each other: ``read`` ⊂ ``run`` ⊂ ``admin``. A token
may be for some tasks only: then ``Grant.authorise`` is what every route calls, with all tasks that the request touches.
With ``RUNFLEET_OPEN=on`` no token is needed, but then only on this machine: the process listens on loopback only, and
requests that a foreign web page could have made are refused here.
"""

import asyncio
import base64
import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeVar

from litestar.types import Scope as Connection
from msgspec import UNSET

from api.http.quotas import Meter
from api.http.sessions import check_request, refuse_other_origins, session_id
from shared.clock import from_datetime
from shared.errors import Forbidden, NotFound, StoreUnavailable, TooManyRequests, Unauthorized
from shared.settings import Settings
from shared.store import sessions, tokens
from shared.store.redis.async_store import AsyncStore
from shared.store.sessions import Session
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
    *meter* counts what it has started. *name* is the token's own ("": use *who*), *credential* names the token for
    sessions ("" if the API is open), *ends_us* is when it expires (stored time, 0: never), and *session* is that of a
    request with a cookie.
    """

    who: str
    scope: Scope
    tasks: str = ""
    quota: Quota | None = None
    token_id: str = ""
    meter: Meter | None = field(default=None, compare=False)
    name: str = field(default="", compare=False)
    credential: str = field(default="", compare=False)
    ends_us: int = field(default=0, compare=False)
    session: Session | None = field(default=None, compare=False)

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


class TooManyFailures(TooManyRequests):
    """One client address sent many wrong tokens; it may try again after ``retry_after_s`` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many wrong tokens from your address; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Authenticator:
    """Turns a request's token, or its session, into a ``Grant``. *measured_s* is a monotonic clock."""

    def __init__(self, settings: Settings, store: AsyncStore, measured_s: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now = measured_s
        self._keys = settings.keys
        self._bootstrap: Grant | None = None
        self._bootstrap_digest = ""
        if settings.token:
            self._bootstrap_digest = tokens.digest_of(settings.token)
            credential = sessions.fingerprint(settings.token, self._keys)
            self._bootstrap = Grant("RUNFLEET_TOKEN", "admin", credential=credential)
        self._known: OrderedDict[str, tuple[float, Grant]] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._meters: OrderedDict[str, Meter] = OrderedDict()
        self._is_open = settings.open

    async def grant(self, scope: Connection) -> Grant:
        """
        The rights of this request.

        Raises Unauthorized without a valid token or session, TooManyFailures after many wrong tokens from the same
        address, and Forbidden when the request may come from a web page of another origin.
        """
        sent = _authorization(scope)
        if sent:
            token = sent_token(sent)
            found = await self._by_token(token)
            if found is not None:
                return found
            if not self._is_open:
                self._count_failure(client_of(scope))
                raise Unauthorized("this token is unknown, revoked or expired")
        else:
            secret = session_id(scope)
            found = await self._by_session(secret) if secret else None
            if found is not None and found.session is not None:
                check_request(scope, found.session.csrf)
                return found
            if not self._is_open:
                raise Unauthorized(
                    "this session is over; sign in again" if secret else "send a token: Authorization: Bearer rf_…"
                )
        _refuse_foreign_page(scope)
        return OPEN

    async def sign_in(self, scope: Connection, token: str) -> Grant:
        """
        What *token* may do, for a session made with it.

        Raises as ``grant`` does, and Forbidden for a page of another origin: it could sign its visitor in as another
        user.
        """
        refuse_other_origins(scope)
        found = await self._by_token(token.encode())
        if found is None:
            self._count_failure(client_of(scope))
            raise Unauthorized("this token is unknown, revoked or expired")
        return found

    async def sign_in_by_link(self, scope: Connection, secret: str) -> Grant:
        """What the token behind a sign-in link may do; the link is used up. Raises as ``sign_in``."""
        refuse_other_origins(scope)
        link = await self._store.run(sessions.take_link(secret, self._keys))
        found = await self._by_credential(link.credential) if link is not None else None
        if found is None:
            self._count_failure(client_of(scope))
            raise Unauthorized("this sign-in link was used, is too old, or its token has ended; make another one")
        return found

    async def until_refused(self, scope: Connection) -> Unauthorized:
        """Wait until a request that was granted would be refused: its token or session ended. Returns why."""
        while True:
            await asyncio.sleep(RECHECK_S)
            with suppress(StoreUnavailable):
                if not await self._still_grants(scope):
                    return Unauthorized("this token was revoked or has expired, or the session was ended")

    async def _still_grants(self, scope: Connection) -> bool:
        sent, secret = _authorization(scope), session_id(scope)
        found = await self._by_token(sent_token(sent)) if sent else await self._by_session(secret) if secret else None
        return found is not None or self._is_open

    def forget(self) -> None:
        """Read tokens from the store again, because one was created or revoked here."""
        self._known.clear()

    async def _by_token(self, token: bytes) -> Grant | None:
        return await self._by_digest(tokens.digest_of(token.decode("latin-1")))

    async def _by_credential(self, credential: str) -> Grant | None:
        if credential.startswith(sessions.BOOTSTRAP):
            is_ours = self._bootstrap is not None and hmac.compare_digest(credential, self._bootstrap.credential)
            return self._bootstrap if is_ours else None
        return await self._by_digest(credential)

    async def _by_digest(self, digest: str) -> Grant | None:
        if self._bootstrap is not None and hmac.compare_digest(digest, self._bootstrap_digest):
            return self._bootstrap
        known = self._remembered(digest)
        if known is None:
            token = await self._store.run(tokens.by_digest(digest, time.time_ns() // 1000, self._keys))
            if token is None:
                return None
            known = self._grant_of(token, digest)
            _remember(self._known, digest, (self._now() + REMEMBER_S, known))
        return known

    async def _by_session(self, secret: str) -> Grant | None:
        """The grant of the token that a session was made with; it never outlives that."""
        name = "session " + secret
        known = self._remembered(name)
        if known is None:
            session = await self._store.run(sessions.find(secret, time.time_ns() // 1000, self._keys))
            granted = await self._by_credential(session.credential) if session is not None else None
            if granted is None:
                return None
            known = replace(granted, session=session)
            _remember(self._known, name, (self._now() + REMEMBER_S, known))
        return known

    def _remembered(self, name: str) -> Grant | None:
        until, grant = self._known.get(name, (-1.0, None))
        return grant if self._now() < until else None

    def _grant_of(self, token: tokens.Token, digest: str) -> Grant:
        who = f"token {token.name!r}"
        ends_us = 0 if token.expires_at is UNSET else from_datetime(token.expires_at)
        grant = Grant(
            who, token.scope, token.tasks, token_id=token.id, name=token.name, credential=digest, ends_us=ends_us
        )
        if token.scope != "run":
            return grant
        meter = self._meters.get(token.id)
        if meter is None or meter.quota != token.quota:
            meter = Meter(who, token.quota, self._now)
        _remember(self._meters, token.id, meter)
        return replace(grant, quota=token.quota, meter=meter)

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


def _authorization(scope: Connection) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"authorization"), b"")


def _remember(store: OrderedDict[K, V], key: K, value: V) -> None:
    store[key] = value
    store.move_to_end(key)
    while len(store) > MAX_REMEMBERED:
        store.popitem(last=False)
