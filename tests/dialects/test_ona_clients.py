"""gitpod-sdk, both of its generations, against a whole fleet: every check of the acceptance script, soft ones too."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.dialects.ona.errors import CALLS
from tests.dialects.conftest import Vendor
from tests.system.fleet import TOKEN, Fleet
from tests.waiting import wait_until

SECRET_ID = "0197a0b0-1111-7000-8000-0000000000ab"
PLANTED = "a planted secret 4711"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """API, scheduler and one worker, where tasks may be defined through the API."""
    with Fleet(tmp_path_factory.mktemp("ona"), "", RUNFLEET_API_TASKS="on") as fleet:
        fleet.env["RUNFLEET_SECRET_" + SECRET_ID.upper().replace("-", "_")] = PLANTED
        yield fleet.start_all()


@pytest.mark.parametrize(
    ("environment", "codec"), [("ona-0", "json"), ("ona-1", "json"), ("ona-1", "proto")], ids=lambda word: word
)
def test_gitpod_sdk(fleet: Fleet, vendor: Vendor, environment: str, codec: str) -> None:
    base = f"{fleet.http.base_url}".rstrip("/") + "/api"
    said = vendor(environment, "ona_client.py", "--base-url", base, "--token", TOKEN, "--codec", codec, "--strict")
    assert " 0 failed, 0 warned" in said


COMMAND = """
import asyncio, sys
from gitpod import AsyncGitpod
from gitpod.lib import run_command

async def main():
    client = AsyncGitpod(base_url=sys.argv[1], bearer_token=sys.argv[2])
    for command in ("echo one; sleep 0.5; echo two", "echo three >&2; exit 4"):
        async for line in await run_command(client, "0197a0b0-0000-7000-8000-000000000001", command):
            print(line, flush=True)

asyncio.run(main())
"""


def test_run_command_prints_what_the_command_prints(fleet: Fleet, vendor: Vendor, tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    base = f"{fleet.http.base_url}".rstrip("/") + "/api"
    assert vendor("ona-0", str(script), base, TOKEN) == "one\ntwo\nthree\n"


WATCH = """
import asyncio, sys, uuid
from gitpod import AsyncGitpod

async def main():
    client, env = AsyncGitpod(base_url=sys.argv[1], bearer_token=sys.argv[2]), str(uuid.uuid4())
    tasks = client.environments.automations.tasks
    events = await client.events.watch(environment_id=env, timeout=None)
    task = (await tasks.create(environment_id=env, metadata={"reference": "a"}, spec={"command": "true"})).task
    execution = (await tasks.start(id=task.id)).task_execution
    names = {task.id: "task", execution.id: "execution"}
    seen = 0
    async for event in events:
        print(names[event.resource_id], event.resource_type, event.operation)
        seen += 1
        if seen == 5:
            break
    await events.http_response.aclose()

asyncio.run(main())
"""


def test_an_environment_s_events_are_seen_as_they_come(fleet: Fleet, vendor: Vendor, tmp_path: Path) -> None:
    script = tmp_path / "watch.py"
    script.write_text(WATCH)
    base = f"{fleet.http.base_url}".rstrip("/") + "/api"
    said = vendor("ona-0", str(script), base, TOKEN).splitlines()
    assert said == [
        "task RESOURCE_TYPE_TASK RESOURCE_OPERATION_UPDATE",
        "execution RESOURCE_TYPE_TASK_EXECUTION RESOURCE_OPERATION_CREATE",
        *["execution RESOURCE_TYPE_TASK_EXECUTION RESOURCE_OPERATION_UPDATE_STATUS"] * 3,
    ]


BARE = """
import sys
from gitpod.v1 import environment_automation_pb2 as pb
from gitpod.v1.environment_automation_connect import EnvironmentAutomationServiceClientSync as Client

headers = {"authorization": f"Bearer {sys.argv[2]}"}
for settings in ({}, {"send_compression": None}):  # a body in gzip, and one that says that it is in nothing
    for get in (False, True):
        client = Client(sys.argv[1], **settings)
        reply = client.list_tasks(pb.ListTasksRequest(), headers=headers, use_get=get)
        print(type(reply).__name__, bool(reply.tasks))
"""


def test_the_generated_client_needs_no_settings(fleet: Fleet, vendor: Vendor, tmp_path: Path) -> None:
    fleet.apply('[tasks.hello]\nrun = "echo hello"')
    script = tmp_path / "bare.py"
    script.write_text(BARE)
    base = f"{fleet.http.base_url}".rstrip("/") + "/api"
    assert vendor("ona-1", str(script), base, TOKEN).splitlines() == ["ListTasksResponse True"] * 4


def test_a_secret_is_the_worker_s_and_shown_nowhere(fleet: Fleet) -> None:
    def call(method: str, body: dict[str, Any]) -> Any:
        return fleet.post(CALLS + method, body)

    env = [{"name": "KEY", "valueFrom": {"secretRef": {"id": SECRET_ID}}}]
    spec = {"command": f'test "${{#KEY}}" = {len(PLANTED)}; echo "it is $KEY"', "env": env}
    body = {"environmentId": str(uuid.uuid4()), "metadata": {"reference": "a"}, "spec": spec}
    task = call("CreateTask", body)["task"]
    execution = call("StartTask", {"id": task["id"]})["taskExecution"]

    def over() -> Any:
        found = call("GetTaskExecution", {"id": execution["id"]})["taskExecution"]
        return found if "completedAt" in found["metadata"] else None

    assert wait_until(over, "the execution is over")["status"]["phase"] == "TASK_EXECUTION_PHASE_SUCCEEDED"
    assert fleet.http.get(execution["status"]["logUrl"]).text == "it is [redacted]\n"
    assert PLANTED.encode() not in fleet.redis.written()


LOST = """
import sys, threading, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import httpx
from gitpod import Gitpod

target, token = sys.argv[1:]
calls = []

class Lossy(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        reply = httpx.post(target + self.path, content=body, headers=dict(self.headers))
        method = self.path.rpartition("/")[2]
        calls.append(method)
        if method == "StartTask" and calls.count(method) == 1:
            self.close_connection = True
            return  # it was done, and nobody hears of it
        self.send_response(reply.status_code)
        for name in ("content-type", "content-length", "x-should-retry"):
            if name in reply.headers:
                self.send_header(name, reply.headers[name])
        self.end_headers()
        self.wfile.write(reply.content)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Lossy)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Gitpod(base_url=f"http://127.0.0.1:{server.server_port}", bearer_token=token)
tasks, env = client.environments.automations.tasks, str(uuid.uuid4())
task = tasks.create(environment_id=env, metadata={"reference": "a"}, spec={"command": "true"}).task
execution = tasks.start(id=task.id).task_execution
found = tasks.executions.list(filter={"environment_ids": [env]}).task_executions
print(calls.count("StartTask"), [one.id for one in found] == [execution.id])
try:
    tasks.create(environment_id=env, metadata={"reference": "a"}, spec={"command": "true"})
except Exception as error:
    print(type(error).__name__, calls.count("CreateTask"))
"""


def test_a_start_whose_answer_is_lost_is_made_once(fleet: Fleet, vendor: Vendor, tmp_path: Path) -> None:
    """The client repeats it by itself; what cannot be helped by a repeat is not repeated."""
    script = tmp_path / "lost.py"
    script.write_text(LOST)
    base = f"{fleet.http.base_url}".rstrip("/") + "/api"
    assert vendor("ona-0", str(script), base, TOKEN).splitlines() == ["2 True", "ConflictError 2"]
