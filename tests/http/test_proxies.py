"""Whose address counts behind proxies, and what is refused."""

import asyncio
from typing import Any

import pytest

from api.http.proxies import Proxies, trusted_networks
from shared.errors import Misconfigured
from shared.settings import Settings
from tests.http.test_process import environment, refusal


def seen(
    peer: str, *told: str, hops: int = 1, trusted: str = "10.0.0.0/8", kind: str = "http", proto: str = ""
) -> tuple[str, str]:
    """The address and scheme that the application sees."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    headers = [(b"x-forwarded-for", one.encode()) for one in told]
    headers += [(b"x-forwarded-proto", proto.encode())] if proto else []
    plain = "ws" if kind == "websocket" else "http"
    scope: Any = {"type": kind, "client": (peer, 5), "scheme": plain, "headers": headers}
    unused: Any = None
    asyncio.run(Proxies(app, trusted_networks(trusted), hops)(scope, unused, unused))
    return scopes[0]["client"][0], scopes[0]["scheme"]


def test_the_last_address_counts_and_none_that_the_client_wrote() -> None:
    assert seen("10.0.0.1", "6.6.6.6, 1.2.3.4")[0] == "1.2.3.4"
    assert seen("10.0.0.1", "6.6.6.6", "1.2.3.4")[0] == "1.2.3.4"
    assert seen("10.0.0.1", "6.6.6.6, 10.9.9.9")[0] == "10.9.9.9", "one hop is one entry"


def test_addresses_added_by_several_proxies_are_skipped() -> None:
    assert seen("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", hops=2)[0] == "1.2.3.4"
    assert seen("10.0.0.1", "6.6.6.6, 1.2.3.4", hops=2)[0] == "1.2.3.4", "an address that is no proxy's ends it"
    assert seen("10.0.0.1", "6.6.6.6, 10.0.0.3, 10.0.0.2", hops=2)[0] == "10.0.0.3"


def test_headers_of_an_untrusted_proxy_are_ignored() -> None:
    assert seen("9.9.9.9", "1.2.3.4", proto="https") == ("9.9.9.9", "http")


@pytest.mark.parametrize("told", ["", "unknown", "1.2.3.4, junk", "999.1.1.1"])
def test_an_invalid_address_is_skipped(told: str) -> None:
    assert seen("10.0.0.1", told)[0] == "10.0.0.1"


@pytest.mark.parametrize(
    ("told", "found"),
    [("1.2.3.4:5678", "1.2.3.4"), ("[2001:db8::1]:80", "2001:db8::1"), ("2001:db8::1", "2001:db8::1")],
)
def test_an_address_may_have_a_port(told: str, found: str) -> None:
    assert seen("10.0.0.1", told)[0] == found


def test_the_scheme_is_the_proxy_s() -> None:
    assert seen("10.0.0.1", proto="https")[1] == "https"
    assert seen("10.0.0.1", proto="https", kind="websocket")[1] == "wss"
    assert seen("10.0.0.1", proto="gopher")[1] == "http"


@pytest.mark.parametrize("text", ["*", "10.0.0.1,*", "0.0.0.0/0", "::/0", "proxy.example"])
def test_a_network_of_all_addresses_is_no_proxy(settings: Settings, text: str) -> None:
    with pytest.raises(Misconfigured, match=r"such as 10\.0\.0\.0/8"):
        trusted_networks(text)


def test_the_process_says_so_and_does_not_start(settings: Settings) -> None:
    said = refusal(environment(settings, FORWARDED_ALLOW_IPS="*"))
    assert "FORWARDED_ALLOW_IPS=* lets every client choose its address" in said
