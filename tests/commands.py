"""Programs that a test runs to their end."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run_command(
    command: Sequence[str | Path], *, timeout: float = 60, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """What *command* printed, and its exit code; raises for that only with *check*."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=check, **options)
