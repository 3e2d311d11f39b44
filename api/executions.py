"""Executions: everything one trigger made."""

from __future__ import annotations

import msgspec

from api.bodies import Affected, ExecutionModel
from api.endpoint import Ask, Routes
from api.inputs import ExecutionPath
from api.reply import Reply
from shared import ops
from shared.errors import NotFound
from shared.runs import Run
from shared.store import runs

routes = Routes("Executions")


@routes.get("/api/executions/{id}", summary="Read an execution", answers={200: ExecutionModel}, errors=(404,))
async def read_execution(ask: Ask, path: ExecutionPath) -> Reply:
    """All its runs: every replica and every attempt."""
    found = await _runs(ask, path)
    over = await ask.web.store.do(runs.is_over(path.id))
    url = ask.urls.run
    return ask.answer(
        ExecutionModel(id=path.id, over=over, runs=[msgspec.structs.replace(run, schema=url) for run in found])
    )


@routes.post("/api/executions/{id}/stop", summary="Stop an execution", answers={202: Affected}, errors=(404,))
async def stop_execution(ask: Ask, path: ExecutionPath) -> Reply:
    """Every live run of it."""
    await _runs(ask, path)
    return ask.answer(Affected(affected=await ask.web.store.run(ops.stop_execution(path.id))), status=202)


async def _runs(ask: Ask, path: ExecutionPath) -> list[Run]:
    found = await ask.web.store.run(runs.execution_runs(path.id))
    if not found:
        raise NotFound(f"there is no execution {path.id}")
    for name in {run.task_name for run in found}:
        ask.grant.require_task(name)
    return found
