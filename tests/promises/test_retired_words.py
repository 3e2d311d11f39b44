"""Words that the code once had for its own ideas stay away: each has a standard term now (``docs/architecture.md``)."""

import re
from pathlib import Path

import pytest

from tests.commands import run_command

ROOT = Path(__file__).parents[2]
RETIRED = {
    "keeper": "spawner",
    "keepers": "spawners",
    "doorbell": "wake-up",
    "workshop": "context",
    "tapes": "log buffers",
    "furnish": "put_ona_tasks",
    "annex": "metadata",
    "annexes": "metadata",
    "Annex": "metadata",
    "leaderless": "health",
    "wrong_kinds": "key_types",
    "too_lively": "contended",
    "hear_log": "subscribe_log",
    "own_line": "dedicated_connection",
    "be_deaf": "ignore_signals",
    "empty_queues": "run_until_empty",
    "misfit": "mismatch",
    "guardian": "orphan guard",
    "Timetable": "CronHeap",
    "MOVES": "TRANSITIONS",
    "NotHere": "NotStarted",
    "end_anyhow": "end_as_crashed",
    "given_up": "was_killed",
    "silence_s": "heartbeat_timeout_s",
    "lifeline": "parent watch",
    "seats": "stream limit",
}
FILES = [
    name
    for name in run_command(["git", "ls-files", "*.py", "*.lua", "*.md", "*.toml"], cwd=ROOT, check=True).stdout.split()
    if not name.startswith("tests/dialects/clients/") and Path(name).name != Path(__file__).name
]


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_is_nowhere(word: str) -> None:
    pattern = re.compile(rf"(?<![A-Za-z]){word}(?![A-Za-z])")
    found = [name for name in FILES if pattern.search((ROOT / name).read_text("utf-8"))]
    assert found == [], f"say {RETIRED[word]}"
