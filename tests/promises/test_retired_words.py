"""Words that the code once had for its own ideas stay away: each has a standard term now (``docs/architecture.md``)."""

import ast
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
    "stop_wish": "stop_request",
    "begin_anew": "reset_overwritten",
    "NotHere": "NotStarted",
    "end_anyhow": "end_as_crashed",
    "given_up": "was_killed",
    "silence_s": "heartbeat_timeout_s",
    "lifeline": "parent watch",
    "seats": "stream limit",
    "DialectRequest": "Request",
    "Untold": "PlainNotFound",
    "taskruns": "task_runs",
    "flowruns": "flow_runs",
    "spelled_out": "packed_eval",
    "PostingSender": "HttpSender",
    "last_words": "log_tail",
    "who_listens": "listener_pid",
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


PAGES = [name for name in FILES if re.fullmatch(r"docs/[^/]+\.md|[A-Z]+\.md", name)]
MODULES = [
    name
    for name in FILES
    if re.match(r"shared/((cli|config|lineage|schedules)/|(settings|telemetry|errors)\.py|store/events\.py)", name)
]
INVERTED = re.compile(r"(?:^[\s\W]*|[.?!|] +)(?:Of|What) ", re.MULTILINE)
OF_PEOPLE = re.compile(r"\b(?:told|heard|wish|wishes|whoever|nobody)\b", re.IGNORECASE)


def prose(name: str) -> list[str]:
    """The sentences of a page, or the strings and docstrings of a module, without names in code."""
    text = (ROOT / name).read_text("utf-8")
    if name.endswith(".py"):
        nodes = ast.walk(ast.parse(text))
        return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`|\[[^]]*\]\(\.\./tests[^)]*\)", "x", text).split("\n\n")


@pytest.mark.parametrize("pattern", [INVERTED, OF_PEOPLE], ids=["inverted", "of people"])
@pytest.mark.parametrize("name", [*PAGES, *MODULES])
def test_public_texts_are_plain(name: str, pattern: re.Pattern[str]) -> None:
    """No sentence begins with "Of" or "What", and programs are not spoken of as people."""
    assert [text for text in prose(name) if pattern.search(text)] == []


@pytest.mark.parametrize("text", ["Of a task nobody", "It ends. What it says", "| `x` | What it is |", "it is told so"])
def test_a_text_that_is_not_plain_is_found(text: str) -> None:
    assert INVERTED.search(text) or OF_PEOPLE.search(text)
