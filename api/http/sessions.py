"""
How a browser's session travels: a cookie, and what a request with it must show so that no other page can have made it.

The rules are those of ``SameSite=Lax`` and a token against cross-site request forgery, with two headers of the browser
as a second wall: ``Origin`` and ``Sec-Fetch-Site``.
"""

import hmac
from typing import Final

from litestar.types import Scope as Connection

from shared.errors import Forbidden
from shared.store.sessions import LIFE_S

CSRF_HEADER: Final = b"x-runfleet-csrf"
_SAFE: Final = ("GET", "HEAD")
_OWN_SITE: Final = ("same-origin", "none")


def session_id(scope: Connection) -> str:
    """The id of the session that the request's cookie names; "" without one."""
    name = _name(scope)
    for key, value in scope["headers"]:
        if key != b"cookie":
            continue
        for pair in value.decode("latin-1").split(";"):
            found, _, text = pair.strip().partition("=")
            if found == name:
                return text
    return ""


def session_cookie(scope: Connection, secret: str) -> tuple[bytes, bytes]:
    """The header that sets the cookie to *secret*; "" removes it."""
    is_tls = scope["scheme"] in ("https", "wss")
    parts = [f"{_name(scope)}={secret}", f"Path={_prefix(scope) or '/'}", "HttpOnly", "SameSite=Lax"]
    parts += ["Secure"] if is_tls else []
    parts.append(f"Max-Age={LIFE_S if secret else 0}")
    return b"set-cookie", "; ".join(parts).encode("latin-1")


def refuse_other_origins(scope: Connection) -> None:
    """Raises Forbidden for what the browser says was sent by a page of another origin."""
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"")
    origin = headers.get(b"origin", b"")
    if origin and origin.partition(b"://")[2] != host:
        raise Forbidden(
            f"a session takes no requests from pages of {origin.decode('latin-1')}; a proxy must pass on the browser's "
            "Host header unchanged"
        )
    site = headers.get(b"sec-fetch-site", b"none").decode("latin-1")
    if site not in _OWN_SITE:
        raise Forbidden(f"a session takes requests of its own pages only; this one is {site} (Sec-Fetch-Site)")


def check_request(scope: Connection, csrf: str) -> None:
    """
    Raises Forbidden for a request by cookie that another page may have made: a change without the session's *csrf*
    token, or a change, stream or WebSocket of another origin.
    """
    method = scope.get("method", "")  # a WebSocket has none
    changes = bool(method) and method not in _SAFE
    if changes or not method or scope["path"].endswith("/stream"):
        refuse_other_origins(scope)
    if not changes:
        return
    sent = next((value for name, value in scope["headers"] if name == CSRF_HEADER), b"")
    if not hmac.compare_digest(sent, csrf.encode()):
        raise Forbidden("a change by cookie needs the header X-Runfleet-CSRF with the csrf value of GET /api/session")


def _name(scope: Connection) -> str:
    """
    ``__Host-`` and ``__Secure-`` make browsers refuse the cookie from an insecure page or another host; the first also
    demands ``Path=/`` (RFC 6265bis, 4.1.3).
    """
    if scope["scheme"] not in ("https", "wss"):
        return "runfleet"
    return "__Secure-runfleet" if _prefix(scope) else "__Host-runfleet"


def _prefix(scope: Connection) -> str:
    return str(scope.get("root_path", "")).rstrip("/")
