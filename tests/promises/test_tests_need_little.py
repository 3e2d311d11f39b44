"""The tests run where only Python, venv and make are: what they start by name is on every machine."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_EVERYWHERE = (
    "ps",
    "pgrep",
    "pkill",
    "pidof",
    "killall",
    "lsof",
    "netstat",
    "strace",
    "jq",
    "wget",
    "xxd",
    "redis-cli",
)
"""Programs that a minimal Debian or a python:slim image lacks, and that are easily taken for granted."""


def test_no_test_starts_a_program_that_a_minimal_machine_lacks() -> None:
    started = re.compile(rf"(?:[\"'|;&(`]\s*|\$\()({'|'.join(NOT_EVERYWHERE)})(?: -|[\"']\s*,\s*[\"']-)")
    found = [
        f"{path.relative_to(ROOT)}: {match[1]}"
        for path in sorted([*(ROOT / "tests").rglob("*.py"), ROOT / "runfleet.toml"])
        if "clients" not in path.parts
        for match in started.finditer(path.read_text("utf-8"))
    ]
    assert found == []
