"""Prefect's filters of task runs. Pure."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID

import msgspec

from api.dialects.prefect.bodies import in_utc
from api.dialects.prefect.run_view import View
from api.dialects.prefect.states import StateType
from shared.clock import from_datetime

Operator = Literal["and_", "or_"]


class AnyId(msgspec.Struct, forbid_unknown_fields=True):
    """One of these ids."""

    any_: list[UUID] | None = None


class AnyText(msgspec.Struct, forbid_unknown_fields=True):
    """One of the texts in ``any_``, and one that contains ``like_``, case-insensitively."""

    any_: list[str] | None = None
    like_: str | None = None


class AnyType(msgspec.Struct, forbid_unknown_fields=True):
    """One of these state types."""

    any_: list[StateType] | None = None


class AnyName(msgspec.Struct, forbid_unknown_fields=True):
    """One of these state names."""

    any_: list[str] | None = None


class OfState(msgspec.Struct, forbid_unknown_fields=True):
    """The state of a task run."""

    operator: Operator = "and_"
    type: AnyType | None = None
    name: AnyName | None = None


class OfTags(msgspec.Struct, forbid_unknown_fields=True):
    """All of these tags, or none at all."""

    operator: Operator = "and_"
    all_: list[str] | None = None
    is_null_: bool | None = None


class TagChoice(msgspec.Struct, forbid_unknown_fields=True):
    """All of these tags, any of them, or none at all."""

    operator: Operator = "and_"
    all_: list[str] | None = None
    any_: list[str] | None = None
    is_null_: bool | None = None


class Within(msgspec.Struct, forbid_unknown_fields=True):
    """A time between two others, both inclusive; or no time at all."""

    before_: datetime | None = None
    after_: datetime | None = None
    is_null_: bool | None = None


class Subflow(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the run stands for a flow run."""

    exists_: bool | None = None


class OfFlowRun(msgspec.Struct, forbid_unknown_fields=True):
    """The flow run that a run belongs to. As in Prefect, an empty one matches any."""

    operator: Operator = "and_"
    any_: list[UUID] | None = None
    is_null_: bool | None = False


class TaskRunFilter(msgspec.Struct, forbid_unknown_fields=True):
    """``task_runs``."""

    operator: Operator = "and_"
    id: AnyId | None = None
    name: AnyText | None = None
    tags: OfTags | None = None
    state: OfState | None = None
    start_time: Within | None = None
    end_time: Within | None = None
    expected_start_time: Within | None = None
    subflow_runs: Subflow | None = None
    flow_run_id: OfFlowRun | None = None


Fits = Callable[[View], bool]
T = TypeVar("T")


def combined(operator: Operator, checks: Iterable[Callable[[T], bool]]) -> Callable[[T], bool]:
    """All of the *checks*, or with ``or_`` any of them, unless there are none."""
    every = list(checks)
    combine = any if operator == "or_" and every else all
    return lambda value: combine(check(value) for check in every)


def fits_task_run(wanted: TaskRunFilter | None) -> Fits:
    """Whether a run matches the filter."""
    if wanted is None:
        return lambda view: True
    return combined(wanted.operator, _checks(wanted))


def _checks(wanted: TaskRunFilter) -> Iterator[Fits]:
    if wanted.id is not None and wanted.id.any_ is not None:
        chosen = set(wanted.id.any_)
        yield lambda view: view.id in chosen
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
    ):
        if within is not None:
            yield fits_time(within, moment)
    if wanted.subflow_runs is not None and wanted.subflow_runs.exists_ is not None:
        exists = wanted.subflow_runs.exists_
        yield lambda view: (view.current.state.details.child_flow_run_id is not None) is exists
    if wanted.flow_run_id is not None:
        yield _fits_flow_run(wanted.flow_run_id)


def fits_text(wanted: AnyText) -> Callable[[str], bool]:
    """Whether a text matches the filter."""
    part = wanted.like_.casefold() if wanted.like_ is not None else ""
    chosen = None if wanted.any_ is None else set(wanted.any_)
    return lambda text: (chosen is None or text in chosen) and part in text.casefold()


def fits_tags(wanted: OfTags | TagChoice) -> Callable[[Iterable[str]], bool]:
    """Whether tags match the filter."""
    checks: list[Callable[[Iterable[str]], bool]] = []
    if wanted.all_ is not None:
        needed = set(wanted.all_)
        checks.append(needed.issubset)
    if isinstance(wanted, TagChoice) and wanted.any_ is not None:
        chosen = set(wanted.any_)
        checks.append(lambda tags: not chosen.isdisjoint(tags))
    if wanted.is_null_ is not None:
        empty = wanted.is_null_
        checks.append(lambda tags: (not tags) is empty)
    return combined(wanted.operator, checks)


def _fits_state(wanted: OfState) -> Fits:
    checks: list[Fits] = []
    if wanted.type is not None and wanted.type.any_ is not None:
        kinds = set(wanted.type.any_)
        checks.append(lambda view: view.current.state.type in kinds)
    if wanted.name is not None and wanted.name.any_ is not None:
        names = set(wanted.name.any_)
        checks.append(lambda view: view.current.state.name in names)
    return combined(wanted.operator, checks)


def fits_time(wanted: Within, moment: Callable[[View], int]) -> Fits:
    """Whether a *moment* of a run (stored time, 0 for none) matches the filter."""
    before_us = None if wanted.before_ is None else from_datetime(in_utc(wanted.before_))
    after_us = None if wanted.after_ is None else from_datetime(in_utc(wanted.after_))

    def fits(view: View) -> bool:
        us = moment(view)
        if wanted.is_null_ is not None and (not us) is not wanted.is_null_:
            return False
        if before_us is None and after_us is None:
            return True
        return bool(us) and (before_us is None or us <= before_us) and (after_us is None or us >= after_us)

    return fits


def _fits_flow_run(wanted: OfFlowRun) -> Fits:
    checks: list[Fits] = []
    if wanted.any_ is not None:
        chosen = set(wanted.any_)
        checks.append(lambda view: view.facts.flow_run_id in chosen)
    if wanted.is_null_ is not None:
        is_null = wanted.is_null_
        checks.append(lambda view: (view.facts.flow_run_id is None) is is_null)
    return combined(wanted.operator, checks)
