"""What all run threads of a worker process share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shared.lineage.emitter import Emitter
from shared.runs import Record
from shared.settings import Settings
from shared.signing import Keys
from shared.store import tasks
from shared.store.threads import Store
from shared.tasks import Task, is_trusted
from shared.telemetry import get_logger
from worker.callables import Templates
from worker.commands import Keeper
from worker.environment import Inherited, Unprepared
from worker.leases import Leases
from worker.private import Private
from worker.recent import RecentEnds
from worker.tapes import Tapes

log = get_logger("worker")


class Draining:
    """Whether this worker process takes anything new, and until when its runs may go on (measured seconds)."""

    def __init__(self) -> None:
        self.until_s: float | None = None

    @property
    def begun(self) -> bool:
        """True from the first request on."""
        return self.until_s is not None


@dataclass(frozen=True)
class Workshop:
    """What all run threads of a worker process share."""

    settings: Settings
    store: Store
    keeper: Keeper
    templates: Templates
    leases: Leases
    recent: RecentEnds
    tapes: Tapes
    private: Private
    inherited: Inherited
    draining: Draining
    folder: Path
    keys: Keys
    emitter: Emitter | None = None
    known: dict[str, Task] = field(default_factory=dict)
    """Tasks by the hash of their definition, whose signature was verified."""

    def task(self, record: Record) -> Task:
        """
        The task that a run was created with.

        Raises Unprepared when its definition is gone or is not signed with this worker's secret.
        """
        task = self.known.get(record.definition)
        if task is None:
            task = self._read(record)
            if len(self.known) > 1000:
                self.known.clear()
            self.known[record.definition] = task
        return task

    def _read(self, record: Record) -> Task:
        found = self.store.do(tasks.definition(record.definition))
        if found is None:
            raise Unprepared(f"the definition {record.definition} of this run is gone from the store")
        if not is_trusted(found, self.keys, record.task):
            log.error("definition.untrusted", task=record.task, definition=found.hash)
            raise Unprepared(
                f"the definition {found.hash} is not signed with this worker's RUNFLEET_SECRET; nothing was executed"
            )
        return found.task()
