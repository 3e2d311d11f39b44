"""
Random histories of API, scheduler, workers, others and faults, on the real scripts, against the model.

Time is handed in, so nothing waits. After every step the store must be whole (``check_store``), be what the model says,
and keep the invariants. Some histories are the same at every run; others are those of a new seed, which a failure
names: ``RUNFLEET_TEST_SEED=4711`` plays them again, and ``RUNFLEET_TEST_HISTORIES=1000`` plays more.
"""

import os
import secrets

import pytest

from tests.store.machine import play

HISTORIES = int(os.environ.get("RUNFLEET_TEST_HISTORIES", "100"))
NEW = int(os.environ.get("RUNFLEET_TEST_HISTORIES", "40"))
SEED = int(os.environ.get("RUNFLEET_TEST_SEED") or secrets.randbits(32))
pytestmark = pytest.mark.timeout(300 + max(HISTORIES, NEW))


def test_random_histories_agree_with_the_model(valkey_url: str) -> None:
    """F18: any call may be made again, in any state."""
    play(valkey_url, HISTORIES)


def test_histories_that_were_never_played_before_agree_with_the_model(valkey_url: str) -> None:
    try:
        play(valkey_url, NEW, seed_=SEED)
    except BaseException as error:
        error.add_note(f"RUNFLEET_TEST_SEED={SEED} RUNFLEET_TEST_HISTORIES={NEW} plays these histories again")
        raise
