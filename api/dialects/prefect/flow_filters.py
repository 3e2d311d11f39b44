"""Prefect's filters of flow runs and of flows, also of task runs by their flow run. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from uuid import UUID

import msgspec

from api.dialects.prefect.bodies import in_us
from api.dialects.prefect.filters import (
    AnyText,
    Fits,
    Operator,
    TagChoice,
    TaskRunFilter,
    Within,
    combined,
    fits_tags,
    fits_text,
    fits_time,
)
from api.dialects.prefect.run_view import View
from api.dialects.prefect.states import StateType


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    """A text that is one of these, none of these, or absent."""

    operator: Operator = "and_"
    any_: list[str] | None = None
    not_any_: list[str] | None = None
    is_null_: bool | None = None


class IdChoice(msgspec.Struct, forbid_unknown_fields=True):
    """As ``Choice``, for ids."""

    operator: Operator = "and_"
    any_: list[UUID] | None = None
    not_any_: list[UUID] | None = None
    is_null_: bool | None = None


class TypeChoice(msgspec.Struct, forbid_unknown_fields=True):
    """As ``Choice``, for types of a state."""

    any_: list[StateType] | None = None
    not_any_: list[StateType] | None = None


class StateChoice(msgspec.Struct, forbid_unknown_fields=True):
    """The state of a flow run."""

    operator: Operator = "and_"
    type: TypeChoice | None = None
    name: Choice | None = None


class FlowRunFilter(msgspec.Struct, forbid_unknown_fields=True):
    """``flow_runs``. The creator of a flow run, and the flow run that it is part of, are not stored."""

    operator: Operator = "and_"
    id: IdChoice | None = None
    name: AnyText | None = None
    tags: TagChoice | None = None
    deployment_id: IdChoice | None = None
    work_queue_name: Choice | None = None
    state: StateChoice | None = None
    flow_version: Choice | None = None
    start_time: Within | None = None
    end_time: Within | None = None
    expected_start_time: Within | None = None
    next_scheduled_start_time: Within | None = None
    parent_flow_run_id: None = None
    parent_task_run_id: IdChoice | None = None
    idempotency_key: Choice | None = None
    created_by: None = None


class FlowFilter(msgspec.Struct, forbid_unknown_fields=True):
    """``flows``."""

    operator: Operator = "and_"
    id: IdChoice | None = None
    name: AnyText | None = None
    tags: TagChoice | None = None
    deployment: None = None


def asks(wanted: TaskRunFilter | FlowRunFilter | FlowFilter | None) -> bool:
    """Whether a filter has any condition."""
    return wanted is not None and any(getattr(wanted, field) is not None for field in wanted.__struct_fields__[1:])


def fits_flow_run(wanted: FlowRunFilter | None) -> Fits:
    """Whether a flow run matches the filter."""
    if wanted is None:
        return lambda view: True
    return combined(wanted.operator, _checks(wanted))


def _checks(wanted: FlowRunFilter) -> Iterator[Fits]:
    if wanted.id is not None:
        by_id = _fits(wanted.id)
        yield lambda view: by_id(str(view.id))
    if wanted.name is not None:
        by_name = fits_text(wanted.name)
        yield lambda view: by_name(view.facts.name)
    if wanted.tags is not None:
        by_tags = fits_tags(wanted.tags)
        yield lambda view: by_tags(view.facts.tags)
    if wanted.state is not None:
        yield _fits_state(wanted.state)
    for within, moment in (
        (wanted.start_time, lambda view: view.current.start_us),
        (wanted.end_time, lambda view: view.current.end_us),
        (wanted.expected_start_time, lambda view: view.current.expected_us),
        (wanted.next_scheduled_start_time, _next_us),
    ):
        if within is not None:
            yield fits_time(within, moment)
    for field in ("deployment_id", "work_queue_name", "flow_version", "parent_task_run_id", "idempotency_key"):
        if getattr(wanted, field) is not None:
            yield _fits_rest(field, _fits(getattr(wanted, field)))


def _fits_rest(field: str, fits: Callable[[str | None], bool]) -> Fits:
    return lambda view: fits(view.facts.rest.get(field))


def _fits(wanted: Choice | IdChoice) -> Callable[[str | None], bool]:
    checks: list[Callable[[str | None], bool]] = []
    if wanted.any_ is not None:
        chosen = {str(one) for one in wanted.any_}
        checks.append(lambda value: value in chosen)
    if wanted.not_any_ is not None:
        excluded = {str(one) for one in wanted.not_any_}
        checks.append(lambda value: value not in excluded)
    if wanted.is_null_ is not None:
        is_null = wanted.is_null_
        checks.append(lambda value: (value is None) is is_null)
    return combined(wanted.operator, checks)


def _fits_state(wanted: StateChoice) -> Fits:
    checks: list[Fits] = []
    if wanted.type is not None:
        by_type = _fits(Choice(any_=_texts(wanted.type.any_), not_any_=_texts(wanted.type.not_any_)))
        checks.append(lambda view: by_type(view.current.state.type))
    if wanted.name is not None:
        by_name = _fits(wanted.name)
        checks.append(lambda view: by_name(view.current.state.name))
    return combined(wanted.operator, checks)


def _texts(kinds: Iterable[StateType] | None) -> list[str] | None:
    return None if kinds is None else list(kinds)


def _next_us(view: View) -> int:
    state = view.current.state
    scheduled = state.details.scheduled_time if state.type == "SCHEDULED" else None
    return in_us(scheduled) if scheduled else 0


def fits_flow(flow_id: UUID | None, name: str, tags: Iterable[str], wanted: FlowFilter | None) -> bool:
    """Whether a flow matches the filter."""
    if wanted is None:
        return True
    checks: list[bool] = []
    if wanted.id is not None:
        checks.append(_fits(wanted.id)(None if flow_id is None else str(flow_id)))
    if wanted.name is not None:
        checks.append(fits_text(wanted.name)(name))
    if wanted.tags is not None:
        checks.append(fits_tags(wanted.tags)(tags))
    return any(checks) if wanted.operator == "or_" and checks else all(checks)


def is_of_flow(flow_run: View, wanted: FlowFilter | None) -> bool:
    """Whether the flow of a flow run matches the filter; its tags are not known here."""
    return fits_flow(flow_run.facts.flow_id, flow_run.facts.flow_name, (), wanted)


def belongs(
    view: View, flow_runs: Mapping[UUID, View], of_runs: FlowRunFilter | None, of_flows: FlowFilter | None
) -> bool:
    """Whether a task run's flow run, and that run's flow, match the filters."""
    if of_runs is None and of_flows is None:
        return True
    flow_run = flow_runs.get(view.facts.flow_run_id) if view.facts.flow_run_id is not None else None
    if flow_run is None:
        return not asks(of_runs) and not asks(of_flows)
    return fits_flow_run(of_runs)(flow_run) and is_of_flow(flow_run, of_flows)
