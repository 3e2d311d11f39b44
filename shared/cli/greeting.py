"""The greeting of ``runfleet up``: commands to paste, as they can be typed here."""

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
    """The `runfleet` command: by name if it is on the PATH, else by its path."""
    script = Path(sys.executable).parent / "runfleet"
    found = shutil.which("runfleet")
    if found and os.path.realpath(found) == os.path.realpath(script):
        return "runfleet"
    if not script.is_file():
        return "python -m shared"
    near = os.path.relpath(script)
    return shlex.quote(str(script) if near.startswith("..") else near)


def up_command(*, by_make: bool) -> tuple[str, str]:
    """The texts before and after the options of `up` on a command line."""
    return ('make up ARGS="', '"') if by_make else (f"{own_command()} up ", "")


def url_of(host: str, port: int) -> str:
    """The URL of a server that listens on *host*."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host).strip("[]")
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def greeting(url: str, env: Mapping[str, str], folder: DataFolder, example: str, *, link: str, for_log: bool) -> str:
    """
    The greeting, with commands to paste. *link* opens the dashboard. *for_log*: others may read it, so it contains no
    token.
    """
    token = env["RUNFLEET_TOKEN"]
    is_own = token == folder.token()
    kept = f"in {_near(folder.path / 'token')}" if is_own else "what RUNFLEET_TOKEN is set to"
    shown = kept if for_log or not is_own else f"{token}   (kept {kept})"
    opened = f"{own_command()} open"
    about = f"signs you in once; `{opened}` makes another link" if "#" in link else f"`{opened}` signs you in"
    lines = [
        "",
        "Runfleet is running.",
        "",
        f"  Dashboard  {link}   ({about})",
        f"  API        {url}   (documented at {url}/docs)",
        f"  Token      {shown}",
        "",
    ]
    if sys.platform != "linux":
        lines += [
            "This is not Linux: processes that a run leaves behind in other sessions are neither found nor killed.",
            "",
        ]
    if example:
        # The token is in a file: other users of the machine can see arguments.
        own = shlex.quote("@" + _near(folder.header(folder.token())))
        words = f"-H {own}" if is_own else '-H "Authorization: Bearer $RUNFLEET_TOKEN"'
        start = f"curl -s -X POST {words} {url}/api/tasks/{example}/run"
        lines += [
            f"Start {example} and follow its output:",
            "",
            f"""  RUN=$({start} | sed 's/.*"id":"\\([^"]*\\)".*/\\1/')""",
            f"  curl -N {words} {url}/api/runs/$RUN/log/stream",
            "",
            "List recent runs and their end reasons:",
            "",
            f'  curl -s {words} "{url}/api/runs?limit=5"',
            "",
        ]
    elif not Path(env["RUNFLEET_CONFIG"]).is_file():
        lines += [f"There are no tasks yet. Write {env['RUNFLEET_CONFIG']}, for example", ""]
        lines += [f"  {line}" for line in SAMPLE.split("\n")]
        lines += ["", f"and apply it in another terminal: {own_command()} apply", ""]
    return "\n".join([*lines, "Ctrl-C stops everything.", ""])


def _near(path: Path) -> str:
    """The shortest form of a path here."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near
