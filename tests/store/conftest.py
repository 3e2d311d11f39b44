"""A desk for each test of the store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.settings import Settings
from tests.store.desk import Desk


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    """A store with a clock in hand."""
    opened = Desk(settings)
    yield opened
    opened.close()
