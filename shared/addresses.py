"""The addresses of this machine only: one rule for Redis URLs, for where the API listens, and for the doctor."""

import ipaddress
import re
import socket
from typing import Final

from shared.redis_url import BadUrl, parse

_NUMBERS: Final = re.compile(r"[0-9a-fx.]+", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """
    Whether *host*, an address or a name without a port, can only be this machine.

    Addresses count in every form that a connection takes: ``::1``, ``::ffff:127.0.0.1``, ``127.1``. The only name that
    counts is ``localhost``: what another name leads to is up to whoever answers for it, and may be another machine by
    the next connection, so no name server is asked. ``0.0.0.0``, ``::`` and "" are all addresses of this machine,
    which others reach too.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_short_loopback(host) or host.lower().removesuffix(".") == "localhost"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def is_local(redis_url: str) -> bool:
    """Whether that Redis, or each of its Sentinels, is one of this machine: a Unix socket, or a loopback address."""
    try:
        return all(is_loopback(host) for host, _ in parse(redis_url).hosts)
    except BadUrl:
        return False


def _is_short_loopback(host: str) -> bool:
    """Whether it is an IPv4 address with fewer than four numbers, or ones with a base, as the system reads them."""
    if not _NUMBERS.fullmatch(host):
        return False
    try:
        return socket.inet_aton(host)[0] == 127
    except OSError:
        return False
