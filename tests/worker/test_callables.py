"""What a ``call`` task may rely on, forked from a warm interpreter or made in one."""

import json
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import in_threads, wait_until
from tests.worker.child_output import Ended, is_running, read_line, read_to_end
from worker.processes.callables import CALLS_MAX, CallableProcess, InterpreterPool
from worker.processes.commands import Spawner
from worker.processes.handle import CallRequest, SpawnFailed

JOBS = """
import os, signal, subprocess, sys, threading, time
imported_in = os.getpid()
print("imported")

def add(a, b=0): return a + b
def where(): return [os.getpid(), imported_in, os.getsid(0)]
def env(name): return os.environ.get(name)
def say(): print("out"); print("err", file=sys.stderr); sys.stdout.write("no newline")
def live():
    print("first")
    while not os.path.exists("go"): time.sleep(0.005)
def wait(): print("waiting"); time.sleep(100)
def boom(): raise ValueError("no such luck")
def leave(code): sys.exit(code)
def crash(): os._exit(9)
def kill(): os.kill(os.getpid(), signal.SIGKILL)
def interrupt(): os.kill(os.getpid(), signal.SIGINT); time.sleep(100)
async def later(): return "later"
def odd(): return object()
def huge(): return "x" * 2_000_000
def deep(): return nested(101)
def deeper(): return nested(100_000)
def fitting(): return [nested(99), "[{" * 300]
def nested(depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value
def quoted(): return '"' * 499_000
def forge(what):
    import socket
    print(os.getpid(), flush=True)
    for fd in range(4, 100):  # 3 is where requests come from
        try:
            with socket.socket(fileno=os.dup(fd)) as one:
                while True:
                    one.sendall(what.encode("latin-1"))
        except OSError:
            continue
def large(): return "x" * 900_000
def big(): return len(bytearray(600_000_000))
def hold(size):
    held = os.urandom(size)
    time.sleep(60)
def spin():
    while True: pass
def stdin(): return sys.stdin.read()
def surroundings(): return [sys.argv, sys.path[0], os.getcwd(), "spawner" in sys.modules, os.umask(0)]
def thread(): threading.Thread(target=lambda: (time.sleep(0.05), print("from a thread"))).start()
def freeze(often):
    template = os.getppid()
    if often and os.fork() == 0:
        os.setsid()
        while True:
            os.kill(template, signal.SIGSTOP)
            time.sleep(0.0005)
    print(os.getpid(), flush=True)
    os.kill(os.getppid(), signal.SIGSTOP)
    time.sleep(100)
def shell(): subprocess.run("echo from the shell; echo $RUNFLEET_RUN_ID", shell=True)
def daemon():
    print(subprocess.Popen(["sleep", "100"], start_new_session=True).pid)
class Group:
    @staticmethod
    def method(): return "nested"
"""

SLOW_FORK = """
import os, signal, time

forked = os.fork
def fork():
    pid = forked()
    if pid:
        seen = 0
        while seen < 20:
            with open(f"/proc/{pid}/stat") as file:
                seen = seen + 1 if file.read().rpartition(")")[2].split()[0] == "S" else 0
            time.sleep(0.01)
        os.kill(pid, signal.SIGSTOP)
        with open("fork.new", "w") as file:
            file.write(str(pid))
        os.rename("fork.new", "fork")
        while not os.path.exists("there is room"):
            time.sleep(0.01)
    return pid
os.fork = fork

def value(): return "x" * 900_000
"""

Start = Callable[..., CallableProcess]
BOTH = pytest.mark.parametrize("isolate", [True, False], ids=["forked", "warm"])


@pytest.fixture
def interpreters(spawner: Spawner) -> Iterator[InterpreterPool]:
    interpreters = InterpreterPool(spawner)
    yield interpreters
    interpreters.close()


@pytest.fixture
def start(interpreters: InterpreterPool, tmp_path: Path) -> Start:
    """Start a function of the module ``jobs``; *more* are fields of the request."""
    (tmp_path / "jobs.py").write_text(JOBS)
    count = iter(range(10_000))

    def start(call: str, kwargs: dict[str, Any] | None = None, **more: Any) -> CallableProcess:
        run_id = f"run-{next(count)}"
        env = {"PATH": os.environ["PATH"], "RUNFLEET_RUN_ID": run_id, **more.pop("env", {})}
        call = call if ":" in call else f"jobs:{call}"
        options = {"cwd": str(tmp_path), **more}
        return interpreters.spawn(CallRequest(call=call, kwargs=kwargs or {}, env=env, run_id=run_id, **options))

    return start


def run(start: Start, call: str, kwargs: dict[str, Any] | None = None, **more: Any) -> Ended:
    return read_to_end(start(call, kwargs, **more))


def result(ended: Ended) -> Any:
    assert ended.exit.code == 0, ended
    assert ended.exit.result is not None
    return json.loads(ended.exit.result)


@BOTH
def test_arguments_go_in_and_the_value_comes_back(start: Start, isolate: bool) -> None:
    assert result(run(start, "add", {"a": 1, "b": 2}, isolate=isolate)) == 3
    assert result(run(start, "add", {"a": "ü"[:0], "b": "é"}, isolate=isolate)) == "é"
    assert result(run(start, "Group.method", isolate=isolate)) == "nested"
    assert result(run(start, "later", isolate=isolate)) == "later"
    assert len(result(run(start, "large", isolate=isolate))) == 900_000
    assert result(run(start, "add", {"a": 2**70}, env={"NO_TEXT": "\udcff"}, isolate=isolate)) == 2**70


def test_a_forked_run_has_a_process_and_session_of_its_own(start: Start) -> None:
    first, second = (result(run(start, "where")) for _ in range(2))
    assert first[0] == first[2] != first[1]
    assert second[0] != first[0]
    assert second[1] == first[1], "the module was imported twice"


def test_a_warm_child_serves_many_runs(start: Start) -> None:
    assert result(run(start, "where", isolate=False)) == result(run(start, "where", isolate=False))


def test_warm_calls_at_once_have_a_child_each(start: Start) -> None:
    waiting = [start("wait", isolate=False) for _ in range(2)]
    assert len({child.started() for child in waiting}) == 2
    for child in waiting:
        assert [read_line(child.stdout_fd) for _ in range(2)] == ["imported", "waiting"]
        child.close()


@BOTH
def test_output_is_captured_and_import_output_is_the_first_runs(start: Start, isolate: bool) -> None:
    first, second = (run(start, "say", isolate=isolate) for _ in range(2))
    assert (first.stdout, first.stderr) == ("imported\nout\nno newline", "err\n")
    assert (second.stdout, second.stderr) == ("out\nno newline", "err\n")


@BOTH
def test_lines_appear_while_it_runs(start: Start, tmp_path: Path, isolate: bool) -> None:
    child = start("live", isolate=isolate)
    child.started()
    assert [read_line(child.stdout_fd) for _ in range(2)] == ["imported", "first"]
    assert child.read_exit() is None
    (tmp_path / "go").touch()
    assert read_to_end(child).exit.code == 0


@BOTH
def test_each_run_has_its_environment_and_its_children_too(start: Start, isolate: bool) -> None:
    assert result(run(start, "env", {"name": "TRACEPARENT"}, env={"TRACEPARENT": "a"}, isolate=isolate)) == "a"
    assert result(run(start, "env", {"name": "TRACEPARENT"}, isolate=isolate)) is None
    assert run(start, "shell", isolate=isolate).stdout == "from the shell\nrun-2\n"


@BOTH
def test_another_environment_means_another_interpreter(start: Start, isolate: bool) -> None:
    first, second = (run(start, "env", {"name": "X"}, env={"X": x}, isolate=isolate) for x in "ab")
    assert (result(first), result(second)) == ("a", "b")
    assert second.stdout == "imported\n"


@BOTH
def test_the_surroundings_are_the_tasks_own(start: Start, tmp_path: Path, isolate: bool) -> None:
    found = result(run(start, "surroundings", isolate=isolate, umask=0o27))
    assert found == [["jobs"], str(tmp_path), str(tmp_path), False, 0o27]
    assert result(run(start, "stdin", isolate=isolate)) == ""


@BOTH
@pytest.mark.parametrize("name", ["spawner", "family", "leftovers", "loop", "starting", "wire"])
def test_the_tasks_own_module_of_the_same_name_as_ours_is_found(
    start: Start, tmp_path: Path, isolate: bool, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text("def me(): return __file__")
    assert result(run(start, f"{name}:me", isolate=isolate)) == str(tmp_path / f"{name}.py")


@BOTH
def test_an_exception_is_exit_code_1_with_its_traceback(start: Start, isolate: bool) -> None:
    ended = run(start, "boom", isolate=isolate)
    assert (ended.exit.code, ended.exit.signal, ended.exit.result) == (1, None, None)
    assert ended.stderr.startswith("Traceback")
    assert ended.stderr.endswith("ValueError: no such luck\n")
    assert "interpreter.py" not in ended.stderr


@BOTH
@pytest.mark.parametrize(
    ("code", "exit_code", "printed"), [(None, 0, ""), (7, 7, ""), (256 + 3, 3, ""), ("bye", 1, "bye\n")]
)
def test_sys_exit_is_honoured(start: Start, isolate: bool, code: object, exit_code: int, printed: str) -> None:
    ended = run(start, "leave", {"code": code}, isolate=isolate)
    assert (ended.exit.code, ended.stderr) == (exit_code, printed)


@BOTH
@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("odd", "jobs:odd returned a object that cannot be written as JSON"),
        ("huge", "returned 2000002 bytes of JSON; 1000000 are allowed"),
        ("deep", "returned a list that is nested more than 100 deep"),
        ("deeper", "returned a list that is nested more than 100 deep"),
        ("missing", "the module 'jobs' has no function 'missing'"),
        ("add", "missing 1 required positional argument: 'a'"),
        ("no_module_here:f", "No module named 'no_module_here'"),
    ],
)
def test_what_cannot_be_done_fails_with_a_sentence(start: Start, isolate: bool, call: str, sentence: str) -> None:
    ended = run(start, call, isolate=isolate)
    assert (ended.exit.code, ended.exit.lost) == (1, False)
    assert sentence in ended.stderr


@BOTH
def test_what_fits_comes_back_whole(start: Start, isolate: bool) -> None:
    assert result(run(start, "quoted", isolate=isolate)) == '"' * 499_000
    assert result(run(start, "fitting", isolate=isolate))[1] == "[{" * 300


def test_a_large_value_that_is_there_at_once_does_not_mix_with_what_the_interpreter_says(
    start: Start, tmp_path: Path
) -> None:
    """The fork is stopped in the middle of its value, when the interpreter goes on after forking."""
    (tmp_path / "slow.py").write_text(SLOW_FORK)
    call = start("slow:value")
    channel = call._channel
    wait_until((tmp_path / "fork").exists, "the fork waits for room")
    channel.receive()
    while select.select([channel.control_fd], [], [], 0)[0]:
        channel.receive()
    (tmp_path / "there is room").touch()
    select.select([channel.control_fd], [], [], 0.5)  # what is said now gets into the middle; it is to be nothing
    os.kill(int((tmp_path / "fork").read_text()), signal.SIGCONT)
    assert len(result(read_to_end(call))) == 900_000


@BOTH
@pytest.mark.parametrize(
    "forged",
    [
        "\xff\xff\xff\xf0" + "x" * 65536,
        "\0\0\0\x09not JSON.",
        '\0\0\0\x0b{"pid": 12}',
        '\0\0\0\x0b{"exit": 9}'[:-1] + "x",
        '\0\0\0\x0d{"exit": 256}',
        '\0\0\0\x1d{"exit": null, "signal": null}'[:33],
        "\0\0\x75\x30" + "[" * 30_000,
    ],
    ids=["endless", "no JSON", "for ever", "cut", "no code", "no end", "deep"],
)
def test_a_run_that_writes_to_the_workers_socket_is_killed(start: Start, isolate: bool, forged: str) -> None:
    ended = run(start, "forge", {"what": forged}, isolate=isolate)
    assert (ended.exit.violated, ended.exit.code) == (True, 137)
    pid = int(ended.stdout.split()[-1])
    wait_until(lambda: not is_running(pid), "it is dead")
    assert result(run(start, "add", {"a": 2}, isolate=isolate)) == 2


@pytest.mark.parametrize("often", [False, True])
def test_a_run_that_stops_its_interpreter_can_be_killed(start: Start, often: bool) -> None:
    assert run(start, "add", {"a": 1}).exit.code == 0
    child = start("freeze", {"often": often})
    child.started()
    while not (line := read_line(child.stdout_fd)).isdigit():
        pass
    wait_until(lambda: state_of(parent_of(int(line))) == "T", "its interpreter is stopped")
    child.signal(signal.SIGKILL)
    wait_until(lambda: child.read_exit() is not None, "it has an end", 20.0)
    wait_until(lambda: not is_running(int(line)), "it is dead")
    child.close()
    assert result(run(start, "add", {"a": 2})) == 2


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@BOTH
def test_a_crash_is_reported_and_the_next_run_works(start: Start, isolate: bool) -> None:
    assert run(start, "add", {"a": 1}, isolate=isolate).exit.code == 0
    assert run(start, "crash", isolate=isolate).exit.code == 9
    assert run(start, "kill", isolate=isolate).exit.signal == signal.SIGKILL
    assert result(run(start, "add", {"a": 2}, isolate=isolate)) == 2


@BOTH
def test_a_call_can_be_stopped(start: Start, isolate: bool) -> None:
    assert run(start, "add", {"a": 1}, isolate=isolate).exit.code == 0
    for number in (signal.SIGTERM, signal.SIGKILL):
        child = start("wait", isolate=isolate)
        child.started()
        while read_line(child.stdout_fd) != "waiting":
            pass
        child.signal(number)
        assert read_to_end(child).exit.signal == number
    assert result(run(start, "add", {"a": 2}, isolate=isolate)) == 2


@BOTH
def test_an_import_that_fails_is_tried_again_by_the_next_run(start: Start, tmp_path: Path, isolate: bool) -> None:
    module = tmp_path / "broken.py"
    module.write_text("print('trying')\n1 / 0\n")
    for _ in range(2):
        ended = run(start, "broken:f", isolate=isolate)
        assert (ended.exit.code, ended.stdout) == (1, "trying\n")
        assert "ZeroDivisionError" in ended.stderr
    module.write_text("def f(): return 'mended, and longer than before'\n")
    assert result(run(start, "broken:f", isolate=isolate)).startswith("mended")


@BOTH
def test_an_import_that_hangs_can_be_stopped(start: Start, tmp_path: Path, isolate: bool) -> None:
    (tmp_path / "hang.py").write_text("import time\nprint('hanging')\ntime.sleep(100)\n")
    child = start("hang:f", isolate=isolate)
    child.started()
    assert read_line(child.stdout_fd) == "hanging"
    child.signal(signal.SIGTERM)
    assert read_to_end(child).exit.signal == signal.SIGTERM


def test_a_run_that_waits_for_anothers_import_can_be_stopped(start: Start, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, time\nprint('slow')\nwhile not os.path.exists('go'): time.sleep(.005)\ndef f(): return 1\n"
    )
    first, second, third = (start("slow:f") for _ in range(3))
    first.started()
    assert read_line(first.stdout_fd) == "slow"
    second.started()
    second.signal(signal.SIGTERM)
    stopped = second.read_exit()
    assert stopped is not None
    assert stopped.signal == signal.SIGTERM
    (tmp_path / "go").touch()
    for child in (first, third):
        assert result(read_to_end(child)) == 1
    assert read_to_end(second).stdout == ""


def test_runs_that_wait_for_a_failing_import_get_the_error(start: Start, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("import os, time\nwhile not os.path.exists('go'): time.sleep(.005)\n1 / 0\n")
    children = [start("late:f") for _ in range(3)]
    (tmp_path / "go").touch()
    ends = [read_to_end(child) for child in children]
    assert [ended.exit.code for ended in ends] == [1, 1, 1]
    assert "ZeroDivisionError" in ends[0].stderr
    assert "could not be imported" in ends[2].stderr


@BOTH
def test_a_memory_limit_holds(start: Start, isolate: bool) -> None:
    ended = run(start, "hold", {"size": 300_000_000}, isolate=isolate, memory_limit=200_000_000)
    assert ended.exit.memory_used > 200_000_000
    assert ended.exit.signal == signal.SIGKILL
    assert result(run(start, "add", {"a": 2}, isolate=isolate, memory_limit=200_000_000)) == 2


@BOTH
def test_an_address_space_limit_holds(start: Start, isolate: bool) -> None:
    ended = run(start, "big", isolate=isolate, address_space_limit=400_000_000)
    assert ended.exit.code == 1
    assert "MemoryError" in ended.stderr


@BOTH
def test_a_cpu_limit_holds(start: Start, isolate: bool) -> None:
    assert run(start, "spin", isolate=isolate, cpu_limit_s=1).exit.signal == signal.SIGXCPU


def test_a_fork_interrupted_by_sigint_dies_like_any_python(start: Start) -> None:
    ended = run(start, "interrupt")
    assert "KeyboardInterrupt" in ended.stderr


def test_threads_of_a_fork_finish(start: Start) -> None:
    assert run(start, "thread").stdout == "imported\nfrom a thread\n"


def test_nothing_of_a_forked_run_outlives_it(start: Start) -> None:
    daemon = int(run(start, "daemon").stdout.split()[-1])
    assert not is_running(daemon)


def test_a_lost_interpreter_is_replaced(start: Start) -> None:
    _, template, _ = result(run(start, "where"))
    child = start("wait")
    pid = child.started()
    os.kill(template, signal.SIGKILL)
    ended = wait_until(child.read_exit, "the loss was noticed")
    assert ended is not None
    assert ended.lost
    child.close()
    wait_until(lambda: not is_running(pid), "the fork died with its interpreter")
    assert result(run(start, "where"))[1] != template


def test_a_warm_child_is_replaced_after_its_share_of_runs(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CALLS_MAX == 1000
    monkeypatch.setattr("worker.processes.callables.CALLS_MAX", 3)
    pids = [result(run(start, "where", isolate=False))[0] for _ in range(6)]
    assert len(set(pids[:3])) == len(set(pids[3:])) == 1
    assert pids[0] != pids[3]
    wait_until(lambda: not is_running(pids[0]), "the worn child is gone")


def test_an_interpreter_that_does_not_start_is_named(start: Start, tmp_path: Path) -> None:
    with pytest.raises(SpawnFailed, match="cannot start '/no/such/python'"):
        start("add", python="/no/such/python")
    bad = tmp_path / "bad-python"
    bad.write_text("#!/bin/sh\necho this is no python >&2; exit 1\n")
    bad.chmod(0o755)
    with pytest.raises(SpawnFailed, match="bad-python' ended at its start: this is no python"):
        start("add", python=str(bad)).started()
    with pytest.raises(SpawnFailed, match='write "module:function"'):
        start("jobs:")


@BOTH
def test_many_threads_call_at_once(start: Start, isolate: bool) -> None:
    sums: list[int] = []

    def some(first: int) -> None:
        sums.extend(result(run(start, "add", {"a": first, "b": n}, isolate=isolate)) for n in range(10))

    in_threads(*(partial(some, first) for first in range(0, 40, 10)))
    assert sorted(sums) == list(range(40))


@BOTH
def test_closing_all_leaves_nothing(start: Start, interpreters: InterpreterPool, isolate: bool) -> None:
    child = start("wait", isolate=isolate, python=sys.executable)
    child.started()
    while read_line(child.stdout_fd) != "waiting":
        pass
    interpreters.close()
    wait_until(child.read_exit, "the run was killed")
    wait_until(lambda: not is_running(child.pid), "its process is gone")
    child.close()
