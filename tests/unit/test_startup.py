"""What a process says of its settings when it starts: no secret for a Redis elsewhere, names that are misspelt."""

import pytest

from shared.addresses import is_local
from shared.errors import Misconfigured
from shared.settings import Settings
from shared.startup import begin, misspelt, require_secret
from shared.telemetry import Log


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/valkey.sock",
        "redis://localhost:6379/0",
        "redis://127.0.0.1",
        "rediss://user:pass@word@127.8.9.1:6380/2",
        "redis://[::1]:6379",
        "redis+sentinel://localhost:26379,127.0.0.1:26380/mymaster/0",
    ],
)
def test_a_redis_of_this_machine_needs_no_secret(url: str) -> None:
    assert is_local(url)
    require_secret(Settings(redis_url=url))


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis:6379/0",
        "rediss://user:localhost@db.example.com:6380",
        "redis://10.0.0.7",
        "redis://localhost.example.com",
        "redis://0.0.0.0:6379",
        "redis+sentinel://localhost:26379,10.0.0.7:26379/mymaster/0",
        "redis://[::1",
    ],
)
def test_a_remote_redis_needs_a_secret_or_explicit_permission(url: str) -> None:
    with pytest.raises(Misconfigured, match=r"RUNFLEET_SECRET is not set.*RUNFLEET_UNSIGNED=on"):
        require_secret(Settings(redis_url=url))
    require_secret(Settings(redis_url=url, secret="sixteen characters"))
    require_secret(Settings(redis_url=url, unsigned=True))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RUNFLEET_QUEUE", "RUNFLEET_QUEUES"),
        ("RUNFLEET_LOGLEVEL", "RUNFLEET_LOG_LEVEL"),
        ("RUNFLEET_SECRETS", "RUNFLEET_SECRET"),
        ("RUNFLEET_WORKER_THREAD", "RUNFLEET_WORKER_THREADS"),
        ("RUNFLEET_redis_url", "RUNFLEET_REDIS_URL"),
    ],
)
def test_a_misspelt_setting_is_found(name: str, meant: str) -> None:
    assert misspelt({name: "x"}) == {name: meant}


@pytest.mark.parametrize(
    "name",
    [
        "RUNFLEET_QUEUES",
        "RUNFLEET_MY_OWN",
        "RUNFLEET_TASK",
        "RUNFLEET_OUTPUT",
        "RUNFLEET_PARAM_SECRET",
        "RUNFLEET_SECRET_0190A1B2_0000_7000_8000_000000000000",
        "QUEUES",
    ],
)
def test_what_is_a_setting_or_like_none_is_left_alone(name: str) -> None:
    assert misspelt({name: "x"}) == {}


def test_all_oddities_are_logged_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    begin(Settings(redis_url="unix:///x"), Log("api"), {"RUNFLEET_QUEUE": "mail"})
    said = capsys.readouterr().out
    assert "event=definitions.unsigned" in said
    assert "event=settings.unknown name=RUNFLEET_QUEUE nearest=RUNFLEET_QUEUES" in said
