"""
Random histories of API, scheduler, workers and faults, on the real scripts, against the model.

Time is handed in, so nothing waits. After every step the store must be whole (``check_store``), be what the model says,
and keep the invariants. The histories are the same at every run; ``RUNFLEET_TEST_RANDOM=1`` makes them new ones, and
``RUNFLEET_TEST_HISTORIES=1000`` makes more.
"""

from __future__ import annotations

import os

from hypothesis.stateful import run_state_machine_as_test

from tests.store.machine import budget, machine

HISTORIES = int(os.environ.get("RUNFLEET_TEST_HISTORIES", "200"))


def test_random_histories_agree_with_the_model(valkey_url: str) -> None:
    """F18: any call may be made again, in any state."""
    run_state_machine_as_test(machine(valkey_url), settings=budget(HISTORIES))
