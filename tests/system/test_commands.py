"""What a command finds when it starts, how its end is judged, and what is kept of it."""

import json
import os
import re
from typing import Any

import pytest

from tests.system.fleet import Fleet

TASKS = """
[tasks.list]
run = ["sh", "-c", "exit 7"]

[tasks.strict]
run = "false; echo not reached"

[tasks.fine]
run = "exit 42"
success_codes = [0, 42]

[tasks.signalled]
run = "kill -15 $$"

[tasks.absent]
run = ["/no/such/program"]

[tasks.nowhere]
run = "true"
working_dir = "/no/such/folder"

[tasks.hungry]
run = ["python3", "-c", "x = bytearray(1 << 30)"]
address_space_limit = "256mb"

[tasks.busy]
run = ["python3", "-c", "while True: pass"]
cpu_limit = 1

[tasks.surroundings]
run = '''
exec >> $RUNFLEET_OUTPUT
echo umask=$(umask)
echo nice=$(nice)
echo cwd=$PWD
echo stdin=$(cat | wc -c)
'''
umask = "027"
nice = 5
working_dir = "/usr"

[tasks.environment]
run = "env"
replicas = 2
env = { GREETING = "hello world" }
env_file = "extra.env"

[tasks.session]
run = "echo leads=$(test $(cut -d' ' -f6 /proc/$$/stat) = $$ && echo yes) >> $RUNFLEET_OUTPUT"

[tasks.params]
run = ["python3", "-c", "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['RUNFLEET_PARAM_NAME']]))"]
params.name = { required = true }
params.file = { pass = "arg" }
params.depth = { type = "number", pass = "option", default = 3 }
params.dry = { type = "bool", pass = "flag" }

[tasks.shell]
run = 'printf "%s|" "$0" "$1" "$RUNFLEET_PARAM_NAME"'
params.name = {}
params.file = { pass = "arg" }

[tasks.outputs]
run = ["python3", "-c", '''
import os
with open(os.environ["RUNFLEET_OUTPUT"], "w") as file:
    file.write("rows=12\\nempty=\\nnot a pair\\nlong=" + "x" * 5000 + "\\nequals=a=b\\n")
''']
"""

HOSTILE = [
    "; rm -rf /tmp/nothing",
    "$(touch evil)",
    "`touch evil`",
    "a'b\"c",
    "two\nlines",
    "-n",
    "*",
    "ünï ⚡",
    "'; touch evil; '",
]


@pytest.fixture(autouse=True, scope="module")
def extra_env(fleet: Fleet) -> None:
    (fleet.folder / "extra.env").write_text("# more\nexport FROM_FILE='quoted value'\n")


@pytest.mark.parametrize(
    ("task", "reason", "code", "message"),
    [
        ("list", "failed", 7, "exited with code 7"),
        ("strict", "failed", 1, "exited with code 1"),
        ("fine", "success", 42, None),
        ("signalled", "failed", 143, "killed by signal 15 (SIGTERM)"),
        ("absent", "failed", -1, "cannot start '/no/such/program': No such file or directory"),
        ("hungry", "failed", 1, "exited with code 1: ran out of memory at address_space_limit = 256mb"),
    ],
)
def test_an_end_has_a_reason_a_code_and_a_sentence(
    fleet: Fleet, task: str, reason: str, code: int, message: str | None
) -> None:
    ended = fleet.perform(task)
    assert (ended["end_reason"], ended["exit_code"], ended.get("message")) == (reason, code, message)


def test_too_much_cpu_time_ends_a_run_and_says_so(fleet: Fleet) -> None:
    ended = fleet.perform("busy")
    assert ended["end_reason"] == "failed"
    assert re.fullmatch(
        r"killed by signal \d+ \(SIG\w+\): used more than cpu_limit = 1 s of CPU time", ended["message"]
    )
    assert 500 <= ended["cpu_time_ms"] < 3000


def test_a_missing_folder_is_named(fleet: Fleet) -> None:
    ended = fleet.perform("nowhere")
    assert (ended["end_reason"], ended["exit_code"]) == ("failed", -1)
    assert "/no/such/folder" in ended["message"]


def test_umask_niceness_folder_and_an_empty_standard_input(fleet: Fleet) -> None:
    before = os.nice(0)
    outputs = fleet.perform("surroundings")["outputs"]
    assert outputs == {"umask": "0027", "nice": str(before + 5), "cwd": "/usr", "stdin": "0"}


def test_a_command_leads_a_session_of_its_own(fleet: Fleet) -> None:
    assert fleet.perform("session")["outputs"] == {"leads": "yes"}


def test_a_command_knows_who_it_is_and_nothing_of_runfleets_settings(fleet: Fleet) -> None:
    first, second = fleet.chain_of(fleet.trigger("environment"), 2)
    found = dict(line.split("=", 1) for line in fleet.log(second) if "=" in line)
    own = {name: value for name, value in found.items() if name.startswith("RUNFLEET_")}
    path = own.pop("RUNFLEET_OUTPUT")
    assert path.endswith(f"/{second['id']}.out")
    assert own == {
        "RUNFLEET_TASK": "environment",
        "RUNFLEET_RUN_ID": second["id"],
        "RUNFLEET_EXECUTION_ID": first["execution_id"],
        "RUNFLEET_REPLICA_INDEX": "1",
        "RUNFLEET_REPLICA_COUNT": "2",
        "RUNFLEET_RETRY_ATTEMPT": "0",
        "RUNFLEET_TRIGGERED_BY": "api",
        "RUNFLEET_SCHEDULED_FOR": "",
    }
    assert (found["GREETING"], found["FROM_FILE"]) == ("hello world", "quoted value")
    assert found["HISTORY"] == str(fleet.history)  # the worker's own environment is there
    trace = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01", found["TRACEPARENT"])
    assert trace
    assert trace[1] == second["execution_id"].replace("-", "")
    assert trace[2] in second["id"].replace("-", "")
    assert fleet.redis.url not in "\n".join(fleet.log(second))


@pytest.mark.parametrize("value", HOSTILE)
def test_parameters_arrive_as_they_are_and_are_never_spliced_into_a_shell(fleet: Fleet, value: str) -> None:
    wanted: dict[str, Any] = {"name": value, "file": value, "dry": True}
    ended = fleet.perform("params", params=wanted)
    assert json.loads("\n".join(fleet.log(ended))) == [[value, "--depth", "3", "--dry"], value]  # in the order declared
    ended = fleet.perform("shell", params={"name": value, "file": value})
    assert "\n".join(fleet.log(ended)) == f"shell|{value}|{value}|"
    assert not (fleet.folder / "evil").exists()


def test_wrong_parameters_start_nothing_and_all_are_named(fleet: Fleet) -> None:
    answer = fleet.http.post("/api/tasks/params/run", json={"params": {"dry": "yes", "unknown": 1}})
    assert answer.status_code == 422
    assert {problem["location"] for problem in answer.json()["errors"]} == {
        "body.params.dry",
        "body.params.unknown",
        "body.params.name",
    }


def test_outputs_are_kept_and_omitted_ones_are_logged(fleet: Fleet) -> None:
    ended = fleet.perform("outputs")
    assert ended["outputs"] == {"rows": "12", "empty": "", "equals": "a=b"}
    assert fleet.log(ended) == [
        "line 3 of $RUNFLEET_OUTPUT left out: write key=value, one to a line",
        "output long left out: at most 64 of 4096 characters each",
    ]
