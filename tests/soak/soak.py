"""What the actors of a soak share: the plan, the hour, and the records of what was done and answered."""

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Final

from tests.soak.history import Recorder
from tests.soak.plan import LIMITS, Action, backlog_of, kinds, make_plan

DRAIN_S: Final = 60.0
DRAINED_PER_S: Final = 50
"""Runs that six slots on a busy machine of two cores are through with in a second when nothing hits them."""

HOME: Final = Path(__file__).parent


class Soak:
    """
    One soak in a folder: its plan, the hour, and where what is done and answered is written down.

    ``older`` is a folder with another release, which then runs half of the processes.
    """

    def __init__(self, folder: Path, seed: int, seconds: float, older: Path | None = None) -> None:
        self.folder, self.seconds, self.older = folder, seconds, older
        self.plans = older is None or (older / "shared" / "store" / "lua" / "lib" / "plan.lua").exists()
        self.plan = make_plan(seed, seconds, plans=self.plans)
        self.chaos = Recorder(folder / "chaos.jsonl")
        self.answers = Recorder(folder / "answers.jsonl")
        limits = {name: LIMITS[name] for name in kinds(plans=self.plans)}
        self.chaos.add("plan", seed=seed, seconds=seconds, tasks=limits, mixed=older is not None)
        (folder / "plan.jsonl").write_text("".join(json.dumps(action._asdict()) + "\n" for action in self.plan))
        shutil.copy(HOME / "work.py", folder / "work.py")
        self.drain_s = DRAIN_S + backlog_of(seconds) / DRAINED_PER_S
        self.started_s = 0.0
        self.calm = threading.Event()
        self.over = threading.Event()

    def actions(self, who: str) -> list[Action]:
        """What somebody has to do."""
        return [action for action in self.plan if action.who == who]

    def wait_for(self, at_s: float) -> bool:
        """Wait until so long after the start; False when it is too late for faults."""
        return not self.calm.wait(max(0.0, self.started_s + at_s - time.monotonic()))
