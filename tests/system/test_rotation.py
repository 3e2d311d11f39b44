"""The secret is rotated as docs/operate.md says, with runs flowing: nothing fails, waits or is lost."""

import json
import signal
import subprocess
import sys

import httpx

from tests.commands import run_command
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.waiting import wait_until

TASKS = """
[tasks.tick]
run = "true"
cron = "@every 1s"

[tasks.waits]
run = "echo one"
queue = "aside"

[tasks.fails-once]
run = "echo one; test $RUNFLEET_RETRY_ATTEMPT = 1"
retry_attempts = 1
retry_delay = "1500ms"
queue = "aside"

[tasks.first]
run = "echo one"
queue = "aside"

[tasks.then]
run = "echo one"
depends_on = ["first"]
"""
NEW = "a new secret of sixteen or more"


def command(fleet: Fleet, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return run_command([sys.executable, "-m", "shared", *words], env=fleet.env | env, cwd=fleet.folder)


def finding(fleet: Fleet, **env: str) -> tuple[str, str]:
    """What the doctor finds of the old secret: how bad it is, and how much of it."""
    found = json.loads(command(fleet, "doctor", "--json", **env).stdout)["findings"]
    assert not [one for one in found if one["code"] == "definitions-untrusted" and one["level"] == "error"]
    (one,) = [one for one in found if one["code"] == "secret-old"]
    return one["level"], one["value"]


def replace_all(fleet: Fleet, **env: str) -> None:
    """Restart the processes one after the other, workers first; the next one while runs flow."""
    fleet.env.pop("RUNFLEET_SECRET_OLD", None)
    fleet.env |= env
    for name in ("worker", "scheduler", "web"):
        before = fleet.of(name)
        before.popen.send_signal(signal.SIGTERM)
        before.wait(15)
        fleet.start(name)
    it_ticks(fleet)


def it_ticks(fleet: Fleet) -> None:
    before = len(fleet.runs(task_name="tick", end_reason="success"))
    wait_until(lambda: len(fleet.runs(task_name="tick", end_reason="success")) > before, "it ticks", 20)


def test_a_secret_is_rotated_while_runs_wait_and_nothing_is_lost(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS).start_all()
    token = fleet.post("/api/tokens", {"name": "ci", "scope": "run", "tasks": "waits"})["token"]
    made = fleet.post("/api/tasks/tick/run", {}, key="once")
    retried = fleet.trigger("fails-once")
    wait_until(lambda: fleet.run(retried["id"])["status"] == "ended", "the first attempt failed", 20)
    fleet.post("/api/queues/aside/pause")
    waiting = [fleet.trigger("waits"), fleet.trigger("then")]
    # Everybody is bound to a definition that the catalog does not have any more.
    (fleet.folder / "runfleet.toml").write_text(TASKS.replace("echo one", "echo two"))
    applied = command(fleet, "apply")
    assert applied.returncode == 0, applied.stderr

    old = fleet.env["RUNFLEET_SECRET"]
    both = {"RUNFLEET_SECRET": NEW, "RUNFLEET_SECRET_OLD": old}
    replace_all(fleet, **both)
    assert finding(fleet)[0] == "warning", "older definitions are of the old secret still"

    applied = command(fleet, "apply")
    assert applied.returncode == 0, applied.stderr
    assert "signed again: 4 older definitions" in applied.stderr
    assert finding(fleet) == ("info", "not needed")
    assert "0 older definitions, 0 tokens" in command(fleet, "apply").stderr, "it may be repeated"

    replace_all(fleet, RUNFLEET_SECRET=NEW)
    fleet.post("/api/queues/aside/resume")
    for run in waiting:
        fleet.over(run, 30)
    wait_until(lambda: len(fleet.runs(task_name="fails-once", end_reason="success")) == 1, "it was tried again", 30)
    for name in ("waits", "first", "then", "fails-once"):
        (done,) = fleet.runs(task_name=name, end_reason="success")
        assert fleet.log(done) == ["one"], "each by the definition that it was made from"
    again = fleet.post(f"/api/runs/{waiting[0]['id']}/rerun")
    assert fleet.ended(again)["end_reason"] == "success"
    assert fleet.log(again) == ["two"]
    assert fleet.post("/api/tasks/tick/run", {}, key="once")["id"] == made["id"], "the key is known still"
    answer = httpx.get(f"{fleet.http.base_url}/api/tasks/waits", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, "and so is the token"
    assert fleet.runs(task_name="tick", end_reason="failed") == []
    assert fleet.runs(end_reason="crashed") == []
