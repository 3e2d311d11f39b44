"""Our table of messages is the vendor's own, field by field, as far as we speak it; and every error has a code."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from api.dialects.ona import bodies, execution_bodies
from api.dialects.ona.codec import fields_of
from api.dialects.ona.errors import HTTP, refuse
from api.dialects.ona.wire import Message
from shared.errors import RunfleetError
from tests.commands import run_command
from tests.promises.test_errors_are_mapped import NAMED, SCOPE, made

ROOT: Final = Path(__file__).parents[2]
VENDOR: Final = ROOT / ".clients/ona-1/bin/python"

DUMP: Final = """
import json
from gitpod.v1 import environment_automation_pb2 as pb, environment_pb2
seen = {}
def show(message):
    if message.full_name in seen:
        return
    fields = seen[message.full_name] = {}
    for field in message.fields:
        kind = field.message_type or field.enum_type
        is_map = bool(kind is field.message_type and kind and kind.GetOptions().map_entry)
        many = "map" if is_map else "list" if field.label == 3 else ""
        value = kind.fields_by_name["value"] if is_map else field
        inner = value.message_type or value.enum_type
        oneof = field.containing_oneof
        fields[field.json_name] = [
            field.number, many, inner.full_name if inner else value.type,
            oneof.name if oneof and not oneof.name.startswith("_") else "",
            bool(oneof and oneof.name.startswith("_")),
        ]
        if value.message_type:
            show(value.message_type)
enums = {}
for method in pb.DESCRIPTOR.services_by_name["EnvironmentAutomationService"].methods:
    show(method.input_type)
    show(method.output_type)
for name in ("Request", "Response"):
    show(environment_pb2.DESCRIPTOR.message_types_by_name["CreateEnvironmentLogsToken" + name])
for file in [pb.DESCRIPTOR, *pb.DESCRIPTOR.dependencies]:
    for name, enum in file.enum_types_by_name.items():
        enums[name] = {value.name: value.number for value in enum.values}
print(json.dumps([seen, enums]))
"""

NESTED: Final = {
    "Docker": "RunsOn.Docker",
    "Machine": "RunsOn.Machine",
    "ListTasksRequestFilter": "ListTasksRequest.Filter",
    "ListTaskExecutionsRequestFilter": "ListTaskExecutionsRequest.Filter",
    "AutomationTriggerUpdate": "UpdateTaskRequest.AutomationTriggerUpdate",
    "UpdateTaskMetadata": "UpdateTaskRequest.TaskMetadata",
    "UpdateTaskSpec": "UpdateTaskRequest.TaskSpec",
    "PlannedTask": "TaskExecutionSpec.Task",
    "PlanStep": "TaskExecutionSpec.Step",
    "PlanGroup": "TaskExecutionSpec.Group",
    "StepStatus": "TaskExecutionStatus.Step",
    "FileTask": "AutomationsFile.Task",
    "FileService": "AutomationsFile.Service",
    "Phase": "TaskExecutionPhase",
}
"""Messages that the vendor keeps inside others, or calls otherwise."""

SCALARS: Final = {"uint64": 4, "int": 5, "bool": 8, "str": 9}


@pytest.fixture(scope="session")
def vendor() -> Any:
    if not VENDOR.exists():
        pytest.fail("`make clients` installs the vendor's client")
    ran = run_command([VENDOR, "-c", DUMP], check=True)
    return msgspec.json.decode(ran.stdout)


def named(kind: type) -> str:
    if kind is datetime:
        return "google.protobuf.Timestamp"
    return "gitpod.v1." + NESTED.get(kind.__name__, kind.__name__)


def of_ours(kind: type[Message]) -> dict[str, list[Any]]:
    return {
        field.name: [
            field.number,
            field.many,
            SCALARS.get(field.proto or field.kind.__name__) or named(field.kind),
            field.oneof,
            field.optional and not field.oneof,
        ]
        for field in fields_of(kind)
    }


@pytest.mark.parametrize("kind", Message.__subclasses__(), ids=lambda kind: kind.__name__)
def test_a_message_has_the_vendor_s_fields_and_numbers(vendor: Any, kind: type[Message]) -> None:
    theirs = dict(vendor[0][named(kind)])
    ours = of_ours(kind)
    for name, field in ours.items():
        # Whether a message is there can be told in every case; of ours some are always there.
        if isinstance(field[2], str) and not field[2].startswith("gitpod.v1.TaskExecutionPhase"):
            field[4] = theirs[name][4] = False
    assert ours == theirs


@pytest.mark.parametrize("enum", [execution_bodies.Phase, bodies.Principal], ids=lambda enum: enum.__name__)
def test_an_enum_has_the_vendor_s_names_and_numbers(vendor: Any, enum: type[StrEnum]) -> None:
    theirs = vendor[1][NESTED.get(enum.__name__, enum.__name__)]
    assert {member.value: number for number, member in enumerate(enum)} == theirs


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.__name__)
def test_every_named_error_has_a_code_of_the_protocol(kind: type[RunfleetError]) -> None:
    reply = refuse(made(kind), SCOPE)
    body = msgspec.json.decode(reply.body)
    assert set(body) == {"code", "message", "details"}
    assert body["code"] in HTTP
    assert body["code"] != "internal"
    assert reply.status in (HTTP[body["code"]], 405, 415)
    assert body["message"]
    assert (b"content-type", b"application/json") in reply.headers
