"""
Renders an execution as a message: its plan and its status.

The dialect has no "skipped" and no "stop requested". A step that never ran because an earlier one failed is left out of
the steps; a step that was refused, or had to be killed after a stop request, counts as failed.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET

from api.dialects.ona import bodies, execution_bodies
from api.dialects.ona.catalog import Known, subject
from api.dialects.ona.execution_bodies import Phase
from api.dialects.ona.translation import NO_ENGINE_CODE, image_of, redacted, spec_of
from api.http.auth import Grant
from shared import executions
from shared.clock import to_datetime
from shared.executions import Execution, Step
from shared.runs import Reason, Run
from shared.tasks import Task

KILLED: Final = 137
"""The exit code of a process killed by SIGKILL."""

OUTPUT_MAX: Final = 4096
OUTPUT_NAME_MAX: Final = 128

_PHASES: Final = {
    executions.Phase.PENDING: Phase.PENDING,
    executions.Phase.RUNNING: Phase.RUNNING,
    executions.Phase.SUCCEEDED: Phase.SUCCEEDED,
    executions.Phase.FAILED: Phase.FAILED,
    executions.Phase.STOPPED: Phase.STOPPED,
    executions.Phase.SKIPPED: Phase.FAILED,
}

MAY_BE: Final = {
    Phase.PENDING: {executions.Phase.PENDING},
    Phase.RUNNING: {executions.Phase.RUNNING},
    Phase.SUCCEEDED: {executions.Phase.SUCCEEDED},
    Phase.FAILED: {executions.Phase.FAILED, executions.Phase.SKIPPED, executions.Phase.STOPPED},
    Phase.STOPPED: {executions.Phase.STOPPED},
}
"""The phases of ours that each phase of the dialect stands for."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """
    The stored start of an execution: by whom and by which trigger, in which environment, and its tasks' ids.

    An execution that this dialect did not start has none; then the current catalog is used.
    """

    creator: str = ""
    trigger: str = ""
    environment: UUID
    ids: dict[str, UUID]


class RenderContext(NamedTuple):
    """The data for rendering an execution, apart from the execution itself."""

    start: Start
    definitions: Mapping[str, Task]
    known: Mapping[str, Known]
    log_url: str
    grant: Grant


def rendered(execution: Execution, context: RenderContext) -> execution_bodies.TaskExecution:
    """The execution as a message."""
    start = context.start
    first = execution.first
    trigger = start.trigger or ("schedule" if first is not None and first.triggered_by == "cron" else "manual")
    return execution_bodies.TaskExecution(
        id=str(execution.id),
        metadata=execution_bodies.TaskExecutionMetadata(
            task_id=str(start.ids[execution.task]),
            environment_id=str(start.environment),
            created_at=to_datetime(execution.created_us),
            creator=subject(start.creator) if start.creator else UNSET,
            started_by=trigger,
            started_at=to_datetime(execution.start_us) if execution.start_us else UNSET,
            completed_at=to_datetime(execution.over_us) if execution.over_us else UNSET,
        ),
        spec=execution_bodies.TaskExecutionSpec(
            plan=_plan(execution, context), desired_phase=Phase.STOPPED if execution.desired else Phase.UNSPECIFIED
        ),
        status=_status(execution, context),
    )


def step_id(execution_id: UUID, number: int) -> UUID:
    """The id of a step: stable and unique."""
    return uuid5(execution_id, f"step {number}")


def _plan(execution: Execution, context: RenderContext) -> list[execution_bodies.PlanGroup]:
    groups: dict[int, list[execution_bodies.PlanStep]] = {}
    for number, step in enumerate(execution.steps):
        known = context.known.get(step.task)
        task = context.definitions.get(step.definition)
        spec = spec_of(task, known.listed if known else None) if task else bodies.TaskSpec()
        # Steps that an earlier execution completed come first.
        groups.setdefault(max(step.group, 0), []).append(
            execution_bodies.PlanStep(
                id=str(step_id(execution.id, number)),
                depends_on=[str(step_id(execution.id, needed)) for needed in step.needs],
                label=known.reference if known else step.task,
                task=execution_bodies.PlannedTask(
                    id=str(context.start.ids[step.task]),
                    spec=redacted(spec, context.grant),
                ),
            )
        )
    return [execution_bodies.PlanGroup(steps=groups[number]) for number in sorted(groups)]


def _status(execution: Execution, context: RenderContext) -> execution_bodies.TaskExecutionStatus:
    steps = [
        _step_status(step, str(step_id(execution.id, number)), context.definitions.get(step.definition))
        for number, step in enumerate(execution.steps)
        if _has_begun(step)
    ]
    failed = [step for step in steps if step.phase is Phase.FAILED]
    phase = _PHASES[execution.phase]
    if phase is Phase.STOPPED and failed:
        phase = Phase.FAILED
    message = ""
    if phase is Phase.FAILED:
        message = next((step.failure_message for step in failed), "") or execution.message
    return execution_bodies.TaskExecutionStatus(
        status_version=str(execution.version),
        phase=phase,
        failure_message=message,
        steps=steps,
        log_url=context.log_url,
    )


def _has_begun(step: Step) -> bool:
    """Whether any step ever ran; steps that an earlier execution completed count."""
    return step.group < 0 or any(run.start_at is not UNSET for run in step.runs)


def _step_status(step: Step, id_: str, task: Task | None) -> execution_bodies.StepStatus:
    phase = _PHASES[step.phase]
    message = step.message if phase is Phase.FAILED else ""
    if phase is Phase.STOPPED and any(run.exit_code == KILLED for run in step.newest):
        phase, message = Phase.FAILED, "it did not end when asked to stop, and was killed"
    if phase is Phase.FAILED and task is not None and _lacked_an_engine(step, task):
        message = f"runsOn.docker asks for a container of {image_of(task)}, and there is no Docker engine here"
    return execution_bodies.StepStatus(id=id_, phase=phase, failure_message=message, output=_output(step.newest))


def _lacked_an_engine(step: Step, task: Task) -> bool:
    if not image_of(task):
        return False
    return any(run.end_reason is Reason.FAILED and run.exit_code == NO_ENGINE_CODE for run in step.newest)


def _output(newest: list[Run]) -> dict[str, str]:
    """The outputs of the replicas; the later one wins if two have the same name."""
    found: dict[str, str] = {}
    for run in newest:
        for name, value in (run.outputs or {}).items():
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            if name and text:
                found[name[:OUTPUT_NAME_MAX]] = text[:OUTPUT_MAX]
    return found
