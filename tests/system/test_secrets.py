"""A secret reaches its run and nothing else: no log, no output, no answer, no byte of Redis."""

import subprocess
from pathlib import Path

from tests.system.conftest import StartFleet
from tests.system.fleet import SECRET, TOKEN
from tests.system.processes import command_line
from tests.system.unprivileged import ORDINARY, readable
from tests.waiting import wait_until

PLANTED = "pl4nted-s3cret-0f-the-env1ronment"
FILED = "s3cret-from-a-f1le"
TASKS = """
[tasks.leak]
run = '''
echo "env: $PASSWORD and $FILED"
echo "url: https://me:$PASSWORD@example.org" >&2
echo "result=$PASSWORD" >> $RUNFLEET_OUTPUT
test "$PASSWORD" = "pl4nted-s3cret-""0f-the-env1ronment"
'''
secrets = { PASSWORD = "${PLANTED}" }
secrets_file = "secret.env"

[tasks.slow]
# The secret comes in two parts, which no line of the log may show either.
run = '''
printf "%s" "${PASSWORD%%-s3cret*}"; sleep 0.1; printf "%s\\\\n" "${PASSWORD#pl4nted}"
'''
secrets = { PASSWORD = "${PLANTED}" }

[tasks.told]
run = '''
echo "told $RUNFLEET_PARAM_KEY and $RUNFLEET_PARAM_DAY"
echo "result=$RUNFLEET_PARAM_KEY" >> $RUNFLEET_OUTPUT
'''
params.key = { secret = true }
params.day = {}

[tasks.unset]
run = "true"
secrets = { PASSWORD = "${NOWHERE_SET}" }

[tasks.own]
run = "env; cat /proc/$PPID/environ | tr '\\\\0' '\\\\n'"
"""

OTHERS = """
[tasks.victim]
run = "true"
secrets = { PASSWORD = "${PLANTED}" }

[tasks.thief]
run = '''
env
echo "guessed $RUNFLEET_PARAM_GUESS, and in JSON \\"$RUNFLEET_PARAM_GUESS\\""
echo "$RUNFLEET_PARAM_GUESS=1" >> $RUNFLEET_OUTPUT
'''
params.guess = {}

[tasks.named]
run = ["pl4nted-s3cret-0f-the-env1ronment"]
params.guess = {}
"""


def test_a_secret_is_masked_everywhere_and_never_reaches_redis(make_fleet: StartFleet) -> None:
    """F69: its own task prints it."""
    fleet = make_fleet(TASKS, PLANTED=PLANTED)
    (fleet.folder / "secret.env").write_text(f"FILED={FILED}\n")
    fleet.start_all()
    run = fleet.perform("leak")
    assert run["end_reason"] == "success"  # the command itself saw it
    assert run["outputs"] == {"result": "[redacted]"}
    assert sorted(fleet.log(run)) == ["env: [redacted] and [redacted]", "url: https://me:[redacted]@example.org"]
    assert fleet.log(fleet.perform("slow")) == ["[redacted]"]
    unset = fleet.perform("unset")
    assert unset["end_reason"] == "failed"
    assert "${NOWHERE_SET} is not set" in unset["message"]

    secrets = [PLANTED.encode(), FILED.encode()]
    shown = fleet.http.get("/api/tasks/leak").content + fleet.http.get(f"/api/runs/{run['id']}/log/raw").content
    with fleet.redis.client() as client:
        kept = b"".join(bytes(key) + (client.dump(key) or b"") for key in client.keys("*"))
    written = fleet.redis.written()
    said = "".join(process.said() for process in fleet.processes).encode()
    assert b"leak" in kept
    assert b"leak" in written
    for place in (shown, kept, written, said):
        assert not any(secret in place for secret in secrets)


def test_a_secret_parameter_reaches_its_run_and_no_log_output_or_answer(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, PLANTED=PLANTED).start_all()
    given = {"key": "a-k3y-for-this-run", "day": "monday"}
    run = fleet.perform("told", params=given)
    assert run["params"] == {"key": "[redacted]", "day": "monday"}
    assert fleet.log(run) == ["told [redacted] and monday"]
    assert run["outputs"] == {"result": "[redacted]"}
    again = fleet.ended(fleet.post(f"/api/runs/{run['id']}/rerun"))
    assert fleet.log(again) == ["told [redacted] and monday"], "it was given the same again"


def test_secrets_of_one_task_reach_no_other_task(make_fleet: StartFleet) -> None:
    """F69: another task looks for it, and prints it as it came by other ways."""
    fleet = make_fleet(
        OTHERS, PLANTED=PLANTED, REDIS_URL=f"redis://me:{FILED}@nowhere", OTHER="is inherited"
    ).start_all()
    thief = fleet.perform("thief", params={"guess": PLANTED})
    assert thief["end_reason"] == "success"
    log = fleet.log(thief)
    assert 'guessed [redacted], and in JSON "[redacted]"' in log  # it came another way, and is not shown either
    assert "OTHER=is inherited" in log
    assert not [line for line in log if line.startswith(("PLANTED=", "REDIS_URL="))]
    assert thief["outputs"] == {"[redacted]": "1"}
    assert FILED not in "\n".join(log)
    assert "cannot start '[redacted]'" in fleet.perform("named", params={"guess": PLANTED})["message"]


def test_a_run_sees_none_of_runfleets_own_secrets(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS, PLANTED=PLANTED).start_all()
    text = "\n".join(fleet.log(fleet.perform("own")))
    assert "FLEET_MARK=" in text
    for ours in (TOKEN, SECRET, fleet.redis.url, "RUNFLEET_SECRET", "RUNFLEET_TOKEN", "RUNFLEET_REDIS_URL"):
        assert ours not in text
    # Not the one who started it either: the spawner was given no environment to speak of.
    spawner = Path(f"/proc/{fleet.of('worker').spawner()}/environ").read_bytes()
    assert SECRET.encode() not in spawner


def test_no_task_can_read_one_of_our_processes(make_fleet: StartFleet) -> None:
    fleet = make_fleet(TASKS)
    fleet.through = ORDINARY
    worker = fleet.start_all().of("worker")
    ours = {process.name: process.pid for process in fleet.processes}
    ours |= {"worker process": worker.worker_process(), "spawner": worker.spawner()}
    assert {name: readable(pid) for name, pid in ours.items() if readable(pid)} == {}
    with subprocess.Popen([*ORDINARY, "sleep", "60"]) as other:
        try:
            wait_until(lambda: command_line(other.pid) == "sleep 60", "it sleeps")
            assert readable(other.pid) == {"environ", "maps", "memory", "descriptors"}  # any other process
        finally:
            other.kill()
