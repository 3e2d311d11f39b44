"""A Redis URL says where everything is, or one sentence says what is wrong with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Misconfigured
from shared.redis_url import BadUrl, RedisUrl, parse, place
from shared.settings import read_settings


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://", RedisUrl(scheme="redis", hosts=(("localhost", 6379),))),
        ("redis://h", RedisUrl(scheme="redis", hosts=(("h", 6379),))),
        ("redis://h:1/2", RedisUrl(scheme="redis", hosts=(("h", 1),), db=2)),
        ("redis://h/?db=3", RedisUrl(scheme="redis", hosts=(("h", 6379),), db=3)),
        ("redis://[::1]:7/", RedisUrl(scheme="redis", hosts=(("::1", 7),))),
        ("redis://:p%40%2Fw@h", RedisUrl(scheme="redis", hosts=(("h", 6379),), password="p@/w")),
        ("redis://me:p:w@h", RedisUrl(scheme="redis", hosts=(("h", 6379),), username="me", password="p:w")),
        ("unix:///run/a%20b?db=1", RedisUrl(scheme="unix", path="/run/a b", db=1)),
        ("rediss://h?ssl_cert_reqs=CERT_NONE",
         RedisUrl(scheme="rediss", hosts=(("h", 6379),), tls={"ssl_cert_reqs": "none", "ssl_check_hostname": False})),
        ("redis+sentinel://a,b:7/mine",
         RedisUrl(scheme="redis+sentinel", hosts=(("a", 26379), ("b", 7)), service="mine")),
        ("rediss+sentinel://u:p%25@a/mine/4?sentinel_password=s%26",
         RedisUrl(scheme="rediss+sentinel", hosts=(("a", 26379),), service="mine", username="u", password="p%", db=4,
                  sentinel_password="s&")),
    ],
)  # fmt: skip
def test_a_url_says_where_everything_is(url: str, wanted: RedisUrl) -> None:
    assert parse(url) == wanted


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("mysql://h", "mysql:// is no Redis URL; write redis://"),
        ("localhost:6379", "write redis://host:6379/0"),
        ("redis://h/abc", "database is 'abc', which must be a number"),
        ("redis://h/-1", "must be a number"),
        ("redis://h?db=x", "must be a number"),
        ("redis://h:port", "must be a number from 1 to 65535"),
        ("redis://h:70000", "must be a number from 1 to 65535"),
        ("redis://u:secret/x@h", "write / as %2F"),
        ("redis://u:secret#x@h", "write %23"),
        ("redis://::1:6379", "in brackets"),
        ("redis://[::1", "is no URL"),
        ("redis://a,b", "redis+sentinel://"),
        ("redis://h?socket_timeout=3", "RUNFLEET_REDIS_TIMEOUT"),
        ("redis://h?max_connections=3", "RUNFLEET_REDIS_POOL"),
        ("redis://h?colour=blue", "there is no option 'colour'; known are db,"),
        ("redis://h?ssl_ca_certs=x", "write rediss://"),
        ("unix:///s?ssl_ca_certs=x", "a socket has none"),
        ("rediss://h?ssl_cert_reqs=perhaps", "none, optional or required"),
        ("redis://h?sentinel_password=x", "for redis+sentinel://"),
        ("unix://run/redis.sock", "three slashes: unix:///run/redis.sock"),
        ("unix://", "three slashes"),
        ("redis+sentinel://h:1", "names its service"),
        ("redis+sentinel:///mine", "names its Sentinels"),
        ("redis+sentinel://a,,b/mine", "names its Sentinels"),
        ("redis+sentinel://a/mine/x", "must be a number"),
        ("redis+sentinel://a/mine/0/1", "names its service"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_cure(url: str, cure: str) -> None:
    with pytest.raises(BadUrl) as caught:
        parse(url)
    said = str(caught.value)
    assert cure in said
    assert "\n" not in said
    with pytest.raises(Misconfigured, match="REDIS_URL") as refused:
        read_settings({"REDIS_URL": url})
    assert "secret" not in str(refused.value)


@given(st.text(alphabet="redis+nlux:/@,?=#&%[]a1 ", max_size=40))
def test_any_text_is_a_url_or_refused_by_name(text: str) -> None:
    try:
        parse("redis://" + text)
    except BadUrl as bad:
        assert str(bad)  # noqa: PT017 - one or the other


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:hunter2@h:1/0?client_name=x", "redis://h:1/0"),
        ("redis+sentinel://u:hunter2@a:1,b:2/m/0?sentinel_password=hunter2", "redis+sentinel://a:1,b:2/m/0"),
        ("redis://u:hun/ter2@h", "redis://…"),
        ("redis://u:hun?ter2@h", "redis://…"),
        ("redis://u:hun#ter2@h", "redis://…"),
        ("hunter2", "…"),
        ("unix:///run/s", "unix:///run/s"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url: str, shown: str) -> None:
    assert place(url) == shown
