"""
What a Redis URL says, checked before anything connects: every mistake in it is one sentence.

``redis://user:password@host:port/0``, ``rediss://`` for TLS, ``unix:///path/of/socket?db=0``, and for Sentinels
``redis+sentinel://user:password@host:port,host:port/service/0``, ``rediss+sentinel://`` when all of them speak TLS.
Passwords are percent-encoded. No sentence repeats user or password.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_cert_reqs")
TLS_FILES: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
SETTINGS: Final = {
    "socket_timeout": "RUNFLEET_REDIS_TIMEOUT",
    "socket_connect_timeout": "RUNFLEET_REDIS_TIMEOUT",
    "timeout": "RUNFLEET_REDIS_TIMEOUT",
    "max_connections": "RUNFLEET_REDIS_POOL",
    "ssl_check_hostname": "RUNFLEET_REDIS_TLS_VERIFY",
    "verify": "RUNFLEET_REDIS_TLS_VERIFY",
}
"""Options of other clients' URLs that are settings of ours."""


class BadUrl(ValueError):
    """A Redis URL that cannot be used; the message says what is wrong with it and what to write."""


class RedisUrl(msgspec.Struct, frozen=True, kw_only=True):
    """
    A Redis URL, taken apart. ``path`` is the socket's, "" unless the scheme is ``unix``. ``hosts`` are the server, or
    the Sentinels when ``service`` is set; ``sentinel_*`` is what these ask for. ``tls`` are the options of TLS.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    username: str | None = None
    password: str | None = None
    db: int = 0
    client_name: str | None = None
    tls: Mapping[str, Any] = {}
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether it asks for TLS."""
        return self.scheme.startswith("rediss")

    @property
    def is_sentinel(self) -> bool:
        """Whether its hosts are Sentinels."""
        return self.scheme.endswith("+sentinel")


def place(url: str) -> str:
    """A Redis URL without user, password and options, to be shown."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "…"
    # An @ after the first / or ? may be a password's that is not percent-encoded: then nothing is shown.
    shown = re.match(r"(?:[^/?#]*@([^/?#@]*)([^?#@]*)(?:\?.*)?|([^/?#@]*)([^?#@]*)(?:\?[^@]*)?)$", rest)
    return f"{scheme}://{''.join(part or '' for part in shown.groups())}" if shown else f"{scheme}://…"


def parse(url: str) -> RedisUrl:
    """Take a URL apart. Raises BadUrl."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise BadUrl(
            f"{scheme + '://' if separator else 'this'} is no Redis URL; write redis://host:6379/0, rediss:// for TLS, "
            "unix:///path/of/socket, redis+sentinel:// or rediss+sentinel://"
        )
    if "#" in url:
        raise BadUrl("it has a #, which ends a URL; in a password write %23")
    try:
        parts = urlsplit(url)
        authority = parts.netloc
    except ValueError as error:
        raise BadUrl(f"{place(url)} is no URL: {error}") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    user_info, at, hosts = authority.rpartition("@")
    user, colon, password = user_info.partition(":")
    found: dict[str, Any] = {
        "scheme": scheme,
        "username": unquote(user) or None if at else None,
        "password": unquote(password) if colon else None,
        "client_name": options.pop("client_name", None),
    }
    if scheme == "unix":
        found |= _socket(hosts, parts.path)
    elif scheme.endswith("+sentinel"):
        found |= _sentinels(hosts, parts.path) | {name: options.pop(name, None) for name in SENTINEL_OPTIONS}
    else:
        found["hosts"] = (_host(hosts, 6379),)
        if "," in hosts:
            raise BadUrl("it names several hosts; Sentinels are redis+sentinel://host:26379,host:26379/service")
        found["db"] = _database(parts.path.strip("/"))
    if "db" in options:
        found["db"] = _database(options.pop("db"))
    found["tls"] = _tls(options, scheme)
    if options:
        raise BadUrl(_unknown(next(iter(options))))
    return RedisUrl(**found)


def _host(text: str, default_port: int) -> tuple[str, int]:
    bracketed = re.fullmatch(r"\[([0-9a-fA-F:.%]+)\](?::(.*))?", text)
    host, _, port = (bracketed[1], ":", bracketed[2] or "") if bracketed else text.partition(":")
    if ":" in port:
        raise BadUrl(f"it has no host and port; write an IPv6 address in brackets: [::1]:{default_port}")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise BadUrl("its port must be a number from 1 to 65535; in a password write / as %2F, ? as %3F and @ as %40")
    return unquote(host) or "localhost", int(port) if port else default_port


def _socket(host: str, path: str) -> dict[str, Any]:
    if host or len(path) < 2:
        raise BadUrl("a socket's URL has its whole path after three slashes: unix:///run/redis.sock")
    return {"path": unquote(path)}


def _sentinels(hosts: str, path: str) -> dict[str, Any]:
    service, *rest = [part for part in path.split("/") if part] or [""]
    if not service or len(rest) > 1:
        raise BadUrl("a Sentinel URL names its service: redis+sentinel://host:26379,host:26379/mymaster/0")
    if not all(hosts.split(",")):
        raise BadUrl("a Sentinel URL names its Sentinels: redis+sentinel://host:26379,host:26379/mymaster/0")
    pairs = tuple(_host(host, 26379) for host in hosts.split(","))
    return {"hosts": pairs, "service": unquote(service), "db": _database(rest[0] if rest else "")}


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise BadUrl(f"its database is {text!r}, which must be a number, as in redis://host:6379/0")
    return int(text or 0)


def _tls(options: dict[str, str], scheme: str) -> dict[str, Any]:
    """The options of TLS, taken out of *options*."""
    found: dict[str, Any] = {name: options.pop(name) for name in TLS_OPTIONS if name in options}
    if found and not scheme.startswith("rediss"):
        secure = scheme.replace("redis", "rediss", 1)
        wanted = f"write {secure}://" if secure != scheme else "a socket has none"
        raise BadUrl(f"{next(iter(found))} is for TLS, which {scheme}:// is not; {wanted}")
    if "ssl_cert_reqs" in found:
        word = found["ssl_cert_reqs"].lower().removeprefix("cert_")
        if word not in ("none", "optional", "required"):
            raise BadUrl(f"ssl_cert_reqs={found['ssl_cert_reqs']} must be none, optional or required")
        found["ssl_cert_reqs"] = word
        if word == "none":
            found["ssl_check_hostname"] = False
    return found


def _unknown(name: str) -> str:
    if name in SETTINGS:
        return f"{name} is a setting, {SETTINGS[name]}, and no option of the URL"
    if name in SENTINEL_OPTIONS:
        return f"{name} is for redis+sentinel:// and rediss+sentinel:// only"
    known = ", ".join(("db", "client_name", *TLS_OPTIONS, *SENTINEL_OPTIONS))
    return f"there is no option {name!r}; known are {known}"
