"""Messages about tasks and automations files, and parts that other messages share."""

# ruff: noqa: RUF012 - msgspec gives every message its own copy of an empty list or map

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from api.dialects.ona.wire import Message, Reference, Title, Uuid, Word, number


class Principal(StrEnum):
    """The kind of a subject."""

    UNSPECIFIED = "PRINCIPAL_UNSPECIFIED"
    ACCOUNT = "PRINCIPAL_ACCOUNT"
    USER = "PRINCIPAL_USER"
    RUNNER = "PRINCIPAL_RUNNER"
    ENVIRONMENT = "PRINCIPAL_ENVIRONMENT"
    SERVICE_ACCOUNT = "PRINCIPAL_SERVICE_ACCOUNT"
    RUNNER_MANAGER = "PRINCIPAL_RUNNER_MANAGER"


class Subject(Message, frozen=True):
    """A user, account or other principal."""

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
    """A Docker container. ``environment``: ``NAME=value``."""

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
    """The command of a task, its environment, and where it runs."""

    command: Annotated[str, number(1)] = ""
    runs_on: Annotated[RunsOn | UnsetType, number(2)] = UNSET
    env: Annotated[list[EnvironmentVariableItem], number(3)] = []
    prebuild_requires_success: Annotated[bool, number(4)] = False


class TaskMetadata(Message, frozen=True):
    """The names of a task, and its triggers."""

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
    """The requested page; a size of 0 means 25."""

    page_size: Annotated[int, Meta(ge=0, le=100), number(1)] = 0
    token: Annotated[str, number(2)] = ""


class PaginationResponse(Message, frozen=True):
    """The token of the next page; "" after the last one."""

    next_token: Annotated[str, number(1)] = ""


class CreateTaskRequest(Message, frozen=True):
    """A new task. Fields that the server sets (``createdAt``, ``creator``) are ignored."""

    environment_id: Annotated[Uuid, number(1)]
    metadata: Annotated[TaskMetadata, number(2)]
    spec: Annotated[TaskSpec, number(3)] = TaskSpec()
    depends_on: Annotated[list[Uuid], number(4)] = []


class CreateTaskResponse(Message, frozen=True):
    """The new task."""

    task: Annotated[Task, number(1)]


class GetTaskRequest(Message, frozen=True):
    """The task to read."""

    id: Annotated[Uuid, number(1)]


class GetTaskResponse(Message, frozen=True):
    """The task."""

    task: Annotated[Task, number(1)]


class ListTasksRequestFilter(Message, frozen=True):
    """Conditions that must all hold; a list matches if any of its items does."""

    environment_ids: Annotated[list[Uuid], Meta(max_length=25), number(1)] = []
    references: Annotated[list[Word], Meta(max_length=25), number(2)] = []
    task_ids: Annotated[list[Uuid], Meta(max_length=25), number(3)] = []


class ListTasksRequest(Message, frozen=True):
    """A page of tasks."""

    pagination: Annotated[PaginationRequest, number(1)] = PaginationRequest()
    filter: Annotated[ListTasksRequestFilter, number(2)] = ListTasksRequestFilter()


class ListTasksResponse(Message, frozen=True, omit_defaults=False):
    """Tasks, newest first."""

    pagination: Annotated[PaginationResponse, number(1)]
    tasks: Annotated[list[Task], number(2)]


class AutomationTriggerUpdate(Message, frozen=True):
    """The new list of triggers; wrapped, so that an empty list differs from none given."""

    trigger: Annotated[list[AutomationTrigger], number(1)] = []


class UpdateTaskMetadata(Message, frozen=True):
    """Fields that are not given stay."""

    name: Annotated[Annotated[Title, Meta(min_length=1)] | UnsetType, number(1)] = UNSET
    description: Annotated[str | UnsetType, number(2)] = UNSET
    triggered_by: Annotated[AutomationTriggerUpdate | UnsetType, number(3)] = UNSET


class UpdateTaskSpec(Message, frozen=True):
    """Fields that are not given stay; so does an empty ``env``, which the binary encoding cannot distinguish."""

    command: Annotated[str | UnsetType, number(1)] = UNSET
    runs_on: Annotated[RunsOn | UnsetType, number(2)] = UNSET
    env: Annotated[list[EnvironmentVariableItem], number(3)] = []
    prebuild_requires_success: Annotated[bool | UnsetType, number(4)] = UNSET


class UpdateTaskRequest(Message, frozen=True):
    """A change of a task. An empty ``depends_on`` changes nothing."""

    id: Annotated[Uuid, number(1)]
    metadata: Annotated[UpdateTaskMetadata, number(2)] = UpdateTaskMetadata()
    spec: Annotated[UpdateTaskSpec, number(3)] = UpdateTaskSpec()
    depends_on: Annotated[list[Uuid], number(4)] = []


class UpdateTaskResponse(Message, frozen=True):
    """The task was updated."""


class DeleteTaskRequest(Message, frozen=True):
    """The task to delete."""

    id: Annotated[Uuid, number(1)]


class DeleteTaskResponse(Message, frozen=True):
    """The task was deleted."""


class FileTask(Message, frozen=True):
    """A task in an automations file: references instead of ids, triggers by name."""

    name: Annotated[Title, Meta(min_length=1), number(1)]
    description: Annotated[str, number(2)] = ""
    command: Annotated[str, number(3)] = ""
    depends_on: Annotated[list[Reference], number(4)] = []
    triggered_by: Annotated[list[str], number(5)] = []
    runs_on: Annotated[RunsOn | UnsetType, number(10)] = UNSET
    prebuild_requires_success: Annotated[bool, number(11)] = False


class FileService(Struct, frozen=True):
    """A service; services are not supported, and ignored."""


class AutomationsFile(Message, frozen=True):
    """The content of an ``automations.yaml``, by reference."""

    services: Annotated[dict[str, FileService], number(1)] = {}
    tasks: Annotated[dict[Reference, FileTask], number(2)] = {}


class UpsertAutomationsFileRequest(Message, frozen=True):
    """Tasks to create or update in an environment; tasks that the file does not name stay."""

    environment_id: Annotated[Uuid, number(1)]
    automations_file: Annotated[AutomationsFile, number(2)] = AutomationsFile()


class UpsertAutomationsFileResponse(Message, frozen=True, omit_defaults=False):
    """The ids of created and updated tasks."""

    updated_service_ids: Annotated[list[str], number(1)]
    updated_task_ids: Annotated[list[str], number(2)]
