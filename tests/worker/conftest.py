"""A keeper for a test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from worker.commands import Keeper


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    """A keeper of this test's own; whatever it started is dead afterwards."""
    keeper = Keeper.start()
    yield keeper
    keeper.close()
    assert not os.path.exists(f"/proc/{keeper.pid}"), "the keeper outlived its worker"
