"""A spawner for a test."""

import os
from collections.abc import Iterator

import pytest

from worker.processes.commands import Spawner


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    """A spawner of this test's own; whatever it started is dead afterwards."""
    spawner = Spawner.start()
    yield spawner
    spawner.close()
    assert not os.path.exists(f"/proc/{spawner.pid}"), "the spawner outlived its worker"
