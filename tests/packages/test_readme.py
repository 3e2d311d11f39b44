"""The commands of the README, word by word and in order, in a fresh clone; only the port is another one."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import create_server

import pytest

from shared.settings import Settings
from tests.commands import run_command
from tests.packages import checkout
from tests.packages.builds import ROOT
from tests.waiting import wait_until

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = [
    text for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE) if kind in ("", "sh")
]
NOT_HERE = {"make test"}
"""Commands that this very test is a part of."""

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="the README's commands need curl")


def commands(block: str) -> list[str]:
    """The commands of a block, without comments, each on one line."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    return [re.sub(r"\s+#.*$", "", line) for line in lines if line.strip()]


def free_port() -> int:
    with closing(create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def started(command: str, folder: Path, env: dict[str, str], word: str) -> Iterator[Path]:
    """A command that stays, until it says *word*; ended as by Ctrl-C."""
    log = folder / f"said-{re.sub(r'[^a-z]+', '-', command)}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"], cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_until(lambda: word in log.read_text() or process.poll() is not None, f"{command} says {word}", 120)
        assert word in log.read_text(), log.read_text()
        yield log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        code = process.wait(60)
    assert code in (0, -signal.SIGINT), log.read_text()  # make ends by the signal that it was sent


def test_the_commands_of_the_readme_work(tmp_path: Path, settings: Settings) -> None:
    blocks = [commands(block) for block in BLOCKS]
    assert len(blocks) == 4, "the README has commands that are tried nowhere"
    machine, edit, use, fleet = blocks
    assert [command for command in machine if command not in NOT_HERE] == ["make up"]
    folder = checkout.make(tmp_path / "clone")
    port = free_port()
    env = checkout.surroundings(RUNFLEET_PORT=str(port))
    with started("make up", folder, env, "Runfleet is running."):
        script = "set -e\n" + "\n".join(f"{command}\necho; echo ~~~" for command in [*edit, *use])
        done = run_command(
            ["sh", "-c", script.replace("localhost:9477", f"localhost:{port}")], cwd=folder, env=env, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
    said = dict(zip([*edit, *use], done.stdout.split("~~~\n"), strict=False))
    assert len(said) == len(edit) + len(use)
    run, stream, report, listed = (text for command, text in said.items() if command.startswith("curl"))
    assert json.loads(run)["task_name"] == "greet"
    assert json.loads(run)["number"] == 1
    assert "Hello, world!" in stream
    assert json.loads(report)["params"]["day"]
    assert [one["end_reason"] for one in json.loads(listed)["runs"] if one["task_name"] == "greet"] == ["success"]
    secret = {"REDIS_URL": settings.redis_url, "RUNFLEET_KEY_PREFIX": settings.key_prefix, "RUNFLEET_SECRET": "x" * 32}
    env |= secret | {"PATH": f"{folder / '.venv' / 'bin'}:{env['PATH']}", "RUNFLEET_TOKEN": "rf_readme_0123456789"}
    for command, event in zip(fleet, ("worker.started", "scheduler.leading", "api.started"), strict=True):
        with started(command, folder, env, event):
            pass
