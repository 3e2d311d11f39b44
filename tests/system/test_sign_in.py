"""``runfleet open``: a link that signs in once, for the fleet of the folder, and a sentence when there is none."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.commands import run_command
from tests.system.test_up import COMMAND, ROOT, Up
from tests.system.test_up import start as start


def opened(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """What ``runfleet open`` says in *folder*."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RUNFLEET_")}
    return run_command([*COMMAND, "open"], cwd=folder, env=env | {"PYTHONPATH": str(ROOT), **settings})


def sign_in(url: str) -> str:
    """Whom the link signs in."""
    base, _, secret = url.partition("/sign-in#link=")
    body = json.dumps({"link": secret}).encode()
    with urlopen(Request(base + "/api/session", body, {"Content-Type": "application/json"}), timeout=20) as answer:
        assert "HttpOnly" in answer.headers["set-cookie"]
        return str(json.load(answer)["who"])


def test_a_link_signs_in_once_and_the_greeting_of_a_log_has_none(start: Callable[[], Up], tmp_path: Path) -> None:
    up = start()
    assert "#link=" not in up.said()
    done = opened(tmp_path)
    assert done.returncode == 0, done.stderr
    link = done.stdout.strip()
    assert sign_in(link) == "RUNFLEET_TOKEN"
    with pytest.raises(HTTPError, match="401"):
        sign_in(link)


def test_a_wrong_token_and_an_api_that_is_away_are_named(start: Callable[[], Up], tmp_path: Path) -> None:
    up = start()
    refused = opened(tmp_path, RUNFLEET_TOKEN="rf_wrong")
    assert refused.returncode == 4
    assert "RUNFLEET_TOKEN" in refused.stderr
    assert up.end() == 0
    away = opened(tmp_path, RUNFLEET_URL="http://127.0.0.1:1")
    assert away.returncode == 6
    assert "does not answer" in away.stderr
    assert sys.executable not in away.stderr
