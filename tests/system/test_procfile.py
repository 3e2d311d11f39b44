"""The Procfile is what a platform starts: each of its lines works as it stands."""

from __future__ import annotations

from tests.system.conftest import StartFleet
from tests.system.fleet import procfile


def test_every_line_starts_what_it_says_and_release_applies_the_tasks_first(make_fleet: StartFleet) -> None:
    fleet = make_fleet('[tasks.hello]\nrun = "echo hello"\n')
    assert set(procfile()) == {"web", "worker", "scheduler", "release"}
    release = fleet.launch("release")
    assert release.wait() == 0, release.said()
    assert "added hello" in release.said()
    fleet.start("web", "worker")
    assert fleet.log(fleet.perform("hello")) == ["hello"]  # without a scheduler, too
    fleet.start("scheduler")
    assert "added=0 changed=0 removed=0 unchanged=1" in fleet.of("scheduler").wait_for("definitions.applied")
