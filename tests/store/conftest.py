"""After each test of the store, everything in it must have an owner."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.settings import Settings
from shared.store.threads import Store
from tests.store.checking import check_store
from tests.store.desk import Desk


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    """A store with a clock in hand."""
    opened = Desk(settings)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test that leaves a key without an owner, or two that contradict each other."""
    opened: Store | None = request.getfixturevalue("store") if "settings" in request.fixturenames else None
    yield
    if opened is not None:
        check_store(opened)
