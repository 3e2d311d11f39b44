"""Webhooks through which other systems report an event in an environment."""

from api.dialects.ona import executions, task_list
from api.dialects.ona.catalog import Known
from api.http.request import Request
from api.http.response import Response
from api.http.router import Routes
from api.native.parameters import EnvironmentTriggerPath
from api.native.responses import StartedResponseBody, StartedTask
from shared.errors import RunfleetError, StoreUnavailable

routes = Routes("Hooks")


@routes.post(
    "/api/hooks/environments/{id}/{trigger}",
    summary="Report an environment's start",
    answers={200: StartedResponseBody},
    errors=(507,),
)
async def fire_environment(request: Request, path: EnvironmentTriggerPath) -> Response:
    """
    Starts every task of the environment whose `triggeredBy` has this trigger. A task that another of them depends on is
    started once, as its dependency.
    """
    which = task_list.TaskFilter(frozenset({path.id}), frozenset(), frozenset(), request.grant)
    known = await request.store.run(task_list.every(which))
    started = []
    for one in _outermost(known, path.trigger):
        start = executions.start(request.catalog, one, request.grant, path.trigger, request.repeat_id)
        try:
            execution = await request.store.run(start)
        except StoreUnavailable:
            raise
        except RunfleetError as error:
            started.append(StartedTask(task_name=one.entry.name, refused=str(error)))
        else:
            started.append(StartedTask(task_name=one.entry.name, execution_id=execution))
    return request.answer(StartedResponseBody(tasks=started))


def _outermost(known: list[Known], trigger: str) -> list[Known]:
    """The tasks that *trigger* starts, without direct and indirect dependencies of others among them."""
    by_name = {one.entry.name: one for one in known}
    meant = [one for one in known if one.listed and trigger in one.listed.triggers]
    needed = set[str]()
    waiting = [name for one in meant for name in one.entry.task.depends_on]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += by_name[name].entry.task.depends_on if name in by_name else ()
    return [one for one in meant if one.entry.name not in needed]
