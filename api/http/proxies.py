"""
The address of a client behind trusted proxies.

A proxy's headers about its client (``X-Forwarded-For``, ``X-Forwarded-Proto``) count only when the proxy's own address
is in ``FORWARDED_ALLOW_IPS``. In a list of addresses only the last ones count, which trusted proxies added: the client
may have written the others itself.
"""

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from litestar.types import ASGIApp, Receive, Send

from shared.errors import Misconfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

VARIABLE = "FORWARDED_ALLOW_IPS"


def trusted_networks(text: str) -> list[Network]:
    """
    The comma-separated addresses and networks in *text*; those of this machine by default.

    Raises Misconfigured for an invalid entry, and for a network of all addresses: then each client could choose its
    own.
    """
    found: list[Network] = []
    for part in (text or "127.0.0.1,::1").replace(" ", "").split(","):
        network: Network | None = None
        with suppress(ValueError):
            network = ipaddress.ip_network(part, strict=False)
        if part == "*" or (network is not None and network.prefixlen == 0):
            raise Misconfigured(
                f"{VARIABLE}={text} lets every client choose its address; write the addresses or networks of your "
                "proxies instead, such as 10.0.0.0/8"
            )
        if network is None:
            raise Misconfigured(
                f"{VARIABLE}={text}: {part!r} is no address or network; list your proxies, such as 10.0.0.0/8"
            )
        found.append(network)
    return found


class Proxies:
    """ASGI middleware that sets the client's address and scheme as forwarded by a trusted proxy."""

    def __init__(self, app: ASGIApp, networks: Sequence[Network], hops: int) -> None:
        self._app = app
        self._networks = networks
        self._hops = hops

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        client = scope.get("client")
        if client and scope["type"] in ("http", "websocket") and self._is_trusted(client[0]):
            self._look(scope, client[0])
        await self._app(scope, receive, send)

    def _look(self, scope: Any, peer: str) -> None:
        forwarded: list[str] = []
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                forwarded += [part.strip() for part in value.decode("latin-1").split(",")]
            elif name == b"x-forwarded-proto":
                proto = value.decode("latin-1").rpartition(",")[2].strip().lower()
                if proto in ("http", "https", "ws", "wss"):
                    is_safe = proto in ("https", "wss")
                    plain = "ws" if scope["type"] == "websocket" else "http"
                    scope["scheme"] = plain + "s" if is_safe else plain
        found = peer
        for entry in reversed(forwarded[-self._hops :]):
            address = _address(entry)
            if not address:
                break
            found = address
            if not self._is_trusted(address):
                break
        if found != peer:
            scope["client"] = (found, 0)

    def _is_trusted(self, address: str) -> bool:
        try:
            one = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(one in network for network in self._networks)


def _address(text: str) -> str:
    """The address in an entry, without its port; "" when it is invalid."""
    bare = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""
