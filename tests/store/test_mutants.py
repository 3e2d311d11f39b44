"""Every seeded fault is noticed, and what notices it passes without the fault."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.settings import Settings
from shared.store.redis.call import Call, as_is
from tests.store.consistency import check_store
from tests.store.harness import StoreHarness
from tests.store.machine import play
from tests.store.mutants import MUTANTS
from tests.store.mutation import Mutant, planted

PREFIX = "{mutant}"


def _name(killer: Callable[..., Any]) -> str:
    """Its name, and what it is called with."""
    given = [getattr(value, "__name__", value) for value in getattr(killer, "keywords", {}).values()]
    function = getattr(killer, "func", killer)
    return f"{function.__name__}{given or ''}"


KILLERS = {_name(mutant.killer): mutant.killer for mutant in MUTANTS if mutant.killer is not None}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_seeded_fault_is_noticed(mutant: Mutant, valkey_url: str, tmp_path: Path) -> None:
    with planted(mutant, tmp_path):
        # Only what a test asserts counts, not a script that no longer runs or a test that is called wrongly.
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            _look(mutant, valkey_url)


@pytest.mark.parametrize("killer", KILLERS.values(), ids=list(KILLERS))
def test_what_notices_faults_passes_without_them(killer: Callable[..., Any], valkey_url: str) -> None:
    _try(killer, valkey_url)


def _look(mutant: Mutant, valkey_url: str) -> None:
    if mutant.killer is not None:
        _try(mutant.killer, valkey_url)
        return
    # Ids are new each time, and with them the order of things: what sixty histories miss once, a longer look finds.
    for histories in (60, 300):
        play(valkey_url, histories, shrink=False)


def _try(killer: Callable[..., Any], valkey_url: str) -> None:
    settings = Settings(redis_url=valkey_url, key_prefix=PREFIX)
    harness = StoreHarness(settings)
    harness.run(Call("FLUSHALL", (), as_is))
    given = {"harness": harness, "settings": settings}
    try:
        killer(**{name: given[name] for name in inspect.signature(killer).parameters if name in given})
        check_store(harness)
    finally:
        harness.close()
