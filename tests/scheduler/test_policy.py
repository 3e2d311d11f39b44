"""An eviction policy that is changed while the fleet runs is noticed."""

import pytest
import redis

from scheduler.loop import CHECK_S, Loop
from shared.settings import Settings
from tests.store.harness import SECOND, StoreHarness


def test_a_policy_that_is_changed_at_run_time_is_reported_until_it_is_mended(
    settings: Settings, valkey_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harness = StoreHarness(settings)
    loop = Loop(harness, "s", clock=lambda: harness.now / SECOND)
    loop.tick()
    assert loop.troubles.current() == {}
    with redis.Redis.from_url(valkey_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            harness.pass_s(CHECK_S + 1)
            loop.tick()
            assert "allkeys-lru" in str(loop.troubles.current())
            assert "CONFIG SET maxmemory-policy noeviction" in str(loop.troubles.current())
            assert "event=store.evicts" in capsys.readouterr().out
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    harness.pass_s(CHECK_S + 1)
    loop.tick()
    assert loop.troubles.current() == {}
    harness.close()
