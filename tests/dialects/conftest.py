"""The unmodified clients of other systems, each in its environment, driving a real server of ours."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.commands import run_command
from tests.dialects.ona import env, kept, ona
from tests.http.conftest import Served, catalog, client, guarded, serving

__all__ = ["catalog", "client", "env", "guarded", "kept", "ona", "open_api", "vendor"]

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "clients"

Vendor = Callable[..., str]
"""See ``vendor``."""


@pytest.fixture
def open_api(settings: Settings) -> Iterator[Served]:
    """The API behind a real server on loopback, without tokens and without tasks."""
    with serving(settings) as served:
        yield served


@pytest.fixture
def vendor() -> Vendor:
    """
    ``vendor(environment, script, *words, **env)``: what the script says, run by that client's own interpreter.

    Fails with all it said when it did not end with 0.
    """

    def run(environment: str, script: str, *words: str, **env: str) -> str:
        python = ROOT / ".clients" / environment / "bin" / "python"
        assert python.exists(), f"there is no {python}; `make clients` sets it up"
        known = {name: value for name, value in os.environ.items() if not name.startswith(("RUNFLEET_", "OPENLINEAGE"))}
        done = run_command([python, SCRIPTS / script, *words], env=known | env, timeout=300)
        assert done.returncode == 0, f"{script} {' '.join(words)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
