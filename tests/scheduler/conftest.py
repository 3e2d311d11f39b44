"""A scheduler with something to do."""

from collections.abc import Iterator

import pytest

from shared.settings import Settings
from tests.scheduler.failing_store import FailingStore, PairedWork


@pytest.fixture
def work(settings: Settings) -> Iterator[PairedWork]:
    """A scheduler with work in each of its jobs."""
    harness = FailingStore(settings)
    yield PairedWork(harness)
    harness.close()
