"""
Does to a real fleet what the plan says, and writes down what it did and what it was answered.

Three actors at once: clients that trigger and stop, a platform that kills and starts processes again as a cloud would,
and somebody who takes Valkey away. At the end the faults stop, everything is given time to drain, and what the API and
the store say then is saved.
"""

import threading
import time
from pathlib import Path

from tests.soak.clients import Clients
from tests.soak.observer import Observer
from tests.soak.plan import SLOTS, task_file
from tests.soak.platform import GRACE_S, Platform
from tests.soak.soak import DRAIN_S, Soak
from tests.soak.store_faults import StoreFaults
from tests.system.fleet import Fleet


def run_soak(folder: Path, seed: int, seconds: float, older: Path | None = None) -> None:
    """A soak from the first process to the last fact; what was started is gone afterwards."""
    soak = Soak(folder, seed, seconds, older)
    with Fleet(folder, task_file(plans=soak.plans), grace_s=GRACE_S, threads=SLOTS, RUNFLEET_LOG_LEVEL="info") as fleet:
        platform = Platform(soak, fleet)
        clients, store_faults, observer = Clients(soak, fleet), StoreFaults(soak, fleet), Observer(soak, fleet)
        platform.start_all()
        soak.started_s = time.monotonic()
        soak.chaos.add("started")
        threads = [
            threading.Thread(target=target, name=target.__qualname__)
            for target in (platform.work, store_faults.work, observer.watch, clients.work, clients.work)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads[3:]:
                thread.join(seconds + DRAIN_S)
            soak.wait_for(seconds)
            soak.calm.set()
            threads[1].join(DRAIN_S)
            platform.calmed.wait(DRAIN_S)
            observer.see_drained()
        finally:
            soak.calm.set()
            soak.over.set()
            for thread in threads:
                thread.join(DRAIN_S)
        observer.save()
    soak.chaos.add("closed")  # nothing was left behind, or the fleet would have said so
    soak.chaos.close()
    soak.answers.close()
