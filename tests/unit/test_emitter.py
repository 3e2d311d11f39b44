"""Emitting lineage: nobody waits for it, whatever becomes of it, and the log says what was dropped."""

import threading
import time
from typing import Any
from uuid import UUID

import pytest
from openlineage.client.serde import Serde

from shared import ids, ops
from shared.lineage import EVENT_TYPES
from shared.lineage.emitter import Emitter, open_emitter
from shared.lineage.events import event
from shared.ops.new_execution import template_of
from shared.runs import Reason, Record, Status
from shared.store.tasks import Entry
from shared.tasks import Task, define
from shared.telemetry import Log
from tests.waiting import wait_until

START = 1_700_000_000_000_000
RUN = ids.new_id(START)


def record(**fields: Any) -> Record:
    task = Task(name="report", run="true", description="Makes it")
    entry = Entry(task.name, define(task), task, "file", 1, False)
    made = template_of(entry, ops.Request(), {}, START)
    made.status, made.created_us, made.start_us = Status.RUNNING, START, START + 1_000_000
    for name, value in fields.items():
        setattr(made, name, value)
    return made


class Backend:
    """What events go to, outside the building; it answers when it is let, or never well."""

    def __init__(self, *, fails: bool = False, open_: bool = True) -> None:
        self.heard: list[Record] = []
        self.door = threading.Event()
        self.fails = fails
        if open_:
            self.door.set()

    def send(self, run_id: UUID, record: Record, task: Task | None) -> None:
        self.door.wait(10)
        if self.fails:
            raise ConnectionError("nobody there")
        self.heard.append(record)

    def close(self, timeout_s: float) -> None:
        pass


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the log was told."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(Log, "warning", lambda log, name, **values: lines.append({"event": name, **values}))
    return lines


def test_a_start_and_an_end_are_emitted() -> None:
    backend = Backend()
    one = Emitter(lambda: backend)
    one.emit(RUN, record())
    one.ended(RUN, record(), Reason.FAILED, 3, "exited with code 3", START + 5_000_000, Task(name="report", run="true"))
    one.close()
    assert [heard.reason for heard in backend.heard] == ["", "failed"]
    assert (one.sent, one.dropped) == (2, 0)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_end_has_a_type_and_is_an_event_of_the_specification(reason: Reason) -> None:
    over = record(status=Status.ENDED, reason=reason, exit_code=1, message="because", end_us=START + 3_000_000)
    made = Serde.to_dict(event("ns", RUN, over, Task(name="report", run="true", description="Makes it")))
    facets = made["run"]["facets"]
    assert (made["eventType"], made["eventTime"]) == (EVENT_TYPES[reason], "2023-11-14T22:13:23.000000Z")
    assert (made["run"]["runId"], made["job"]["namespace"], made["job"]["name"]) == (str(RUN), "ns", "report")
    assert facets["nominalTime"]["nominalStartTime"] == "2023-11-14T22:13:20.000000Z"
    assert (facets["runfleet"]["endReason"], facets["runfleet"]["exitCode"]) == (reason, 1)
    assert (facets.get("errorMessage", {}).get("message") == "because") == (EVENT_TYPES[reason] == "FAIL")
    assert made["job"]["facets"]["documentation"]["description"] == "Makes it"


def test_no_caller_waits_for_a_backend_that_does_not_answer(said: list[dict[str, Any]]) -> None:
    backend = Backend(open_=False)
    one = Emitter(lambda: backend, most=5)
    began_s = time.monotonic()
    for _ in range(1000):
        one.emit(RUN, record())
    assert time.monotonic() - began_s < 1
    assert one.dropped >= 1000 - 5 - 1
    one.close(0.1)
    assert time.monotonic() - began_s < 2
    assert one.dropped >= 999
    assert [line["event"] for line in said] == ["lineage.dropped"] * 2  # the first one, and all others at the end
    assert sum(line["events"] for line in said) == said[-1]["in_all"] == one.dropped
    backend.door.set()


def test_queued_events_are_sent_before_the_process_exits() -> None:
    backend = Backend(open_=False)
    one = Emitter(lambda: backend)
    for _ in range(50):
        one.emit(RUN, record())
    threading.Timer(0.05, backend.door.set).start()
    one.close()
    assert len(backend.heard) == 50


def test_a_backend_that_fails_costs_its_events_and_nothing_else(said: list[dict[str, Any]]) -> None:
    backend = Backend(fails=True)
    one = Emitter(lambda: backend)
    one.emit(RUN, record())
    wait_until(lambda: one.dropped == 1, "the failure is counted")
    backend.fails = False
    one.emit(UUID(int=1), record())
    one.close()
    assert (one.sent, one.dropped) == (1, 1)
    assert said == [{"event": "lineage.dropped", "events": 1, "in_all": 1, "why": "ConnectionError: nobody there"}]


@pytest.mark.parametrize(
    "env", [{}, {"OPENLINEAGE_API_KEY": "x"}, {"OPENLINEAGE_URL": "http://x", "OPENLINEAGE_DISABLED": "true"}]
)
def test_nothing_is_emitted_without_a_destination(env: dict[str, str]) -> None:
    assert open_emitter(env) is None


@pytest.mark.parametrize("name", ["OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT__TYPE"])
def test_the_usual_variables_say_where_to(name: str) -> None:
    one = open_emitter({name: "console", "OPENLINEAGE_NAMESPACE": "elsewhere"})
    assert one is not None
    one.close()


def test_without_the_library_the_log_says_what_to_install(
    said: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert open_emitter({"OPENLINEAGE_URL": "http://x"}) is None
    assert said == [{"event": "lineage.unavailable"}]
