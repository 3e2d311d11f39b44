"""The fleet that the story is told on: the processes of the Procfile, one worker, a Redis of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.fleet import Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without tasks yet; ``apply`` gives it some. At the end everything is stopped."""
    with Fleet(tmp_path, "", RUNFLEET_API_TASKS="on") as started:
        yield started.start_all()
