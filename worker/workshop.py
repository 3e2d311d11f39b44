"""What all run threads of a worker process share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shared.runs import Record
from shared.settings import Settings
from shared.store import tasks
from shared.store.threads import Store
from shared.tasks import Definition, Task, is_trusted
from shared.telemetry import get_logger
from worker.callables import Templates
from worker.environment import Unprepared
from worker.leases import Leases
from worker.process import Keeper
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
    tapes: Tapes
    draining: Draining
    folder: Path
    secret: bytes
    definitions: dict[str, Definition] = field(default_factory=dict)

    def task(self, record: Record) -> Task:
        """
        The task that a run was created with.

        Raises Unprepared when its definition is gone or is not signed with this worker's secret.
        """
        found = self.definitions.get(record.definition)
        if found is None:
            found = self.store.do(tasks.definition(record.definition))
            if found is None:
                raise Unprepared(f"the definition {record.definition} of this run is gone from the store")
            if len(self.definitions) > 1000:
                self.definitions.clear()
            self.definitions[record.definition] = found
        if not is_trusted(found, self.secret):
            log.error("definition.untrusted", task=record.task, definition=found.hash)
            raise Unprepared(
                f"the definition {found.hash} is not signed with this worker's RUNFLEET_SECRET; nothing was executed"
            )
        return found.task()
