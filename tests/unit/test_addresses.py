"""Which addresses are of this machine only."""

import socket

import pytest

from api.__main__ import require_safe_address
from shared.addresses import is_local, is_loopback
from shared.cli.redis_findings import transport
from shared.errors import Misconfigured
from shared.settings import Settings

OURS = [
    "127.0.0.1",
    "127.255.255.254",
    "127.1",
    "0x7f.1",
    "2130706433",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::1%lo",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "localhost",
    "LOCALHOST",
    "localhost.",
]
OTHERS = [
    "0.0.0.0",
    "0",
    "::",
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.7",
    "10.0.0.7",
    "128.1",
    "127.1.example.com",
    "127.0.0.1.",
    "127.0.0.1 10.0.0.7",
    "localhost..",
    "localhost.example.com",
    "redis",
    "beef",
    "é",
    "fe80::1%lo",
]


@pytest.mark.parametrize("host", OURS)
def test_an_address_of_this_machine_is_known_in_every_form(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [*OTHERS, ""])
def test_what_others_may_reach_or_may_be_elsewhere_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["ip6-localhost", "redis.localhost", "redis"])
def test_no_name_counts_for_what_a_name_server_says_of_it(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def leads_here(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    for asked in ("getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, asked, leads_here)
    assert not is_loopback(host)
    assert not is_local(f"redis://{host}:6379")


def in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@pytest.mark.parametrize("host", [host for host in OURS if "%" not in host])  # no URL of ours has zones
def test_a_local_host_is_local_everywhere(host: str) -> None:
    url = f"redis://user:p%40ss@{in_url(host)}:6379/0"
    assert is_local(url)
    assert transport(Settings(redis_url=url))[0].level == "ok"
    require_safe_address(Settings(host=host))
    require_safe_address(Settings(host=host, open=True))


@pytest.mark.parametrize("host", [host for host in OTHERS if " " not in host])
def test_a_foreign_host_is_foreign_everywhere(host: str) -> None:
    url = f"redis://{in_url(host)}:6379/0"
    assert not is_local(url)
    assert transport(Settings(redis_url=url))[0].level == "warning"
    with pytest.raises(Misconfigured, match="needs a token"):
        require_safe_address(Settings(host=host))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///run/valkey.sock", True),
        ("unix:///run/valkey.sock?db=2", True),
        ("redis://", True),
        ("redis://:6380", True),
        ("redis://user@localhost@10.0.0.7", False),
        ("redis+sentinel://[::1]:26379,127.1:26380/mymaster/0", True),
        ("redis+sentinel://localhost:26379,10.0.0.7/mymaster", False),
        ("redis://[::1", False),
        ("http://localhost", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_a_redis_is_local_if_all_that_it_may_be_is(url: str, expected: bool) -> None:
    assert is_local(url) is expected
