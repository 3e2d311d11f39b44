"""The distributions, built once however many processes run tests."""

import os
from pathlib import Path

import pytest

from tests.packages import builds


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "distributions"
    folder.mkdir(exist_ok=True)
    return builds.built(folder)


@pytest.fixture(scope="session")
def wheel(distributions: tuple[Path, Path]) -> Path:
    """The wheel."""
    return distributions[0]


@pytest.fixture(scope="session")
def sdist(distributions: tuple[Path, Path]) -> Path:
    """The sdist."""
    return distributions[1]
