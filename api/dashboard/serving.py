"""
Sends the dashboard: its index for every path that is a page, and the files that the index names.

The index gets two things put in: the path below which we are served, and which of the newer calls this API has. Pages
are the same for everybody and need no token; what they show comes from the API, which asks for one.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable
from functools import lru_cache
from gzip import compress
from html import escape
from pathlib import Path
from typing import Final

import msgspec
from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from api.http.problems import AnyRequest, problem_reply
from api.http.response import Response
from shared.errors import NotFound

BUILT: Final = Path(__file__).with_name("built")

PAGES: Final = (
    "/",
    "/tasks",
    "/tasks/{name:str}",
    "/tasks/{name:str}/run",
    "/tasks/{name:str}/{number:str}",
    "/runs",
    "/runs/{id:str}",
    "/fleet",
    "/sign-in",
)
"""The paths of ``ui/src/routes.ts``; a test compares them."""

OPTIONAL: Final = ("/api/session", "/api/runs/{id}/log/find", "/api/runs/{id}/why")
"""Calls that the dashboard uses where they exist. It is told which do, so that it need not try."""

_GUARDS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        b"font-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'; require-trusted-types-for 'script'; "
        b"trusted-types svelte-trusted-html runfleet-worker",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"vary", b"accept-encoding"),
)
_FOREVER: Final = b"public, max-age=31536000, immutable"
_ASK: Final = b"no-cache"


class File(msgspec.Struct, frozen=True):
    """A file as it is sent: plain and packed."""

    media: bytes
    plain: bytes
    packed: bytes
    caching: bytes
    tag: bytes


def dashboard_routes(calls: Iterable[str]) -> list[HTTPRouteHandler]:
    """
    The handlers of all pages and files, for an API with these *calls*; none when the dashboard was not built.

    A page's path never is below ``/api``, so that nothing here can stand before a call.
    """
    if not (BUILT / "index.html").exists():
        return []
    has = " ".join(path for path in OPTIONAL if path in set(calls))
    index = (BUILT / "index.html").read_text("utf-8").replace('name="runfleet-calls" content="*"', _calls(has))
    files = _files()
    return [_pages(index), _named(files, [f"/{name}" for name in files if "/" not in name]), _assets(files)]


def dashboard_paths() -> list[str]:
    """Every path that the dashboard answers, as Litestar writes it. GET alone, and the same for everybody."""
    named = sorted(f"/{name}" for name in _files() if "/" not in name)
    return [*PAGES, *named, "/assets/{name:str}"]


def _pages(index: str) -> HTTPRouteHandler:
    @lru_cache(maxsize=8)
    def below(root: str) -> File:
        page = index.replace('name="runfleet-root" content=""', f'name="runfleet-root" content="{escape(root)}"')
        return _file("index.html", page.replace('="./', f'="{escape(root)}/').encode(), caching=_ASK)

    @route(list(PAGES), http_method=["GET", "HEAD"], status_code=200)
    async def page(request: AnyRequest) -> ASGIApp:
        return _sent(request, below(request.scope.get("root_path", "").rstrip("/")))

    return page


def _named(files: dict[str, File], paths: list[str]) -> HTTPRouteHandler:
    @route(paths, http_method=["GET", "HEAD"], status_code=200)
    async def named(request: AnyRequest) -> ASGIApp:
        return _sent(request, files[request.scope["path"].rpartition("/")[2]])

    return named


def _assets(files: dict[str, File]) -> HTTPRouteHandler:
    @route("/assets/{name:str}", http_method=["GET", "HEAD"], status_code=200)
    async def asset(request: AnyRequest) -> ASGIApp:
        name = f"assets/{request.scope['path_params']['name']}"
        if name not in files:
            return problem_reply(NotFound(f"there is no file {name} in this release"), request.scope)
        return _sent(request, files[name])

    return asset


def _sent(request: AnyRequest, file: File) -> Response:
    caching = ((b"cache-control", file.caching), (b"etag", file.tag))
    if request.headers.get("if-none-match") == file.tag.decode():
        return Response(status=304, media=file.media, headers=(*_GUARDS, *caching))
    if "gzip" in request.headers.get("accept-encoding", ""):
        packing = (*_GUARDS, *caching, (b"content-encoding", b"gzip"))
        return Response(file.packed, media=file.media, headers=packing)
    return Response(file.plain, media=file.media, headers=(*_GUARDS, *caching))


def _files() -> dict[str, File]:
    """What was built, by its path below ``built/``, but for the index."""
    found: dict[str, File] = {}
    for path in sorted(BUILT.rglob("*.gz")):
        name = path.relative_to(BUILT).as_posix().removesuffix(".gz")
        if name != "index.html":
            caching = _FOREVER if name.startswith("assets/") else _ASK
            found[name] = _file(name, path.with_suffix("").read_bytes(), path.read_bytes(), caching=caching)
    return found


def _file(name: str, plain: bytes, packed: bytes = b"", *, caching: bytes) -> File:
    media = mimetypes.types_map.get(Path(name).suffix, "application/octet-stream")
    text = media.startswith("text/") or media.endswith(("javascript", "xml"))
    return File(
        media=(media + "; charset=utf-8" if text else media).encode(),
        plain=plain,
        packed=packed or compress(plain, mtime=0),
        caching=caching,
        tag=b'"%s"' % hashlib.sha256(plain).hexdigest()[:20].encode(),
    )


def _calls(has: str) -> str:
    return f'name="runfleet-calls" content="{escape(has)}"'
