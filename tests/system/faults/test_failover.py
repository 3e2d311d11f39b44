"""A primary that dies: a replica takes over that has not heard the last writes, or Sentinels choose one."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared.cli.valkey_server import find_server
from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet, Json, Server
from tests.system.proxy import Proxy
from tests.waiting import wait_until

TASKS = """
[tasks.until]
run = '''
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
while [ ! -e "go-$RUNFLEET_RUN_ID" ]; do sleep 0.05; done
echo "$RUNFLEET_RUN_ID ended" >> $HISTORY
'''
retry_attempts = 3
retry_delay = "1ms"

[tasks.quick]
run = "true"
"""


def let_go(fleet: Fleet, run: Json) -> None:
    (fleet.folder / f"go-{run['id']}").touch()


def begin(fleet: Fleet) -> Json:
    run = fleet.trigger("until")
    fleet.wait_for_word(run["id"], "began")
    return run


@pytest.mark.parametrize("away_s", [0.0, 11.0])
def test_ends_that_a_failed_primary_lost_are_replayed(make_fleet: StartFleet, short_path: Path, away_s: float) -> None:
    """F24: ends that it had accepted and not passed on; a run whose start it had not passed on starts anew, alone."""
    fleet = make_fleet(TASKS, threads=2)
    (fleet.folder / "replica").mkdir()
    replica = Server(fleet.folder / "replica", fleet.env["FLEET_MARK"], ("--port", "0"))
    try:
        with Proxy(short_path / "p", fleet.redis.socket).serving() as proxy:
            fleet.start("web", "scheduler", "worker", RUNFLEET_REDIS_URL=proxy.url, RUNFLEET_REDIS_TIMEOUT="1")
            assert fleet.perform("quick")["end_reason"] == "success"
            ending, going_on = begin(fleet), begin(fleet)
            starting = fleet.trigger("until")  # waits for one of the two threads
            copy(fleet.redis, replica)

            let_go(fleet, ending)  # from here on the replica hears nothing
            assert fleet.ended(ending)["end_reason"] == "success"
            fleet.wait_for_word(starting["id"], "began")
            fleet.redis.freeze()
            time.sleep(away_s)  # how long nobody is there
            proxy.lead_to(replica.socket)

            worker = fleet.of("worker")
            worker.wait_for("run.end_replayed", 5)
            assert fleet.ended(ending)["end_reason"] == "success"
            worker.wait_for("run.lost", 5)  # the one whose start is forgotten
            wait_until(lambda: len(fleet.wrote(starting["id"], "began")) == 2, "it starts anew")
            wait_until(lambda: len(groups(fleet, starting)) == 1, "it is there once")
            for run in (going_on, starting):
                let_go(fleet, run)
                assert fleet.ended(run)["end_reason"] == "success"
                assert len(fleet.chain(run)) == 1
            assert [len(fleet.wrote(run["id"], "ended")) for run in (ending, going_on, starting)] == [1, 1, 1]
            assert fleet.runs(end_reason="crashed") == []
            for process in fleet.processes:
                process.kill()  # they would take their time to leave without Redis
    finally:
        replica.close()


def groups(fleet: Fleet, run: Json) -> set[int]:
    """The process groups of a run's processes."""
    found = set()
    for one in fleet.run_processes(run["id"]):
        with contextlib.suppress(OSError):
            found.add(int(Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()[2]))
    return found


def copy(primary: Server, replica: Server) -> None:
    """Have all that the primary holds now in the replica, which then hears nothing more."""
    with primary.client() as source, replica.client() as target:
        for key in source.keys("*"):
            dumped = source.dump(key)
            if dumped is not None:  # one that a process took away meanwhile is not there
                target.restore(key, max(0, source.pttl(key)), dumped, replace=True)


AT_ONCE = ("--repl-diskless-sync-delay", "0")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def three_sentinels(fleet: Fleet, primary_port: int) -> Iterator[str]:
    """Sentinels that watch a primary and let a replica take its place after a second; the URL that names them."""
    ports = [free_port() for _ in range(3)]
    started = []
    try:
        for port in ports:
            config = fleet.folder / f"sentinel-{port}.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\nsentinel monitor mine 127.0.0.1 {primary_port} 2\n"
                "sentinel down-after-milliseconds mine 1000\nsentinel failover-timeout mine 3000\n"
            )
            command = [str(find_server()), str(config), "--sentinel", "--dir", str(fleet.folder)]
            environ = os.environ | {"FLEET_MARK": fleet.env["FLEET_MARK"]}
            started.append(subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_until(lambda: all(map(_knows_all, ports)), "the Sentinels know each other and the replica", 20)
        yield "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in ports) + "/mine"
    finally:
        for process in started:
            process.kill()
            process.wait()


def _knows_all(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            said = client.sentinel_master("mine")
    except redis.RedisError:
        return False
    return (said["num-other-sentinels"], said["num-slaves"]) == (2, 1)


def test_when_sentinels_choose_another_primary_nothing_is_lost(make_fleet: StartFleet, measured: Measured) -> None:
    """F25: API, scheduler and worker find it by themselves."""
    port = free_port()
    fleet = make_fleet(TASKS, redis_options=("--port", str(port), "--bind", "127.0.0.1", *AT_ONCE))
    (fleet.folder / "replica").mkdir()
    options = ("--port", str(free_port()), "--bind", "127.0.0.1", "--replicaof", "127.0.0.1", str(port), *AT_ONCE)
    replica = Server(fleet.folder / "replica", fleet.env["FLEET_MARK"], options)
    try:
        with three_sentinels(fleet, port) as url:
            fleet.start("web", "scheduler", "worker", RUNFLEET_REDIS_URL=url, RUNFLEET_REDIS_TIMEOUT="1")
            before = {one.pid for one in fleet.look()} - {fleet.redis.popen.pid}
            ending, going_on = begin(fleet), begin(fleet)
            with fleet.redis.client() as client:
                assert client.wait(1, 5000) == 1  # the replica has heard of them
            fleet.redis.kill()
            killed_s = time.monotonic()
            assert fleet.http.post("/api/tasks/quick/run").status_code == 503
            let_go(fleet, ending)
            fleet.wait_for_word(ending["id"], "ended")
            wait_until(lambda: fleet.http.post("/api/tasks/quick/run").status_code == 201, "runs are accepted", 20)
            measured("F25", "accepting again after a fail-over", time.monotonic() - killed_s, 10)
            assert fleet.ended(ending)["end_reason"] == "success"
            assert fleet.perform("quick")["end_reason"] == "success"
            assert fleet.run(going_on["id"])["status"] == "running"
            let_go(fleet, going_on)
            assert fleet.ended(going_on)["end_reason"] == "success"
            assert [len(fleet.chain(run)) for run in (ending, going_on)] == [1, 1]
            assert fleet.runs(end_reason="crashed") == []
            assert before <= {one.pid for one in fleet.look()}
            for process in fleet.processes:
                process.kill()  # they would take their time to leave without Redis
    finally:
        replica.close()
