"""Every seeded fault is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis.stateful import run_state_machine_as_test

from shared.settings import Settings
from shared.store.call import Call, as_is
from tests.store.checking import check_store
from tests.store.desk import Desk
from tests.store.machine import budget, machine
from tests.store.mutants import MUTANTS, Mutant, planted


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_seeded_fault_is_noticed(mutant: Mutant, valkey_url: str, tmp_path: Path) -> None:
    with planted(mutant, tmp_path):
        with pytest.raises((Exception, pytest.fail.Exception)) as noticed:  # whatever it breaks, and however
            _look(mutant, valkey_url)
    assert "ompil" not in str(noticed.value), "this is no fault but no script either"


def _look(mutant: Mutant, valkey_url: str) -> None:
    if mutant.killer is None:
        # Ids are new each time, and with them the order of things: what sixty histories miss once, a longer look finds.
        for histories in (60, 300):
            run_state_machine_as_test(machine(valkey_url), settings=budget(histories, shrink=False))
        return
    desk = Desk(Settings(redis_url=valkey_url, key_prefix="{mutant}"))
    desk.do(Call("FLUSHALL", (), as_is))
    try:
        mutant.killer(desk)
        check_store(desk)
    finally:
        desk.close()
