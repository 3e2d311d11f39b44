"""The parts of a worker process that all its run threads share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import RunfleetError, Unreadable
from shared.lineage.emitter import Emitter
from shared.runs import Record
from shared.settings import Settings
from shared.signing import Keys
from shared.store import tasks
from shared.store.redis.sync_store import Store
from shared.tasks import Task, is_trusted
from shared.telemetry import get_logger
from worker.execution.environment import Inherited, Unprepared

if TYPE_CHECKING:
    from worker.drain import DrainState
    from worker.execution.secrets import KnownSecrets
    from worker.fitness import Fitness
    from worker.heartbeat import Heartbeat
    from worker.logs.shipper import LogShipper
    from worker.processes.callables import InterpreterPool
    from worker.processes.commands import Spawner
    from worker.replay import EndReplay

log = get_logger("worker")


class Unverified(RunfleetError):
    """This worker may not or cannot read the definition of a run; another worker may be able to."""


@dataclass(frozen=True)
class WorkerContext:
    """The parts of a worker process that all its run threads share."""

    settings: Settings
    store: Store
    spawner: Spawner
    interpreters: InterpreterPool
    heartbeat: Heartbeat
    end_replay: EndReplay
    log_shipper: LogShipper
    known_secrets: KnownSecrets
    inherited: Inherited
    draining: DrainState
    fitness: Fitness
    folder: Path
    keys: Keys
    emitter: Emitter | None = None
    verified_tasks: dict[tuple[str, str], Task] = field(default_factory=dict)
    """Tasks by name and hash of their definition, whose signature was verified for that name."""

    @property
    def refusal(self) -> str:
        """Why this worker starts nothing, as a sentence; "" when it does."""
        if self.draining.begun:
            return "its worker was shut down before it started"
        if not self.spawner.is_alive():
            return "its worker's spawner process died, and the worker is replaced"
        if unfit := self.fitness.unfit:
            return f"its worker cannot execute anything: {unfit}"
        return ""

    def task(self, record: Record) -> Task:
        """
        The task that a run was created with.

        Raises Unprepared when its definition is gone, Unverified when it is not signed with this worker's secret or
        this release cannot read it, and StoreUnavailable.
        """
        name = record.task, record.definition
        task = self.verified_tasks.get(name)
        if task is None:
            task = self._read(record)
            if len(self.verified_tasks) > 1000:
                self.verified_tasks.clear()
            self.verified_tasks[name] = task
        return task

    def _read(self, record: Record) -> Task:
        found = self.store.run(tasks.definition(record.definition))
        if found is None:
            raise Unprepared(f"the definition {record.definition} of this run is gone from the store")
        if not is_trusted(found, self.keys, record.task):
            log.error("definition.untrusted", task=record.task, definition=found.hash)
            raise Unverified(
                f"its definition {found.hash} is not signed with the RUNFLEET_SECRET of a worker that took it"
            )
        try:
            task = found.task()
        except (ValueError, Unreadable) as error:
            raise Unverified(
                f"its definition {found.hash} cannot be read by the release of its worker: {error}"
            ) from None
        if task.name != record.task:  # only without a secret: a signature covers the name
            raise Unverified(f"its definition {found.hash} is that of task {task.name}")
        return task
