"""Executions, each with all runs of one trigger: list, read, stop, run again."""

from msgspec import UNSET

from api.http.decoding import invalid
from api.http.idempotency import KeyHeaders
from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.parameters import ExecutionPath, ExecutionsQuery, RerunQuery, StopQuery
from api.native.responses import Affected, ExecutionModel, ExecutionsResponseBody, StepModel
from api.native.runs import created, moment, shown
from shared import ops
from shared.clock import to_datetime
from shared.errors import NotFound
from shared.executions import FINAL, Execution, Phase, Step
from shared.runs import Run
from shared.store import executions

routes = Routes("Executions")


@routes.get("/api/executions", summary="List executions", answers={200: ExecutionsResponseBody})
async def list_executions(request: Request, query: ExecutionsQuery) -> Response:
    """Newest first, without their steps and runs."""
    if query.task_name and not request.grant.covers(query.task_name):
        return request.answer(ExecutionsResponseBody(executions=[], total=0, next_cursor=""))
    try:
        found = await request.store.run(
            executions.page(
                task=query.task_name,
                phases=[Phase(phase) for phase in query.phase],
                limit=query.limit,
                cursor=query.cursor,
                after_us=moment(query.created_after) or 0,
            )
        )
    except ValueError as error:
        raise invalid("query.cursor", str(error), query.cursor) from None
    shown = found.executions
    if request.grant.tasks:
        touched = await request.store.run(executions.tasks_of([execution.id for execution in shown]))
        shown = [one for one in shown if request.grant.covers(one.task, *touched.get(one.id, ()))]
    return request.answer(
        ExecutionsResponseBody(
            executions=[_model(request, execution) for execution in shown],
            total=found.total if not request.grant.tasks else len(shown),
            next_cursor=found.next_cursor,
        )
    )


@routes.get("/api/executions/{id}", summary="Read an execution", answers={200: ExecutionModel}, errors=(404,))
async def read_execution(request: Request, path: ExecutionPath) -> Response:
    """Its plan, its progress, and all its runs: every step, replica and attempt."""
    execution = await _find(request, path)
    return request.answer(_model(request, execution, await shown(request, execution.runs) if execution.steps else None))


@routes.post("/api/executions/{id}/stop", summary="Stop an execution", answers={202: Affected}, errors=(404,))
async def stop_execution(request: Request, path: ExecutionPath, query: StopQuery) -> Response:
    """Stops all its live runs; steps that have not begun never will."""
    await _find(request, path)
    affected = await request.store.run(ops.stop_execution(path.id, force=query.force))
    return request.answer(Affected(affected=affected), status=202)


@routes.post("/api/executions/{id}/rerun", summary="Run an execution again", answers={201: Run}, errors=(404, 409, 507))
async def rerun_execution(request: Request, path: ExecutionPath, query: RerunQuery, headers: KeyHeaders) -> Response:
    """
    A new execution with the parameters of one that is over, and its first run. With `failed_only` only replicas that
    did not succeed run again, and the steps after them.
    """
    await _find(request, path)
    triggered = await request.store.run(
        ops.rerun_execution(
            request.catalog,
            path.id,
            failed_only=query.failed_only,
            idempotency_key=headers.idempotency_key or "",
            permit=request.grant.authorise,
            charge=request.grant.charge,
        )
    )
    return await created(request, triggered.run, repeated=triggered.repeated)


async def _find(request: Request, path: ExecutionPath) -> Execution:
    found = await request.store.run(executions.get(path.id))
    if found is None:
        raise NotFound(f"there is no execution {path.id}")
    request.grant.authorise(found.tasks, absent=f"there is no execution {path.id}")
    return found


def _model(request: Request, execution: Execution, runs: list[Run] | None = None) -> ExecutionModel:
    first = execution.first
    groups: list[list[str]] = [[] for _ in range(execution.groups)]
    for step in execution.steps:
        if step.group >= 0:
            groups[step.group].append(step.task)
    return ExecutionModel(
        schema=request.urls.schema("ExecutionModel"),
        id=execution.id,
        task_name=execution.task,
        phase=execution.phase.value,
        desired_phase=execution.desired.value if execution.desired else UNSET,
        status_version=execution.version,
        over=execution.phase in FINAL,
        triggered_by=first.triggered_by if first else UNSET,
        external_execution_id=first.external_execution_id if first else UNSET,
        created_at=to_datetime(execution.created_us),
        start_at=to_datetime(execution.start_us) if execution.start_us else UNSET,
        end_at=to_datetime(execution.over_us) if execution.over_us else UNSET,
        message=execution.message or UNSET,
        plan=groups if execution.steps else UNSET,
        steps=[_step(step, execution.steps) for step in execution.steps] if execution.steps else UNSET,
        runs=UNSET if runs is None else runs,
    )


def _step(step: Step, steps: tuple[Step, ...]) -> StepModel:
    return StepModel(
        task_name=step.task,
        group=step.group if step.group >= 0 else UNSET,
        depends_on=[steps[number].task for number in step.needs],
        phase=step.phase.value,
        replicas=step.replicas,
        message=step.message or UNSET,
        run_ids=[run.id for run in step.runs],
        done_before=[run for _, run in step.done_before],
    )
