"""What ``runfleet up`` says to a person once everything runs, and how it names its own commands."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shared.cli.data_dir import DataFolder

SAMPLE: Final = '[tasks.hello]\nrun = "echo hello"'


def own_command() -> str:
    """How a person types `runfleet` here: by name if it is on the PATH, else as it can be typed in this folder."""
    script = Path(sys.executable).parent / "runfleet"
    found = shutil.which("runfleet")
    if found and os.path.realpath(found) == os.path.realpath(script):
        return "runfleet"
    if not script.is_file():
        return "python -m shared"
    near = os.path.relpath(script)
    return shlex.quote(str(script) if near.startswith("..") else near)


def up_command(*, by_make: bool) -> tuple[str, str]:
    """What is typed before the options of `up`, and after them."""
    return ('make up ARGS="', '"') if by_make else (f"{own_command()} up ", "")


def url_of(host: str, port: int) -> str:
    """The URL of what listens on *host*."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host).strip("[]")
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def greeting(url: str, env: Mapping[str, str], folder: DataFolder, example: str, *, for_log: bool) -> str:
    """
    Lines to be pasted as they are. With *for_log* they end in a file that others may read, and hold no token.
    """
    token = env["RUNFLEET_TOKEN"]
    is_own = token == folder.token()
    kept = f"in {_near(folder.path / 'token')}" if is_own else "what RUNFLEET_TOKEN is set to"
    shown = kept if for_log or not is_own else f"{token}   (kept {kept})"
    lines = [
        "",
        "Runfleet is running.",
        "",
        f"  API     {url}   (described at {url}/docs)",
        f"  Token   {shown}",
        "",
    ]
    if sys.platform != "linux":
        lines += [
            "Not on Linux: processes that a run leaves behind in other sessions are neither found nor killed.",
            "",
        ]
    if example:
        # The token is in a file: arguments can be seen by every user of the machine.
        own = shlex.quote("@" + _near(folder.header(folder.token())))
        words = f"-H {own}" if is_own else '-H "Authorization: Bearer $RUNFLEET_TOKEN"'
        start = f"curl -s -X POST {words} {url}/api/tasks/{example}/run"
        lines += [
            f"Start {example} and follow what it prints:",
            "",
            f"""  RUN=$({start} | sed 's/.*"id":"\\([^"]*\\)".*/\\1/')""",
            f"  curl -N {words} {url}/api/runs/$RUN/log/stream",
            "",
            "List what ran, and why each ended:",
            "",
            f'  curl -s {words} "{url}/api/runs?limit=5"',
            "",
        ]
    elif not Path(env["RUNFLEET_CONFIG"]).is_file():
        lines += [f"There are no tasks yet. Write {env['RUNFLEET_CONFIG']}, for example", ""]
        lines += [f"  {line}" for line in SAMPLE.split("\n")]
        lines += ["", f"and apply it in another terminal: {own_command()} apply", ""]
    return "\n".join([*lines, "Ctrl-C ends everything.", ""])


def _near(path: Path) -> str:
    """A path as short as it can be typed here."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near
