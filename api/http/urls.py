"""Absolute URLs as the client of a request would write them: with its own scheme, host and prefix."""

from functools import lru_cache
from typing import Final

from litestar.types import Scope

FALLBACK_HOST: Final = b"localhost"


class Urls:
    """The URLs under one base, such as ``http://localhost:9477``. ``schemas`` is where JSON Schemas are served."""

    __slots__ = ("base", "error", "run", "schemas")

    def __init__(self, base: str) -> None:
        self.base = base
        self.schemas = base + "/schemas/"
        self.run = self.schema("Run")
        self.error = self.schema("ErrorModel")

    def schema(self, name: str) -> str:
        """The URL of the JSON Schema called *name*."""
        return f"{self.schemas}{name}.json"


def urls_of(scope: Scope) -> Urls:
    """The URLs as the client of this request would write them."""
    host = next((value for name, value in scope["headers"] if name == b"host"), FALLBACK_HOST)
    return _urls(scope["scheme"], host, scope.get("root_path", ""))


# Clients choose the host, so the cache is bounded.
@lru_cache(maxsize=256)
def _urls(scheme: str, host: bytes, prefix: str) -> Urls:
    return Urls(f"{scheme}://{host.decode('latin-1') or FALLBACK_HOST.decode()}{prefix}")
