"""Messages about executions and their logs."""

# ruff: noqa: RUF012 - msgspec gives every message its own copy of an empty list or map

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from api.dialects.ona.bodies import PaginationRequest, PaginationResponse, Subject, TaskSpec
from api.dialects.ona.wire import Message, Uuid, number


class Phase(StrEnum):
    """The phase of an execution or a step."""

    UNSPECIFIED = "TASK_EXECUTION_PHASE_UNSPECIFIED"
    PENDING = "TASK_EXECUTION_PHASE_PENDING"
    RUNNING = "TASK_EXECUTION_PHASE_RUNNING"
    SUCCEEDED = "TASK_EXECUTION_PHASE_SUCCEEDED"
    FAILED = "TASK_EXECUTION_PHASE_FAILED"
    STOPPED = "TASK_EXECUTION_PHASE_STOPPED"


class StartTaskRequest(Message, frozen=True):
    """The task to start."""

    id: Annotated[Uuid, number(1)]


class TaskExecutionMetadata(Message, frozen=True):
    """The task and environment of an execution, and when and by whom it was started."""

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
    """A step of the plan; ``depends_on`` are ids of steps."""

    id: Annotated[str, number(1)]
    depends_on: Annotated[list[str], number(2)] = []
    label: Annotated[str, number(3)] = ""
    task: Annotated[PlannedTask | UnsetType, number(10, "step")] = UNSET
    service_id: Annotated[str | UnsetType, number(11, "step")] = UNSET


class PlanGroup(Message, frozen=True):
    """Steps that run concurrently."""

    steps: Annotated[list[PlanStep], number(1)]


class TaskExecutionSpec(Message, frozen=True):
    """The desired state of an execution."""

    plan: Annotated[list[PlanGroup], number(1)]
    desired_phase: Annotated[Phase, number(2)] = Phase.UNSPECIFIED


class StepStatus(Message, frozen=True):
    """The status of a step; a step that has not begun has none."""

    id: Annotated[str, number(1)]
    phase: Annotated[Phase, number(2)]
    failure_message: Annotated[str, number(3)] = ""
    output: Annotated[dict[str, str], number(4)] = {}


class TaskExecutionStatus(Message, frozen=True):
    """
    The status of an execution. ``status_version`` is a 64-bit number, which JSON clients of this protocol read as text.
    """

    status_version: Annotated[str, number(1, proto="uint64")]
    phase: Annotated[Phase, number(2)]
    failure_message: Annotated[str, number(3)] = ""
    steps: Annotated[list[StepStatus], number(4)] = []
    log_url: Annotated[str, number(5)] = ""


class TaskExecution(Message, frozen=True):
    """One execution of a task and its dependencies."""

    id: Annotated[str, number(1)]
    metadata: Annotated[TaskExecutionMetadata, number(2)]
    spec: Annotated[TaskExecutionSpec, number(3)]
    status: Annotated[TaskExecutionStatus, number(4)]


class StartTaskResponse(Message, frozen=True):
    """The new execution."""

    task_execution: Annotated[TaskExecution, number(1)]


class GetTaskExecutionRequest(Message, frozen=True):
    """The execution to read."""

    id: Annotated[Uuid, number(1)]


class GetTaskExecutionResponse(Message, frozen=True):
    """The current state of the execution."""

    task_execution: Annotated[TaskExecution, number(1)]


class StopTaskExecutionRequest(Message, frozen=True):
    """The execution to stop."""

    id: Annotated[Uuid, number(1)]


class StopTaskExecutionResponse(Message, frozen=True):
    """The stop was requested."""


class ListTaskExecutionsRequestFilter(Message, frozen=True):
    """Conditions that must all hold; a list matches if any of its items does."""

    task_ids: Annotated[list[Uuid], Meta(max_length=25), number(1)] = []
    task_references: Annotated[list[str], Meta(max_length=25), number(2)] = []
    environment_ids: Annotated[list[Uuid], Meta(max_length=25), number(3)] = []
    phases: Annotated[list[Phase], Meta(max_length=25), number(4)] = []


class ListTaskExecutionsRequest(Message, frozen=True):
    """A page of executions."""

    pagination: Annotated[PaginationRequest, number(1)] = PaginationRequest()
    filter: Annotated[ListTaskExecutionsRequestFilter, number(2)] = ListTaskExecutionsRequestFilter()


class ListTaskExecutionsResponse(Message, frozen=True, omit_defaults=False):
    """Executions, newest first."""

    pagination: Annotated[PaginationResponse, number(1)]
    task_executions: Annotated[list[TaskExecution], number(2)]


class CreateEnvironmentLogsTokenRequest(Message, frozen=True):
    """The environment whose logs to read."""

    environment_id: Annotated[Uuid, number(1)]


class CreateEnvironmentLogsTokenResponse(Message, frozen=True):
    """The token that grants access to its logs."""

    access_token: Annotated[str, number(1)]
