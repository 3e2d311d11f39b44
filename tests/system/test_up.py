"""``runfleet up`` with everything real: it greets, runs tasks, survives, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from shared.cli.data_dir import DataFolder
from shared.cli.valkey_server import arguments, ask, find_server
from shared.isolation import isolated
from shared.settings import REDIS_URL_NAMES, Settings
from tests.commands import run_command
from tests.system.processes import command_line, family, identity, is_alive
from tests.system.unprivileged import ORDINARY, memory_of, readable
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
START_S = 60.0
COMMAND = (sys.executable, "-P", "-m", "shared")
TASKS = """
[tasks.hello]
run = "echo hello; echo greeting=hi >> $RUNFLEET_OUTPUT"

[tasks.stubborn]
run = "trap '' TERM; echo $$ > stubborn.pid; while true; do sleep 600; done"
graceful_stop = "1s"

[tasks.path]
run = "echo path=$PYTHONPATH >> $RUNFLEET_OUTPUT"
"""


class Up:
    """One ``runfleet up`` in *folder*, with its port chosen by the system."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        command: Sequence[str] = COMMAND,
        words: Sequence[str] | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.output = folder / f"out-{time.monotonic_ns()}"
        env = {name: value for name, value in os.environ.items() if not name.startswith("RUNFLEET_")}
        env["PYTHONPATH"] = f"{ROOT}:{folder}"
        env |= {"RUNFLEET_SHUTDOWN_GRACE": "2", **settings}
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                [*command, "up", *(["--port", str(port)] if words is None else words)],
                cwd=folder,
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        return self.output.read_text()

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.said()
        return "Runfleet is running." in self.said()

    def wait(self) -> Up:
        wait_until(self.is_up, "it is up", START_S)
        return self

    def call(self, method: str, path: str, body: Any = None) -> Any:
        found = re.search(r"API +(http://\S+)", self.said())
        assert found
        token = (self.folder / ".runfleet" / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = Request(found[1] + path, content, method=method, headers=headers)
        with urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def run(self, task: str) -> Any:
        """Start *task* and wait for its end."""
        run = self.call("POST", f"/api/tasks/{task}/run")
        wait_until(lambda: self.call("GET", f"/api/runs/{run['id']}")["status"] == "ended", f"{task} ended", 20)
        return self.call("GET", f"/api/runs/{run['id']}")

    def hang(self) -> int:
        """Start a run that hears no SIGTERM; its process id."""
        self.call("POST", "/api/tasks/stubborn/run")
        path = self.folder / "stubborn.pid"
        wait_until(lambda: path.exists() and path.read_text().endswith("\n"), "the stubborn run is there", 20)
        return int(path.read_text())

    def processes(self) -> dict[int, str]:
        """Everything it started that still runs, by process id: ours have its token, the store names its socket."""
        folder = DataFolder(self.folder / ".runfleet")
        token, store = f"RUNFLEET_TOKEN={folder.token()}".encode(), str(folder.socket())
        found: dict[int, str] = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if store in words or token in (path / "environ").read_bytes():
                    found[int(path.name)] = words
            except OSError:  # gone meanwhile, or somebody else's
                continue
        return found

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Up]]:
    (tmp_path / "runfleet.toml").write_text(TASKS)
    started: list[Up] = []

    def start_up(*, through: tuple[str, ...] = (), words: Sequence[str] | None = None, **settings: str) -> Up:
        started.append(Up(tmp_path, port=0, command=(*through, *COMMAND), words=words, **settings))
        return started[-1].wait()

    yield start_up
    for up in started:
        if up.process.poll() is None:
            up.process.send_signal(signal.SIGTERM)
            try:
                up.process.wait(40)
            except subprocess.TimeoutExpired:
                up.process.kill()
                up.process.wait()
    wait_until(lambda: not any(up.processes() for up in started), "nothing is left", 60)


def test_a_task_runs_and_one_ctrl_c_ends_everything(start: Callable[[], Up]) -> None:
    up = start()
    ended = up.run("hello")
    assert (ended["end_reason"], ended["outputs"]) == ("success", {"greeting": "hi"})
    assert up.end() == 0
    assert up.processes() == {}


def test_state_survives_a_restart(start: Callable[[], Up]) -> None:
    first = start()
    before = first.run("hello")
    assert first.end() == 0
    after = start().call("GET", f"/api/runs/{before['id']}")
    assert {**after, "$schema": ""} == {**before, "$schema": ""}  # that names the port, which is another one


def test_tasks_may_be_defined_without_making_a_secret_first(start: Callable[..., Up]) -> None:
    up = start(RUNFLEET_API_TASKS="on")
    up.call("PUT", "/api/tasks/made", {"run": "echo made=here >> $RUNFLEET_OUTPUT"})
    assert up.run("made")["outputs"] == {"made": "here"}


def test_no_task_can_read_up_and_its_store_and_orphan_guard_know_no_secret(
    start: Callable[..., Up], tmp_path: Path
) -> None:
    (tmp_path / ".runfleet").mkdir(mode=0o755)  # as an earlier release made it
    given = {"RUNFLEET_SECRET": "a secret of sixteen letters", "DATABASE_PASSWORD": "of no concern to them"}
    up = start(through=ORDINARY, **given)
    assert (tmp_path / ".runfleet").stat().st_mode & 0o777 == 0o700
    open_ones = {pid: command_line(pid) for pid in family([up.process.pid]) if readable(pid)}
    assert len(open_ones) == 2, open_ones
    assert any("orphan_guard.py" in words for words in open_ones.values())
    assert any("valkey-server" in words for words in open_ones.values())
    for pid in open_ones:
        kept = memory_of(pid)  # Valkey writes its title over its environment, and has a copy
        assert b"PATH=" in kept
        assert not any(word.encode() in kept for pair in given.items() for word in pair)


def test_runs_get_the_users_python_path_that_our_processes_do_without(start: Callable[[], Up], tmp_path: Path) -> None:
    for package in ("api", "worker", "scheduler"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the wrong one')")
    assert start().run("path")["outputs"] == {"path": f"{ROOT}:{tmp_path}"}


def test_a_killed_up_leaves_no_orphan(start: Callable[[], Up]) -> None:
    up = start()
    assert len(up.processes()) >= 4
    up.process.kill()
    up.process.wait()
    wait_until(lambda: not up.processes(), "every process is gone", 30)


def test_a_killed_up_leaves_no_run_behind(start: Callable[[], Up]) -> None:
    up = start()
    run = up.hang()
    up.process.kill()
    up.process.wait()
    wait_until(lambda: not up.processes() and not Path(f"/proc/{run}").exists(), "every process is gone", 30)


def test_a_second_ctrl_c_ends_everything_now_runs_included(start: Callable[[], Up]) -> None:
    up = start()
    run = up.hang()
    up.process.send_signal(signal.SIGINT)
    time.sleep(0.6)  # a person's second Ctrl-C: closer together they are one wish
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(10) == 1
    wait_until(lambda: not up.processes() and not Path(f"/proc/{run}").exists(), "every process is gone", 5)


def test_up_can_end_with_who_started_it(tmp_path: Path) -> None:
    # What `make up` does: an intermediate process, killed without a chance to pass anything on.
    code = "import subprocess, sys; subprocess.run([sys.executable, '-P', '-m', 'shared', 'up', *sys.argv[1:]])"
    env = isolated(os.environ | {"PYTHONPATH": str(ROOT)}) | {"PYTHONPATH": str(ROOT)}
    folder = DataFolder(tmp_path / "data")
    words = ["--port", "0", "--data", str(folder.path), "--with-parent"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, start_new_session=True
    ) as parent:
        wait_until(lambda: bool(folder.holder().get("url")), "it is up", START_S)
        parent.kill()
    wait_until(lambda: not folder.is_in_use(), "it has ended with all it started", 30)


def test_a_process_that_dies_is_started_again(start: Callable[[], Up]) -> None:
    up = start()
    api = next(pid for pid, words in up.processes().items() if "-m api" in words)
    os.kill(api, signal.SIGKILL)
    wait_until(lambda: up.said().count("event=api.started") == 2, "the API was started again", START_S)
    assert "api was killed by SIGKILL; restarting it" in up.said()


def test_a_store_that_dies_is_started_again_with_its_data(start: Callable[[], Up]) -> None:
    up = start()
    before = up.run("hello")
    store = next(pid for pid, words in up.processes().items() if "valkey-server" in words)
    os.kill(store, signal.SIGKILL)
    wait_until(lambda: "store was killed by SIGKILL; restarting it" in up.said(), "its death was noticed", START_S)

    def is_back() -> bool:
        try:
            return bool(up.call("GET", f"/api/runs/{before['id']}") == before)
        except OSError:  # 503 while it is away
            return False

    wait_until(is_back, "the run is there again", 30)
    assert up.run("hello")["end_reason"] == "success"


@pytest.mark.parametrize("place", ["", "appendonlydir"])
def test_an_up_whose_data_folder_is_removed_says_so_and_ends(start: Callable[[], Up], place: str) -> None:
    up = start().wait()
    folder = up.folder / ".runfleet"
    run = up.call("POST", "/api/tasks/stubborn/run")
    wait_until(lambda: up.call("GET", f"/api/runs/{run['id']}")["status"] == "running", "it runs", 20)
    began = [one for one in map(identity, family([up.process.pid])) if one is not None]
    shutil.rmtree(folder / place)
    wait_until(lambda: f"The data folder {folder} was removed" in up.said(), "it says so", 5)
    assert up.process.wait(40) == 1
    wait_until(lambda: not any(map(is_alive, began)), "nothing of it is left", 5)


def test_a_second_up_in_the_same_folder_says_who_is_running(start: Callable[[], Up], tmp_path: Path) -> None:
    first = start()
    second = Up(tmp_path)
    assert second.process.wait(30) == 2
    assert f"already running here: process {first.process.pid}, http://127.0.0.1:" in second.said()


def test_apply_finds_the_store_of_the_up_in_its_folder(start: Callable[[], Up], tmp_path: Path) -> None:
    up = start()
    with (tmp_path / "runfleet.toml").open("a") as file:
        file.write('[tasks.later]\nrun = "true"\n')
    applied = run_command(
        [sys.executable, "-P", "-m", "shared", "apply"],
        cwd=tmp_path,
        env=isolated(os.environ | {"PYTHONPATH": str(ROOT)}) | {"PYTHONPATH": str(ROOT)},
    )
    assert applied.stdout == "added later\n", applied.stderr
    assert up.run("later")["end_reason"] == "success"


def test_sighup_makes_its_scheduler_read_the_task_file_again_and_ends_nothing(
    start: Callable[[], Up], tmp_path: Path
) -> None:
    up = start()
    (tmp_path / "runfleet.toml").write_text(TASKS + '[tasks.later]\nrun = "true"\n')
    up.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "later" in [task["name"] for task in up.call("GET", "/api/tasks")["tasks"]], "it is applied", 20)
    assert up.run("later")["end_reason"] == "success"
    assert "restarting it" not in up.said()


def test_a_file_that_a_person_starts_it_with_may_replace_all_tasks(start: Callable[[], Up], tmp_path: Path) -> None:
    """The store is its own; an apply elsewhere would ask for --allow-removals."""
    up = start()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(30) == 0
    (tmp_path / "runfleet.toml").write_text('[tasks.other]\nrun = "true"\n')
    again = start()
    assert [task["name"] for task in again.call("GET", "/api/tasks")["tasks"]] == ["other"]


def test_a_lost_secret_is_replaced_only_when_asked_to_and_keeps_the_history(
    start: Callable[..., Up], tmp_path: Path
) -> None:
    up = start()
    before = up.run("hello")
    assert up.end() == 0
    (tmp_path / ".runfleet" / "secret").unlink()
    refused = Up(tmp_path)
    assert refused.process.wait(30) == 2
    assert "replace the signatures with --allow-unsigned" in refused.said()
    again = start(words=["--port", "0", "--allow-unsigned"])
    assert again.run("hello")["end_reason"] == "success"
    assert again.call("GET", f"/api/runs/{before['id']}")["end_reason"] == "success"


def test_commands_beside_an_up_create_no_secret_or_token(start: Callable[[], Up], tmp_path: Path) -> None:
    up = start()
    kept = [tmp_path / ".runfleet" / name for name in ("secret", "token")]
    away = [path.rename(path.with_suffix(".away")) for path in kept]
    said = {}
    for words in (["doctor"], ["apply"]):
        ended = run_command([*COMMAND, *words], cwd=tmp_path, env=bare())
        said[words[0]] = ended.stdout + ended.stderr
    made = [path.name for path in kept if path.exists()]
    for path, original in zip(away, kept, strict=True):
        path.rename(original)
    assert made == []
    assert "RUNFLEET_SECRET is not set here" in said["doctor"]
    assert "RUNFLEET_SECRET is not set here" in said["apply"]
    assert up.run("hello")["end_reason"] == "success"


def test_a_port_of_the_platform_does_not_open_it_to_others(start: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    up = start(words=(), PORT=str(port))
    assert f"API        http://127.0.0.1:{port} " in up.said()
    assert "event=api.started host=127.0.0.1" in up.said()


def test_output_that_others_may_read_holds_no_token(start: Callable[..., Up]) -> None:
    up = start()
    assert DataFolder(up.folder / ".runfleet").token() not in up.said()
    assert (up.folder / ".runfleet" / "header").stat().st_mode & 0o777 == 0o600


def test_a_store_that_is_silent_gets_no_second_one_on_its_file(tmp_path: Path, short_path: Path) -> None:
    folder = DataFolder(short_path / "data")
    command = arguments(find_server(), folder.path, folder.socket())
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as silent:
        try:
            wait_until(lambda: ask(folder.socket(), "PING") == "+PONG", "it answers")
            silent.send_signal(signal.SIGSTOP)
            up = Up(tmp_path, words=("--port", "0", "--data", str(folder.path)))
            wait_until(folder.is_in_use, "it has the folder", START_S)
            with pytest.raises(AssertionError, match="in vain"):
                wait_until(lambda: servers_of(up), "a second server is started", 3)
            silent.send_signal(signal.SIGCONT)  # then it does what it was asked to: write its file and end
            up.wait()
            assert silent.wait(30) == 0
        finally:
            silent.kill()
    assert up.end() == 0


def servers_of(up: Up) -> list[int]:
    """The stores that descend from an ``up``, their shells included."""
    return [pid for pid in family([up.process.pid]) if "valkey-server" in command_line(pid)]


def test_commands_beside_an_up_on_a_configured_redis_name_it(
    start: Callable[..., Up], settings: Settings, tmp_path: Path
) -> None:
    start(REDIS_URL=settings.redis_url, RUNFLEET_KEY_PREFIX=settings.key_prefix)
    for words in (["apply"], ["doctor"], ["doctor", "--data", ".runfleet"]):
        said = run_command([*COMMAND, *words], cwd=tmp_path, env=bare())
        assert said.returncode == 2
        assert f"uses {settings.redis_url}, not a store of its own: set REDIS_URL" in said.stdout + said.stderr


def test_doctor_and_apply_find_an_up_on_another_data_folder(tmp_path: Path) -> None:
    (tmp_path / "runfleet.toml").write_text(TASKS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    up = Up(tmp_path).wait()
    try:
        data = str(tmp_path / ".runfleet")
        for words, found in (
            (["apply", str(tmp_path / "runfleet.toml")], "3 unchanged"),
            (["doctor"], "AOF, every second"),
        ):
            said = run_command([*COMMAND, *words, "--data", data], cwd=elsewhere, env=bare())
            assert (said.returncode, found in said.stdout + said.stderr) == (0, True), said.stdout + said.stderr
    finally:
        assert up.end() == 0


def bare() -> dict[str, str]:
    """The environment of a person who has set nothing of ours."""
    ours = (*REDIS_URL_NAMES, "PORT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNFLEET_") and name not in ours}
    return isolated(kept)


def test_a_taken_port_is_named_with_the_cure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = Up(tmp_path, port=port)
        assert up.process.wait(30) == 2
    assert f"Port {port} on 127.0.0.1 is in use" in up.said()
    assert f"runfleet up --port {port + 1}" in up.said() or f"-m shared up --port {port + 1}" in up.said()


def test_a_wrong_task_file_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "runfleet.toml").write_text("[tasks.a]\nrn = 1\n")
    up = Up(tmp_path)
    assert up.process.wait(30) == 1
    assert "tasks.a.rn" in up.said()
    assert not DataFolder(tmp_path / ".runfleet").is_in_use()
