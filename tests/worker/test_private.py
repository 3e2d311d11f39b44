"""What a worker keeps from runs, and how it comes to know of it."""

import contextlib
from pathlib import Path

import msgspec
import pytest

from shared.errors import StoreUnavailable
from shared.settings import Settings
from shared.store import open_store, tasks
from shared.store.redis.call import Call, Key, as_is
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define
from tests.system.proxy import Proxy
from tests.waiting import wait_until
from worker.execution.secrets import FRESH_S, WHOLE_S, KnownSecrets

VICTIM = "the value of another task"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def put(store: Store, **secrets: str) -> None:
    store.run(tasks.apply([(task := Task(name="victim", run="true", secrets=secrets), define(task))]))


def test_variables_of_every_tasks_secrets_and_their_values_are_private(store: Store) -> None:
    put(store, A="x ${VICTIM} ${OTHER}", B="$${NOT_ONE}", C="${HOME}/.key", D="plain")
    private = KnownSecrets(store, {"VICTIM": VICTIM, "HOME": "/home/somebody", "PLAIN": "not a secret"})
    private.refresh()
    assert private.variables == {"VICTIM", "OTHER"}
    assert private.values == {VICTIM}
    assert private.mask().text(f"{VICTIM} /home/somebody") == "[redacted] /home/somebody"


def test_a_new_secret_is_known_within_a_second_and_none_is_forgotten(store: Store) -> None:
    clock = Clock()
    private = KnownSecrets(store, {}, clock)
    put(store, A="${FIRST}")
    private.refresh()
    put(store, A="${SECOND}")
    clock.now_s += FRESH_S / 2
    private.refresh()
    assert private.variables == {"FIRST"}
    clock.now_s += FRESH_S / 2
    private.refresh()
    assert private.variables == {"FIRST", "SECOND"}


def test_what_was_hidden_behind_an_old_version_is_found_after_a_while(store: Store) -> None:
    clock = Clock()
    private = KnownSecrets(store, {}, clock)
    put(store, A="${FIRST}")
    private.refresh()
    put(store, A="${SECOND}")
    store.run(Call("SET", (Key("secret-variables:version"), 1), as_is))  # as of a store that was set back
    clock.now_s += WHOLE_S / 2
    private.refresh()
    assert private.variables == {"FIRST"}
    clock.now_s += WHOLE_S / 2 + 1
    private.refresh()
    assert private.variables == {"FIRST", "SECOND"}


@pytest.mark.damaged
def test_a_version_that_is_no_number_hides_nothing(store: Store) -> None:
    put(store, A="${FIRST}")
    store.run(Call("SET", (Key("secret-variables:version"), b"\xff no number"), as_is))
    private = KnownSecrets(store, {})
    private.refresh()
    assert private.variables == {"FIRST"}


@pytest.mark.damaged
def test_a_worker_that_cannot_read_what_is_secret_starts_nothing(store: Store) -> None:
    put(store, A="${FIRST}")
    store.run(Call("SET", (Key("secret-variables"), "no hash"), as_is))
    private = KnownSecrets(store, {})
    with pytest.raises(StoreUnavailable, match="what tasks make secrets of cannot be read"):
        private.refresh()
    store.run(Call("DEL", (Key("secret-variables"),), as_is))
    private.refresh()  # asked again at once


def refreshed(private: KnownSecrets) -> bool:
    with contextlib.suppress(StoreUnavailable):
        private.refresh()
        return True
    return False


def test_unknown_secrets_are_waited_for_and_known_ones_are_used(
    store: Store, settings: Settings, short_path: Path
) -> None:
    clock = Clock()
    real, nowhere = Path(settings.redis_url.removeprefix("unix://")), short_path / "n"
    with Proxy(short_path / "p", nowhere).serving() as proxy:
        away = open_store(msgspec.structs.replace(settings, redis_url=proxy.url, redis_timeout_s=0.5))
        try:
            put(store, A="${FIRST}")
            private = KnownSecrets(away, {}, clock)
            with pytest.raises(StoreUnavailable):
                private.refresh()
            proxy.lead_to(real)
            wait_until(lambda: refreshed(private), "Redis is there")
            assert private.variables == {"FIRST"}
            proxy.lead_to(nowhere)
            clock.now_s += FRESH_S
            private.refresh()
            assert private.variables == {"FIRST"}
        finally:
            away.close()


def test_our_own_secrets_are_shown_nowhere(store: Store) -> None:
    environ = {
        "RUNFLEET_SECRET": "the secret that signs",
        "RUNFLEET_TOKEN": "rf_the_bootstrap_token",
        "REDIS_URL": "rediss://me:p%40ssword%21@host:6379/0",
        "OPENLINEAGE_API_KEY": "key-of-the-catalog",
    }
    text = KnownSecrets(store, environ).mask().text
    for secret in (*environ.values(), "p@ssword!"):
        assert "[redacted]" in text(f"<{secret}>")
    assert text("<rediss://me:p%40ssword%21@host:6379/0>") == "<rediss://me:[redacted]@host:6379/0>"
