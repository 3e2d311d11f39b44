"""Fleets for tests: one that is shared by all tests that break nothing, and as many of one's own as are wanted."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.system.fleet import Fleet

StartFleet = Callable[..., Fleet]
_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed, so that its fleet is asked what it has said."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def shared_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """API, scheduler and one worker; the tests of a process that runs tests share it, one after another."""
    with Fleet(tmp_path_factory.mktemp("fleet"), "", PLANTED="a planted secret 4711", grace_s=1.0) as fleet:
        yield fleet.start_all()


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest, shared_fleet: Fleet) -> Fleet:
    """The shared fleet with the tasks in ``TASKS`` of the test's module."""
    shared_fleet.apply(request.module.TASKS)
    return shared_fleet


@pytest.fixture
def make_fleet(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartFleet]:
    """Makes a fleet of the test's own, to break: its Valkey, and those of its processes that are named."""
    with ExitStack() as at_end:
        made: list[Fleet] = []

        def make(tasks: str, *processes: str, **settings: Any) -> Fleet:
            made.append(at_end.enter_context(Fleet(tmp_path, tasks, **settings)))
            made[-1].start(*processes)
            return made[-1]

        yield make
        if request.node.stash.get(_FAILED, False):
            for fleet in made:
                fleet.tell()
