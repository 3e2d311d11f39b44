"""
A faster HTTP transport for OpenLineage events, over one kept connection.

The client's transport takes a millisecond per event, mostly to compute again what is the same for all events. This one
asks it once for address, headers, proxies and certificates. Other features (proxies, compression, custom sessions,
other transports) are left to the client's transport, and so is every event that was not accepted at the first attempt.
"""

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
    """The server refused the event; a retry would not help."""


class Busy(Exception):
    """The server is busy (408, 425, 429); it may accept the event later."""


LATER: Final = (408, 425, 429)


class FastTransport:
    """A transport for one thread. Created by ``fast_transport``."""

    def __init__(self, transport: HttpTransport, url: str, connection: Connection) -> None:
        self._transport = transport
        self._url = url
        self._connection = connection
        self._bearer: str | None = None
        self._path, self._headers = self._prepare(None)

    def post(self, body: bytes) -> bool:
        """
        Send an event as JSON; False without a success, though it may have been accepted. Raises Refused and Busy.

        May also raise the exceptions of a token provider.
        """
        bearer = self._transport.config.auth.get_bearer()  # renews an expired one
        if bearer != self._bearer:
            self._bearer = bearer
            self._path, self._headers = self._prepare(bearer)
        try:
            status = self._connection.post(self._path, self._headers, body)
        except OSError:
            return False
        if status in LATER:
            raise Busy(f"{self._url} answered {status} repeatedly")
        if 400 <= status < 500:
            raise Refused(f"{self._url} answered {status}")
        return 200 <= status < 300

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _prepare(self, bearer: str | None) -> tuple[str, dict[str, str | bytes]]:
        headers = JSON | ({"Authorization": bearer} if bearer else {}) | self._transport.config.custom_headers
        prepared = self._transport.session.prepare_request(requests.Request("POST", self._url, headers))
        own = {name: value for name, value in prepared.headers.items() if name != "Content-Length"}
        return prepared.path_url, own


def fast_transport(transport: Any) -> FastTransport | None:
    """A faster replacement of *transport*; None if it has features that only itself supports."""
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
    return FastTransport(transport, url, Connection(parts.hostname, port, transport.timeout, tls))


def _tls(verify: bool | str, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    """The TLS context for the settings of these names in ``requests``."""
    trusted = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
    is_folder = os.path.isdir(trusted)
    context = ssl.create_default_context(cafile=None if is_folder else trusted, capath=trusted if is_folder else None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    return context
