"""What the spawner promises: it starts what it is asked to, tells how it ended, and leaves nothing of it behind."""

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.waiting import in_threads, wait_until
from tests.worker.child_output import Ended, is_running, read_line, read_to_end
from worker.processes.commands import CommandProcess, Spawner
from worker.processes.handle import Launch, SpawnFailed

ROOT = Path(__file__).parents[2]
SPAWNER = ROOT / "worker" / "spawner"
Spawn = Callable[..., CommandProcess]


@pytest.fixture
def spawn(spawner: Spawner, tmp_path: Path) -> Spawn:
    """Start a shell command (or an argument vector) with the test's folder as working directory."""
    count = iter(range(1000))

    def spawn(command: str | tuple[str, ...], **more: object) -> CommandProcess:
        run_id = f"run-{next(count)}"
        env = {"PATH": os.environ["PATH"], "RUNFLEET_RUN_ID": run_id, **more.pop("env", {})}  # type: ignore[dict-item]  # of a test
        argv = ("sh", "-c", command) if isinstance(command, str) else command
        options = {"cwd": str(tmp_path), **more}
        return spawner.spawn(Launch(argv=argv, env=env, run_id=run_id, **options))  # type: ignore[arg-type]  # of a test

    return spawn


def run(spawn: Spawn, command: str | tuple[str, ...], **more: object) -> Ended:
    return read_to_end(spawn(command, **more))


def test_output_and_exit_code_come_back(spawn: Spawn) -> None:
    ended = run(spawn, "echo out; echo err >&2; exit 3")
    assert (ended.exit.code, ended.exit.signal, ended.exit.lost) == (3, None, False)
    assert (ended.stdout, ended.stderr) == ("out\n", "err\n")


def test_a_death_by_signal_is_reported_as_128_plus_its_number(spawn: Spawn) -> None:
    ended = run(spawn, "kill -SEGV $$")
    assert (ended.exit.code, ended.exit.signal) == (128 + 11, 11)


def test_memory_and_cpu_time_are_measured(spawn: Spawn) -> None:
    code = "x = bytearray(60_000_000)\nfor i in range(3_000_000): pass"
    ended = run(spawn, (sys.executable, "-S", "-c", code))
    assert ended.exit.peak_memory_bytes > 60_000_000
    assert ended.exit.cpu_time_ms > 0


def test_a_child_leads_its_own_session_and_group_and_reads_nothing(spawn: Spawn) -> None:
    code = "import os; print(os.getpid(), os.getsid(0), os.getpgid(0), repr(os.read(0, 9)))"
    child = spawn((sys.executable, "-S", "-c", code))
    pid = child.started()
    assert read_to_end(child).stdout.split() == [str(pid)] * 3 + ["b''"]


def test_a_child_gets_no_descriptor_of_ours(spawn: Spawn) -> None:
    for limits in ({}, {"address_space_limit": 1 << 30}):
        # No pipeline here: its shell may still hold the pipe when `ls` looks.
        assert run(spawn, "ls /proc/$$/fd; true", **limits).stdout.split() == ["0", "1", "2"]


@pytest.mark.parametrize("limits", [{}, {"cpu_limit_s": 100}], ids=["spawned", "forked"])
def test_a_child_has_default_signals(spawn: Spawn, limits: dict[str, int]) -> None:
    ended = run(spawn, ("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"), **limits)
    blocked, ignored = (int(line.split()[1], 16) for line in ended.stdout.splitlines())
    glibcs_own = 3 << 31  # its posix_spawn leaves two signals ignored that only it uses
    assert (blocked, ignored & ~glibcs_own) == (0, 0)


def test_a_child_has_exactly_its_environment(spawn: Spawn) -> None:
    ended = run(spawn, ("env",), env={"ODD": "\udcff ü", "EMPTY": ""}, umask=0o27)
    assert {"EMPTY=", "ODD=\udcff ü"} < set(ended.stdout.splitlines())
    assert len(ended.stdout.splitlines()) == 4


def test_umask_directory_and_niceness_are_set_for_one_run_only(spawn: Spawn, tmp_path: Path) -> None:
    command = "umask; pwd; nice"
    usual = run(spawn, command).stdout
    for limits in ({"umask": 0o71}, {"umask": 0o72, "nice": 3}):
        assert run(spawn, command, cwd="/", **limits).stdout.split()[0] == f"{limits['umask']:04o}"
        assert run(spawn, command).stdout == usual, "the run before left something behind"
    assert run(spawn, command, umask=0o77, nice=7).stdout.split() == ["0077", str(tmp_path), "7"]
    assert run(spawn, command, umask=0o27).stdout.split() == ["0027", str(tmp_path), "0"]
    assert run(spawn, command, umask=0o22, cwd="/").stdout.split() == ["0022", "/", "0"]


def test_a_big_environment_arrives(spawn: Spawn) -> None:
    env = {f"BIG_{number}": "x" * 100_000 for number in range(5)}
    assert run(spawn, "echo ${#BIG_0} ${#BIG_4}", env=env).stdout == "100000 100000\n"


def test_an_address_space_limit_holds(spawn: Spawn) -> None:
    ended = run(spawn, (sys.executable, "-S", "-c", "bytearray(300_000_000)"), address_space_limit=200_000_000)
    assert ended.exit.code == 1
    assert "MemoryError" in ended.stderr


HOLD = (
    f"{sys.executable} -S -c "
    "'import os, time; held = os.urandom(90_000_000); print(os.getpid(), flush=True); time.sleep(60)'"
)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(f"{HOLD} & {HOLD} & {HOLD}", id="in a group"),
        pytest.param(f"setsid {HOLD} & setsid {HOLD} & {HOLD}", id="in other sessions"),
        pytest.param(f"(setsid {HOLD} & setsid {HOLD} &); {HOLD}", id="orphans"),
    ],
)
def test_a_memory_limit_is_of_all_processes_together(spawn: Spawn, script: str) -> None:
    ended = run(spawn, script, memory_limit=200_000_000)
    assert ended.exit.signal == signal.SIGKILL
    assert 200_000_000 < ended.exit.memory_used < 400_000_000
    assert ended.exit.peak_memory_bytes == ended.exit.memory_used
    assert not any(is_running(int(pid)) for pid in ended.stdout.split())


def test_what_is_only_reserved_or_shared_does_not_count(spawn: Spawn) -> None:
    reserved = "import mmap, os, time; held = mmap.mmap(-1, 2 << 30); "
    shared = "data = os.urandom(80_000_000); pids = [os.fork() for _ in range(2)]; time.sleep(1.2)"
    ended = run(spawn, (sys.executable, "-S", "-c", reserved + shared), memory_limit=200_000_000)
    assert (ended.exit.code, ended.exit.memory_used, ended.stderr) == (0, 0, "")


def test_the_peak_of_a_small_command_is_not_that_of_the_spawner(spawn: Spawn) -> None:
    assert run(spawn, "true").exit.peak_memory_bytes == 0
    assert run(spawn, "true", nice=1).exit.peak_memory_bytes == 0


def test_a_cpu_limit_ends_with_a_signal_that_says_so(spawn: Spawn) -> None:
    assert run(spawn, "while :; do :; done", cpu_limit_s=1).exit.signal == signal.SIGXCPU


@pytest.mark.parametrize("limits", [{}, {"cpu_limit_s": 100}], ids=["spawned", "forked"])
def test_a_failed_start_gives_the_reason(spawn: Spawn, tmp_path: Path, limits: dict[str, int]) -> None:
    script, broken, text = (tmp_path / name for name in ("script", "broken", "text"))
    script.write_text("#!/bin/sh\n")
    for file, content in ((broken, "#!/no/such/interpreter\n"), (text, "just text\n")):
        file.write_text(content)
        file.chmod(0o755)
    for argv, sentence in {
        ("no-such-program",): "cannot start 'no-such-program': no such program in PATH (",
        ("/no/such",): "cannot start '/no/such': No such file or directory",
        ("./script",): "cannot start './script': it is not executable (chmod +x ./script)",
        ("./broken",): "cannot start './broken': the interpreter that its first line names does not exist",
        ("./text",): "cannot start './text': it is neither a program of this machine nor a script",
        (str(tmp_path),): f"cannot start '{tmp_path}': it is a directory",
        ("sh", "nul\0"): "embedded null byte",
        (): "cannot start it",
    }.items():
        child = spawn(argv, **limits)
        with pytest.raises(SpawnFailed) as failure:
            child.started()
        assert sentence in str(failure.value)
        child.close()


def test_a_missing_directory_is_named(spawn: Spawn) -> None:
    child = spawn("true", cwd="/no/such/folder")
    with pytest.raises(SpawnFailed, match="working directory '/no/such/folder': No such file"):
        child.started()
    child.close()
    assert run(spawn, "echo and on it goes").exit.code == 0


def test_a_signal_reaches_the_whole_group(spawn: Spawn) -> None:
    child = spawn("sleep 100 & echo $!; wait")
    child.started()
    sleeper = int(read_line(child.stdout_fd))
    child.signal(signal.SIGTERM)
    assert read_to_end(child).exit.signal == signal.SIGTERM
    assert not is_running(sleeper)


def test_a_stopped_process_can_be_killed(spawn: Spawn) -> None:
    child = spawn("kill -STOP $$")
    child.started()
    child.signal(signal.SIGKILL)
    assert read_to_end(child).exit.signal == signal.SIGKILL


def test_after_the_end_no_signal_is_sent(spawn: Spawn) -> None:
    child = spawn("exit 0")
    child.started()
    wait_until(child.read_exit, "it ended")
    child.signal(signal.SIGKILL)
    assert child.read_exit() is child.read_exit()
    child.close()
    child.signal(signal.SIGKILL)
    assert run(spawn, "echo the spawner is well").exit.code == 0


@pytest.mark.parametrize(
    "leftover",
    [
        "sleep 100 & echo $!",
        "setsid sleep 100 & echo $!",
        "setsid sh -c 'sh -c \"echo \\$\\$; exec sleep 100\" & exec sleep 100' & sleep .1",
        "env -i setsid sleep 100 & echo $!",
        "trap '' TERM HUP; (setsid sh -c 'sleep 100; sleep 100' & echo $!)",
    ],
    ids=["group", "session", "deep", "hidden", "deaf"],
)
def test_nothing_of_a_run_outlives_it(spawn: Spawn, leftover: str) -> None:
    # The leftover holds the pipes, too: that they end shows that it died.
    ended = run(spawn, leftover)
    assert ended.exit.code == 0
    assert not is_running(int(ended.stdout.split()[0]))


def test_a_leftover_of_one_run_dies_while_another_lives_and_harms_it_not(spawn: Spawn) -> None:
    other = spawn("setsid sh -c 'echo $$; exec sleep 100' & wait; echo woken; exit 5")
    other.started()
    daemon = int(read_line(other.stdout_fd))
    ended = run(spawn, "setsid sleep 100 & echo $!")
    assert not is_running(int(ended.stdout))
    assert is_running(daemon)
    os.kill(daemon, signal.SIGKILL)
    end = read_to_end(other)
    assert (end.exit.code, end.stdout) == (5, "woken\n")


def test_a_daemon_lives_as_long_as_its_run(spawn: Spawn) -> None:
    child = spawn("mkfifo fifo; (setsid sh -c 'echo $$; exec sleep 100' &); read line < fifo; echo over")
    child.started()
    daemon = int(read_line(child.stdout_fd))
    assert run(spawn, "echo other > fifo").exit.code == 0
    assert read_to_end(child).stdout == "over\n"
    assert not is_running(daemon)


def test_closing_the_handle_kills_what_runs(spawn: Spawn) -> None:
    child = spawn("setsid sleep 100 & echo $!; wait")
    pid = child.started()
    daemon = int(read_line(child.stdout_fd))
    child.close()
    child.close()
    wait_until(lambda: not is_running(pid) and not is_running(daemon), "run and daemon are dead")


def test_many_threads_spawn_at_once(spawn: Spawn) -> None:
    codes: list[int] = []

    def some(first: int) -> None:
        codes.extend(run(spawn, f"exit {number}").exit.code for number in range(first, first + 10))

    in_threads(*(partial(some, first) for first in range(0, 60, 10)))
    assert sorted(codes) == list(range(60))


def test_signals_to_the_spawner_do_not_end_it(spawner: Spawner, spawn: Spawn) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(spawner.pid, number)
    assert run(spawn, "exit 4").exit.code == 4
    assert spawner.is_alive()


def test_without_its_spawner_a_run_is_lost_and_killed(spawner: Spawner, spawn: Spawn) -> None:
    child = spawn("exec sleep 100")
    pid = child.started()
    os.kill(spawner.pid, signal.SIGKILL)
    ended = wait_until(child.read_exit, "the loss was noticed")
    assert ended is not None
    assert ended.lost
    wait_until(lambda: not spawner.is_alive(), "its end was noticed")
    wait_until(lambda: not is_running(pid), "the process is dead")
    child.close()
    with pytest.raises(SpawnFailed):
        spawn("true").started()


def test_the_spawner_is_lean(spawner: Spawner, spawn: Spawn) -> None:
    assert run(spawn, "true").exit.code == 0
    status = Path(f"/proc/{spawner.pid}/status").read_text()  # more is shown to root only
    private_kb = sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    assert 1000 < private_kb < 9000


def test_a_guard_ends_with_its_run_and_ends_its_run_with_the_spawner(spawner: Spawner, spawn: Spawn) -> None:
    def children() -> set[int]:
        return {int(pid) for pid in Path(f"/proc/{spawner.pid}/task/{spawner.pid}/children").read_text().split()}

    assert run(spawn, "true", heartbeat_timeout_s=60.0).exit.code == 0
    wait_until(lambda: not children(), "the guard has gone with its run")
    one, other = spawn("sleep 100", heartbeat_timeout_s=60.0), spawn("sleep 100")
    pids = [one.started(), other.started()]
    (guard,) = children() - set(pids)
    assert run(spawn, "true").exit.code == 0  # the end of another is none of its own
    assert is_running(guard)
    one.signal(signal.SIGKILL)
    wait_until(lambda: not is_running(guard), "the guard has gone with its run")
    strict = spawn("setsid sleep 100 & sleep 100", heartbeat_timeout_s=60.0)
    pid = strict.started()
    os.kill(spawner.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), "the guard ended it")
    for child in (one, other, strict):
        child.close()


WORKER = """
import os, sys, time
from worker.processes.commands import Spawner
from worker.processes.handle import Launch
spawner = Spawner.start()
children = []
for number in range(3):
    script = f"sleep 100 & setsid sh -c 'sleep 100 & echo $$ $!; wait' & echo $$ $!; trap \\"\\" TERM; wait"
    env = {"PATH": os.environ["PATH"], "RUNFLEET_RUN_ID": str(number)}
    child = spawner.spawn(Launch(argv=("sh", "-c", script), env=env, run_id=str(number)))
    child.started()
    text = b""
    while text.count(b"\\n") < 2:
        try:
            text += os.read(child.stdout_fd, 4096)
        except BlockingIOError:
            time.sleep(0.001)
    children.append(child)
    print(text.decode().replace("\\n", " "), end=" ", flush=True)
print(spawner.pid, flush=True)
time.sleep(100)
"""


def test_a_killed_worker_takes_every_descendant_of_its_runs_along() -> None:
    with subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, cwd=ROOT) as worker:
        assert worker.stdout is not None
        pids = [int(word) for word in read_line(worker.stdout.fileno()).split()]
        assert len(pids) == 13
        assert all(map(is_running, pids))
        worker.kill()
        killed_s = time.monotonic()
        wait_until(lambda: not any(map(is_running, pids)), "the whole tree is dead")
        assert time.monotonic() - killed_s < 2


@pytest.mark.parametrize("path", sorted(SPAWNER.glob("*.py")), ids=lambda path: str(path.name))
def test_the_files_that_foreign_interpreters_read_are_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imports <= set(sys.stdlib_module_names) | {file.stem for file in SPAWNER.glob("*.py")}
