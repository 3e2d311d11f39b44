"""The pinned requirements are complete, carry hashes, and say nothing of where they were fetched or made."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = {
    "requirements.txt": PROJECT["project"]["dependencies"],
    "requirements-dev.txt": PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"],
} | {
    str(path.with_suffix(".txt").relative_to(ROOT)): path.read_text("utf-8").splitlines()
    for path in sorted((ROOT / "tests/dialects/clients").glob("*.in"))
}


def normal(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_is_pinned(lock: str) -> None:
    pinned = {normal(line) for line in (ROOT / lock).read_text("utf-8").splitlines() if line[:1].isalpha()}
    assert {normal(requirement) for requirement in LOCKS[lock]} <= pinned, "run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_versions_and_hashes_and_nothing_else(lock: str) -> None:
    entry = re.compile(r"[a-z0-9._\[\],-]+==[^\s;]+( ; [^/:]+?)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n")
    assert entry.sub("", (ROOT / lock).read_text("utf-8")) == ""


def test_what_is_tested_is_what_is_deployed() -> None:
    deployed, tested = ((ROOT / lock).read_text("utf-8") for lock in ("requirements.txt", "requirements-dev.txt"))
    pins = re.compile(r"^[a-z0-9._-]+==\S+", re.MULTILINE)
    assert set(pins.findall(deployed)) <= set(pins.findall(tested))
