"""A minute of load and faults, from a seed that is always the same; `make soak` does it for longer, with new ones."""

import sys
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.conftest import LIMIT_S
from tests.soak.checker import check, report
from tests.soak.driver import run_soak
from tests.soak.history import read_evidence
from tests.soak.release import is_used, older_commit, unpacked

SEED = 45
SECONDS = 60
MIXED_SECONDS = 30
pytestmark = pytest.mark.timeout(900)


def test_no_invariant_breaks_under_load_and_random_faults(tmp_path: Path) -> None:
    """F45: 10 000 queued, SIGKILL workers every 2 s, random seeds (here: as many as two cores take in a minute)."""
    run_soak(tmp_path, SEED, SECONDS)
    expect_all_held(tmp_path)


def test_no_invariant_breaks_while_two_releases_run_side_by_side(tmp_path: Path) -> None:
    """F46: rolling upgrade: N and N-1 workers, API, scheduler mixed under F45 (every other process is an older one)."""
    commit = older_commit()
    if not commit:
        pytest.skip("this checkout's history has no older release to mix with")
    older = unpacked(commit, tmp_path / "older")
    assert is_used(older)
    run_soak(tmp_path, SEED + 1, MIXED_SECONDS, older)
    expect_all_held(tmp_path)


def expect_all_held(folder: Path) -> None:
    """The checker, run as the program it is, finds nothing; and it had something to look at for each invariant."""
    command = [sys.executable, "-m", "tests.soak.checker", str(folder)]
    told = run_command(command, cwd=Path(__file__).parents[2], timeout=LIMIT_S)
    assert told.returncode == 0, f"the evidence is in {folder}\n{told.stdout}{told.stderr}"
    verdicts = check(read_evidence(folder))
    assert all(verdict.checked for verdict in verdicts), report(verdicts)
