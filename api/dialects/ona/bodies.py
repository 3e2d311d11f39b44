"""
Every message of the dialect, once, for both of its forms.

A field's ``Meta`` carries its number in the binary form; name, type, limits and default serve the JSON form too. As in
proto3, a field that is not given has its default, and only those that may be ``UNSET`` tell "not given" from "empty".
Rules (``uuid``, lengths, most items) are those of the vendor's descriptors. Fields of one ``oneof`` exclude each other.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

UUID_PATTERN: Final = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z"
REFERENCE_PATTERN: Final = r"^[a-zA-Z0-9_-]{1,128}\Z"

WORDS: Final = {UUID_PATTERN: "a UUID", REFERENCE_PATTERN: "1 to 128 letters, digits, _ and -"}
"""What a pattern asks for, in words."""

Uuid = Annotated[str, Meta(pattern=UUID_PATTERN)]
Reference = Annotated[str, Meta(pattern=REFERENCE_PATTERN)]
Word = Annotated[str, Meta(min_length=1)]
Title = Annotated[str, Meta(max_length=1000)]


def number(n: int, oneof: str = "", proto: str = "") -> Meta:
    """The field's number, the group of which at most one is given, the binary type where Python's is not enough."""
    return Meta(extra={"number": n, "oneof": oneof, "proto": proto})


class Message(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Goes over the wire."""


class Principal(StrEnum):
    """What kind of somebody."""

    UNSPECIFIED = "PRINCIPAL_UNSPECIFIED"
    ACCOUNT = "PRINCIPAL_ACCOUNT"
    USER = "PRINCIPAL_USER"
    RUNNER = "PRINCIPAL_RUNNER"
    ENVIRONMENT = "PRINCIPAL_ENVIRONMENT"
    SERVICE_ACCOUNT = "PRINCIPAL_SERVICE_ACCOUNT"
    RUNNER_MANAGER = "PRINCIPAL_RUNNER_MANAGER"


class Phase(StrEnum):
    """How far an execution or a step of it is."""

    UNSPECIFIED = "TASK_EXECUTION_PHASE_UNSPECIFIED"
    PENDING = "TASK_EXECUTION_PHASE_PENDING"
    RUNNING = "TASK_EXECUTION_PHASE_RUNNING"
    SUCCEEDED = "TASK_EXECUTION_PHASE_SUCCEEDED"
    FAILED = "TASK_EXECUTION_PHASE_FAILED"
    STOPPED = "TASK_EXECUTION_PHASE_STOPPED"


class Subject(Message, frozen=True):
    """Somebody."""

    id: Annotated[str, number(1)] = ""
    principal: Annotated[Principal, number(2)] = Principal.UNSPECIFIED


class AutomationTrigger(Message, frozen=True):
    """One event that starts a task; several are several triggers."""

    manual: Annotated[bool | UnsetType, number(1, "trigger")] = UNSET
    post_machine_start: Annotated[bool | UnsetType, number(5, "trigger")] = UNSET
    post_environment_start: Annotated[bool | UnsetType, number(10, "trigger")] = UNSET
    post_devcontainer_start: Annotated[bool | UnsetType, number(20, "trigger")] = UNSET
    prebuild: Annotated[bool | UnsetType, number(30, "trigger")] = UNSET
    before_snapshot: Annotated[bool | UnsetType, number(40, "trigger")] = UNSET


class Docker(Message, frozen=True):
    """A container of its own. ``environment``: ``NAME=value``."""

    image: Annotated[Word, number(1)]
    environment: Annotated[list[str], number(2)] = []


class Machine(Message, frozen=True):
    """The machine itself."""


class RunsOn(Message, frozen=True):
    """Where a command runs."""

    docker: Annotated[Docker | UnsetType, number(10, "target")] = UNSET
    machine: Annotated[Machine | UnsetType, number(30, "target")] = UNSET


class SecretRef(Message, frozen=True):
    """A secret by its id."""

    id: Annotated[Uuid, number(1)]


class EnvironmentVariableSource(Message, frozen=True):
    """Where a variable's value comes from."""

    secret_ref: Annotated[SecretRef, number(1, "source")]


class EnvironmentVariableItem(Message, frozen=True):
    """A variable of a command."""

    name: Annotated[Word, number(1)]
    value: Annotated[str | UnsetType, number(2, "source")] = UNSET
    value_from: Annotated[EnvironmentVariableSource | UnsetType, number(3, "source")] = UNSET


class TaskSpec(Message, frozen=True):
    """What a task does."""

    command: Annotated[str, number(1)] = ""
    runs_on: Annotated[RunsOn | UnsetType, number(2)] = UNSET
    env: Annotated[list[EnvironmentVariableItem], number(3)] = []
    prebuild_requires_success: Annotated[bool, number(4)] = False


class TaskMetadata(Message, frozen=True):
    """What a task is called, and what starts it."""

    reference: Annotated[str, number(1)] = ""
    name: Annotated[Title, number(2)] = ""
    description: Annotated[str, number(3)] = ""
    created_at: Annotated[datetime | UnsetType, number(4)] = UNSET
    creator: Annotated[Subject | UnsetType, number(5)] = UNSET
    triggered_by: Annotated[list[AutomationTrigger], number(6)] = []


class Task(Message, frozen=True):
    """A task."""

    id: Annotated[str, number(1)]
    environment_id: Annotated[str, number(2)]
    metadata: Annotated[TaskMetadata, number(3)]
    spec: Annotated[TaskSpec, number(4)]
    depends_on: Annotated[list[str], number(5)] = []


class PaginationRequest(Message, frozen=True):
    """Which page; a size of 0 means 25."""

    page_size: Annotated[int, Meta(ge=0, le=100), number(1)] = 0
    token: Annotated[str, number(2)] = ""


class PaginationResponse(Message, frozen=True):
    """Where the next page starts; "" after the last one."""

    next_token: Annotated[str, number(1)] = ""


class CreateTaskRequest(Message, frozen=True):
    """A new task. What the server sets (``createdAt``, ``creator``) is accepted and not looked at."""

    environment_id: Annotated[Uuid, number(1)]
    metadata: Annotated[TaskMetadata, number(2)]
    spec: Annotated[TaskSpec, number(3)] = TaskSpec()
    depends_on: Annotated[list[Uuid], number(4)] = []


class CreateTaskResponse(Message, frozen=True):
    """The task as it is kept."""

    task: Annotated[Task, number(1)]


class GetTaskRequest(Message, frozen=True):
    """Which task."""

    id: Annotated[Uuid, number(1)]


class GetTaskResponse(Message, frozen=True):
    """The task."""

    task: Annotated[Task, number(1)]


class ListTasksRequestFilter(Message, frozen=True):
    """Each list narrows; one of a list is enough."""

    environment_ids: Annotated[list[Uuid], Meta(max_length=25), number(1)] = []
    references: Annotated[list[Word], Meta(max_length=25), number(2)] = []
    task_ids: Annotated[list[Uuid], Meta(max_length=25), number(3)] = []


class ListTasksRequest(Message, frozen=True):
    """A page of tasks."""

    pagination: Annotated[PaginationRequest, number(1)] = PaginationRequest()
    filter: Annotated[ListTasksRequestFilter, number(2)] = ListTasksRequestFilter()


class ListTasksResponse(Message, frozen=True, omit_defaults=False):
    """Tasks, the newest first."""

    pagination: Annotated[PaginationResponse, number(1)]
    tasks: Annotated[list[Task], number(2)]


class AutomationTriggerUpdate(Message, frozen=True):
    """The list that takes the old one's place; wrapped, so that "none" can be said."""

    trigger: Annotated[list[AutomationTrigger], number(1)] = []


class UpdateTaskMetadata(Message, frozen=True):
    """What is not given stays."""

    name: Annotated[Annotated[Title, Meta(min_length=1)] | UnsetType, number(1)] = UNSET
    description: Annotated[str | UnsetType, number(2)] = UNSET
    triggered_by: Annotated[AutomationTriggerUpdate | UnsetType, number(3)] = UNSET


class UpdateTaskSpec(Message, frozen=True):
    """What is not given stays; so does an ``env`` that is empty, for the binary form cannot tell the difference."""

    command: Annotated[str | UnsetType, number(1)] = UNSET
    runs_on: Annotated[RunsOn | UnsetType, number(2)] = UNSET
    env: Annotated[list[EnvironmentVariableItem], number(3)] = []
    prebuild_requires_success: Annotated[bool | UnsetType, number(4)] = UNSET


class UpdateTaskRequest(Message, frozen=True):
    """A change of a task. ``depends_on`` empty: it stays."""

    id: Annotated[Uuid, number(1)]
    metadata: Annotated[UpdateTaskMetadata, number(2)] = UpdateTaskMetadata()
    spec: Annotated[UpdateTaskSpec, number(3)] = UpdateTaskSpec()
    depends_on: Annotated[list[Uuid], number(4)] = []


class UpdateTaskResponse(Message, frozen=True):
    """Done."""


class DeleteTaskRequest(Message, frozen=True):
    """Which task."""

    id: Annotated[Uuid, number(1)]


class DeleteTaskResponse(Message, frozen=True):
    """Done."""


class StartTaskRequest(Message, frozen=True):
    """Which task."""

    id: Annotated[Uuid, number(1)]


class TaskExecutionMetadata(Message, frozen=True):
    """What was started, where, when and by whom."""

    task_id: Annotated[str, number(1)]
    environment_id: Annotated[str, number(2)]
    created_at: Annotated[datetime, number(3)]
    creator: Annotated[Subject | UnsetType, number(4)] = UNSET
    started_by: Annotated[str, number(6)] = ""
    started_at: Annotated[datetime | UnsetType, number(7)] = UNSET
    completed_at: Annotated[datetime | UnsetType, number(8)] = UNSET


class PlannedTask(Message, frozen=True):
    """A task as it was when the execution was made."""

    id: Annotated[str, number(1)]
    spec: Annotated[TaskSpec, number(2)]


class PlanStep(Message, frozen=True):
    """A task in its place in the plan; ``depends_on`` are ids of steps."""

    id: Annotated[str, number(1)]
    depends_on: Annotated[list[str], number(2)] = []
    label: Annotated[str, number(3)] = ""
    task: Annotated[PlannedTask | UnsetType, number(10, "step")] = UNSET
    service_id: Annotated[str | UnsetType, number(11, "step")] = UNSET


class PlanGroup(Message, frozen=True):
    """Steps that run at once."""

    steps: Annotated[list[PlanStep], number(1)]


class TaskExecutionSpec(Message, frozen=True):
    """What is to happen."""

    plan: Annotated[list[PlanGroup], number(1)]
    desired_phase: Annotated[Phase, number(2)] = Phase.UNSPECIFIED


class StepStatus(Message, frozen=True):
    """How far a step is; one that is not there has not begun."""

    id: Annotated[str, number(1)]
    phase: Annotated[Phase, number(2)]
    failure_message: Annotated[str, number(3)] = ""
    output: Annotated[dict[str, str], number(4)] = {}


class TaskExecutionStatus(Message, frozen=True):
    """How far it is. ``status_version`` is a 64-bit number, which JSON clients of this protocol read as text."""

    status_version: Annotated[str, number(1, proto="uint64")]
    phase: Annotated[Phase, number(2)]
    failure_message: Annotated[str, number(3)] = ""
    steps: Annotated[list[StepStatus], number(4)] = []
    log_url: Annotated[str, number(5)] = ""


class TaskExecution(Message, frozen=True):
    """One start of a task, with all that it depends on."""

    id: Annotated[str, number(1)]
    metadata: Annotated[TaskExecutionMetadata, number(2)]
    spec: Annotated[TaskExecutionSpec, number(3)]
    status: Annotated[TaskExecutionStatus, number(4)]


class StartTaskResponse(Message, frozen=True):
    """The execution that was made."""

    task_execution: Annotated[TaskExecution, number(1)]


class GetTaskExecutionRequest(Message, frozen=True):
    """Which execution."""

    id: Annotated[Uuid, number(1)]


class GetTaskExecutionResponse(Message, frozen=True):
    """The execution as it is now."""

    task_execution: Annotated[TaskExecution, number(1)]


class StopTaskExecutionRequest(Message, frozen=True):
    """Which execution."""

    id: Annotated[Uuid, number(1)]


class StopTaskExecutionResponse(Message, frozen=True):
    """It was asked to stop."""


class ListTaskExecutionsRequestFilter(Message, frozen=True):
    """Each list narrows; one of a list is enough."""

    task_ids: Annotated[list[Uuid], Meta(max_length=25), number(1)] = []
    task_references: Annotated[list[str], Meta(max_length=25), number(2)] = []
    environment_ids: Annotated[list[Uuid], Meta(max_length=25), number(3)] = []
    phases: Annotated[list[Phase], Meta(max_length=25), number(4)] = []


class ListTaskExecutionsRequest(Message, frozen=True):
    """A page of executions."""

    pagination: Annotated[PaginationRequest, number(1)] = PaginationRequest()
    filter: Annotated[ListTaskExecutionsRequestFilter, number(2)] = ListTaskExecutionsRequestFilter()


class ListTaskExecutionsResponse(Message, frozen=True, omit_defaults=False):
    """Executions, the newest first."""

    pagination: Annotated[PaginationResponse, number(1)]
    task_executions: Annotated[list[TaskExecution], number(2)]


class FileTask(Message, frozen=True):
    """A task as an automations file says it: references instead of ids, triggers by name."""

    name: Annotated[Title, Meta(min_length=1), number(1)]
    description: Annotated[str, number(2)] = ""
    command: Annotated[str, number(3)] = ""
    depends_on: Annotated[list[Reference], number(4)] = []
    triggered_by: Annotated[list[str], number(5)] = []
    runs_on: Annotated[RunsOn | UnsetType, number(10)] = UNSET
    prebuild_requires_success: Annotated[bool, number(11)] = False


class FileService(Struct, frozen=True):
    """A service, whatever it says: there are none here."""


class AutomationsFile(Message, frozen=True):
    """The content of an ``automations.yaml``, by reference."""

    services: Annotated[dict[str, FileService], number(1)] = {}
    tasks: Annotated[dict[Reference, FileTask], number(2)] = {}


class UpsertAutomationsFileRequest(Message, frozen=True):
    """Tasks to be made or changed in an environment; what the file does not name stays."""

    environment_id: Annotated[Uuid, number(1)]
    automations_file: Annotated[AutomationsFile, number(2)] = AutomationsFile()


class UpsertAutomationsFileResponse(Message, frozen=True, omit_defaults=False):
    """Ids of what was made or changed."""

    updated_service_ids: Annotated[list[str], number(1)]
    updated_task_ids: Annotated[list[str], number(2)]


class CreateEnvironmentLogsTokenRequest(Message, frozen=True):
    """For the logs of which environment."""

    environment_id: Annotated[Uuid, number(1)]


class CreateEnvironmentLogsTokenResponse(Message, frozen=True):
    """What opens its logs."""

    access_token: Annotated[str, number(1)]


class ErrorDetail(Struct, frozen=True):
    """A message that goes with an error: its type's name and its binary form in base64."""

    type: str
    value: str
    debug: dict[str, Any]


class ConnectError(Struct, frozen=True):
    """Any refusal; always JSON, whatever the request was."""

    code: str
    message: str
    details: list[ErrorDetail]
