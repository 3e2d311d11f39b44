"""
Does to a real fleet what the plan says, and writes down what it did and what it was answered.

Three actors at once: clients that trigger and stop, a platform that kills and starts processes again as a cloud would,
and somebody who takes Valkey away. At the end the faults stop, everything is given time to drain, and what the API and
the store say then is saved.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from tests.soak.clients import Clients
from tests.soak.plan import SLOTS, task_file
from tests.soak.platform import GRACE_S, Platform
from tests.soak.stage import DRAIN_S, Stage
from tests.soak.weather import Weather
from tests.soak.witness import Witness
from tests.system.fleet import Fleet


def run_soak(folder: Path, seed: int, seconds: float, older: Path | None = None) -> None:
    """A soak from the first process to the last fact; what was started is gone afterwards."""
    stage = Stage(folder, seed, seconds, older)
    with Fleet(
        folder, task_file(plans=stage.plans), grace_s=GRACE_S, threads=SLOTS, RUNFLEET_LOG_LEVEL="info"
    ) as fleet:
        platform = Platform(stage, fleet)
        clients, weather, witness = Clients(stage, fleet), Weather(stage, fleet), Witness(stage, fleet)
        platform.start_all()
        stage.started_s = time.monotonic()
        stage.chaos.add("started")
        threads = [
            threading.Thread(target=target, name=target.__qualname__)
            for target in (platform.work, weather.work, witness.watch, clients.work, clients.work)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads[3:]:
                thread.join(seconds + DRAIN_S)
            stage.wait_for(seconds)
            stage.calm.set()
            threads[1].join(DRAIN_S)
            platform.calmed.wait(DRAIN_S)
            witness.see_drained()
        finally:
            stage.calm.set()
            stage.over.set()
            for thread in threads:
                thread.join(DRAIN_S)
        witness.save()
    stage.chaos.add("closed")  # nothing was left behind, or the fleet would have said so
    stage.chaos.close()
    stage.answers.close()
