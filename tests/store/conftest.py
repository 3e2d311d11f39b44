"""A desk for each test of the store."""

from collections.abc import Iterator

import pytest

from shared.settings import Settings
from tests.store.harness import StoreHarness


@pytest.fixture
def harness(settings: Settings) -> Iterator[StoreHarness]:
    """A store with a clock in hand."""
    opened = StoreHarness(settings)
    yield opened
    opened.close()
