"""
Posts events to where the HTTP transport of OpenLineage's client would, over one connection that is kept.

That transport takes a millisecond for each event, most of it to find out again what is the same for all of them. Here
it and its library are asked once for address, headers, proxies and certificates. What they do that is not done here
(proxies, compression, sessions of one's own, other transports) is left to them, and so is every event that was not
taken at the first go: they know when to try again.
"""

from __future__ import annotations

import os
import ssl
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from openlineage.client.transport.http import HttpTransport
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from shared.lineage.connection import Connection

JSON: Final = {"Content-Type": "application/json"}


class Refused(Exception):
    """The other side understood and won't have the event; it would not have it a second time."""


class Busy(Exception):
    """The other side asks for patience (408, 429): it would take the event later."""


LATER: Final = (408, 425, 429)


class Posting:
    """For one thread. Made by ``posting_of``."""

    def __init__(self, transport: HttpTransport, url: str, connection: Connection) -> None:
        self._transport = transport
        self._url = url
        self._connection = connection
        self._bearer: str | None = None
        self._path, self._headers = self._prepare(None)

    def post(self, body: bytes) -> bool:
        """
        Whether the event, as JSON, was taken; it may have been even if nobody said so. Raises Refused and Busy.

        May raise whatever a provider of tokens does.
        """
        bearer = self._transport.config.auth.get_bearer()  # one that expires is renewed in there
        if bearer != self._bearer:
            self._bearer = bearer
            self._path, self._headers = self._prepare(bearer)
        try:
            status = self._connection.post(self._path, self._headers, body)
        except OSError:
            return False
        if status in LATER:
            raise Busy(f"{self._url} answered {status}, again and again")
        if 400 <= status < 500:
            raise Refused(f"{self._url} answered {status}")
        return 200 <= status < 300

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _prepare(self, bearer: str | None) -> tuple[str, dict[str, str | bytes]]:
        headers = JSON | ({"Authorization": bearer} if bearer else {}) | self._transport.config.custom_headers
        prepared = self._transport.session.prepare_request(requests.Request("POST", self._url, headers))
        own = {name: value for name, value in prepared.headers.items() if name != "Content-Length"}
        return prepared.path_url, own


def posting_of(transport: Any) -> Posting | None:
    """A posting to where *transport* leads, None if that is better left to it."""
    if type(transport) is not HttpTransport or transport.compression or transport.config.adapter:
        return None
    url = urljoin(transport.url, transport.endpoint)
    parts = urlsplit(url)
    given = getattr(transport, "cert", None)  # there since 1.54
    settings = transport.session.merge_environment_settings(url, {}, False, transport.verify, given)
    if transport.config.session or select_proxy(url, settings["proxies"]) or not parts.hostname:
        return None
    is_safe = parts.scheme == "https"
    tls = _tls(settings["verify"], settings["cert"]) if is_safe else None
    port = parts.port or (443 if is_safe else 80)
    return Posting(transport, url, Connection(parts.hostname, port, transport.timeout, tls))


def _tls(verify: bool | str, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    """What ``requests`` makes of its settings of these names."""
    trusted = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
    is_folder = os.path.isdir(trusted)
    context = ssl.create_default_context(cafile=None if is_folder else trusted, capath=trusted if is_folder else None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    return context
