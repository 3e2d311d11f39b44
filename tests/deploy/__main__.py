"""
``make deploy-check``: carry out the Dockerfile's steps, then start what the compose file and the units say.

Everything is in scratch roots (``scratch.py``) and on this machine's loopback; what it needs is downloaded as a build
does. It says what it does and ends with 0 when a task ran in both fleets and everything ended as it should.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.request import Request, urlopen

from shared.cli.valkey_server import find_server
from tests.deploy import deploy_files
from tests.deploy.scratch import PATH, Process, Scratch, enter_namespaces, is_root, say
from tests.packages import builds

TOKEN = "rf_deploy_check_0123456789abcdef"
SECRET = "a secret of the deploy check, long enough"
TASK = "greet"


def main() -> int:
    """Try everything; the exit code."""
    enter_namespaces()
    with ExitStack() as at_end:
        place = Path(at_end.enter_context(tempfile.TemporaryDirectory(prefix="runfleet-deploy-")))
        say("The steps of deploy/Dockerfile")
        image, user = build(at_end)
        say("The services of deploy/compose.yaml")
        for path in ("runfleet.toml", "docs/examples"):
            target = image.path("/app") / path
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (deploy_files.ROOT / path).is_dir() else shutil.copy)(deploy_files.ROOT / path, target)
        subprocess.run(["mount", "-o", "remount,ro,bind", image.root], check=True)  # read_only, and /tmp is a tmpfs
        names = ("web", "scheduler", "worker")
        fleet = {name: deploy_files.composed(name) for name in names}
        try_fleet(
            image, place / "compose", fleet, deploy_files.image_environment(), user, deploy_files.composed("release")
        )
        say("The units of deploy/systemd")
        subprocess.run(["mount", "-o", "remount,rw,bind", image.root], check=True)
        verify_units(image)
        units = {path.stem.removeprefix("runfleet-"): deploy_files.served(path) for path in deploy_files.UNITS}
        shutil.copytree(image.path("/app"), image.path("/srv/runfleet"))
        try_fleet(image, place / "systemd", units, {"PATH": PATH}, user, None)
    say("Both fleets ran a task and ended as they should.")
    return 0


def build(at_end: ExitStack) -> tuple[Scratch, str]:
    """Carry out the Dockerfile: the root of its last stage, and the user that it names."""
    stages: dict[str, Scratch] = {}
    context = Path(at_end.enter_context(tempfile.TemporaryDirectory(prefix="runfleet-context-")))
    builds.copy_to(context)
    shutil.copy(deploy_files.ROOT / "requirements.txt", context)
    stage: Scratch | None = None
    env: dict[str, str] = {}
    folder, user = "/", ""
    for step in deploy_files.dockerfile():
        if step.verb == "FROM":
            name = step.text.partition(" AS ")[2] or "image"
            stage, folder, env = at_end.enter_context(Scratch(name)), "/", {}
            stages[name] = stage
            continue
        assert stage is not None
        if step.verb == "RUN":
            stage.run(step.text, folder, env)
        elif step.verb == "WORKDIR":
            folder = step.text
            stage.path(folder).mkdir(parents=True, exist_ok=True)
        elif step.verb == "COPY":
            *words, target = step.text.split()
            source = stages[words.pop(0).partition("=")[2]].root if words[0].startswith("--from=") else context
            copy([source / word.lstrip("/") for word in words], stage.path(os.path.join(folder, target)))
        elif step.verb == "ENV":
            env |= deploy_files.image_environment()
        elif step.verb == "USER":
            user = step.text
        else:
            assert step.verb in ("EXPOSE", "CMD"), f"deploy-check does not know {step.verb}"
    assert stage is not None
    return stage, user


def copy(sources: list[Path], target: Path) -> None:
    """What COPY does: a folder's content, or files, into *target*."""
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def try_fleet(
    image: Scratch,
    place: Path,
    services: Mapping[str, deploy_files.Service],
    base: Mapping[str, str],
    user: str,
    release: deploy_files.Service | None,
) -> None:
    """Start a store and the services, run a task, and end everything by SIGTERM."""
    place.mkdir()
    port, redis_port = free_port(), free_port()
    folder = "/app" if release else "/srv/runfleet"
    with closing(Store(place, redis_port)), ExitStack() as at_end:
        own = {"REDIS_URL": f"redis://127.0.0.1:{redis_port}/0", "RUNFLEET_SECRET": SECRET, "RUNFLEET_TOKEN": TOKEN}
        own |= {"RUNFLEET_PORT": str(port), "RUNFLEET_HOST": "127.0.0.1"}

        def start(name: str, service: deploy_files.Service) -> Process:
            say(f"  {name}: {' '.join(service.command)}")
            env = {**base, **service.environment, **own}
            process = image.start(service.command, folder, env, user=user, log=place / f"{name}.log")
            at_end.callback(process.kill)
            return process

        if release:
            first = start("release", release)
            assert first.wait(60) == 0, first.said()
        running = {name: start(name, service) for name, service in services.items()}
        wait_until(lambda: is_ready(port), lambda: "\n".join(one.said() for one in running.values()))
        applied = "scheduler.leading"
        wait_until(lambda: applied in running["scheduler"].said(), running["scheduler"].said)
        run = call(port, "POST", f"/api/tasks/{TASK}/run")
        wait_until(lambda: call(port, "GET", f"/api/runs/{run['id']}")["status"] == "ended", running["worker"].said)
        ended = call(port, "GET", f"/api/runs/{run['id']}")
        assert ended["end_reason"] == "success", (ended, running["worker"].said())
        say(f"  {TASK}: {ended['end_reason']}, as user {user if is_root() else 'root of this namespace'}")
        for name, process in running.items():
            code = process.stop(services[name].stop_s)
            assert code == 0, (name, code, process.said())
            assert "Traceback" not in process.said(), process.said()


class Store:
    """The store, with the options that the compose file gives it."""

    def __init__(self, place: Path, port: int) -> None:
        _, *options = deploy_files.composed("store").command
        command = [find_server(), *options, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(place)]
        self._popen = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def close(self) -> None:
        """End it."""
        self._popen.terminate()
        assert self._popen.wait(60) == 0


def verify_units(image: Scratch) -> None:
    """Have systemd itself read the units, where it is installed."""
    target = image.path("/srv/units")
    target.mkdir(parents=True, exist_ok=True)
    for path in deploy_files.UNITS:
        shutil.copy(path, target)
    if shutil.which("systemd-analyze"):
        image.run(
            f"systemd-analyze verify {' '.join(f'/srv/units/{path.name}' for path in deploy_files.UNITS)}", "/", {}
        )
    else:
        say("  systemd-analyze is not installed: the units are not verified")


def free_port() -> int:
    """A port that nobody uses."""
    with closing(create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


def call(port: int, method: str, path: str) -> Any:
    """One request to the API."""
    request = Request(f"http://127.0.0.1:{port}{path}", method=method, headers={"Authorization": f"Bearer {TOKEN}"})
    with urlopen(request, timeout=20) as answer:
        return json.load(answer)


def is_ready(port: int) -> bool:
    """Whether the API answers."""
    try:
        call(port, "GET", "/api/fleet")
    except OSError:
        return False
    return True


def wait_until(is_so: Callable[[], bool], why_not: Callable[[], str], patience_s: float = 60.0) -> None:
    """Wait; fails with what *why_not* says."""
    deadline_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline_s, why_not()
        time.sleep(0.1)  # a poll: what is waited for tells nobody


if __name__ == "__main__":
    sys.exit(main())
