"""Clients of the API that are slow, greedy, many, broken, or never get their answer."""

import asyncio
import re
import socket
import time
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from uuid import UUID

import httpx
import msgspec
import pytest

from api.http import protocol
from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.faults.latency import asked_meanwhile, resident_mb
from tests.system.fleet import TOKEN, Fleet, Json
from tests.waiting import wait_until

T = TypeVar("T")

ANSWER_S = 0.5
"""What others' requests may take while the process has bad clients."""

GROWN_MB = 250
"""What 500 readers of long lines may add to the API: half a megabyte each."""

POSTS_S = 5.0
"""What the slowest of a thousand requests that come at once may take: they stand in line for one process."""

TASKS = """
[tasks.quick]
run = "true"

[tasks.asleep]
run = "sleep 600"
queue = "nobody"

[tasks.elsewhere]
external = true

[tasks.counting]
run = ["python3", "-u", "-c", '''
import time
for n in range(1500):
    print(f"line {n}")
    if n % 10 == 9:
        time.sleep(0.03)  # the command is to last while its readers lose the server
''']

[tasks.wide]
run = ["python3", "-c", "for n in range(100): print(str(n) + 'x' * 60_000)"]
"""
HEAD = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()


def port_of(fleet: Fleet) -> int:
    port = fleet.http.base_url.port
    assert port is not None
    return port


def together(*jobs: Coroutine[Any, Any, T]) -> list[T]:
    """Do all at once and wait for all."""

    async def every() -> list[T]:
        return list(await asyncio.gather(*jobs))

    return asyncio.run(every())


@contextmanager
def connected(fleet: Fleet, count: int, say: bytes) -> Iterator[list[socket.socket]]:
    """That many connections, each of which has said something and reads nothing."""
    with ExitStack() as at_end:
        clients = []
        for _ in range(count):
            client = at_end.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port_of(fleet)))
            client.sendall(say)
            clients.append(client)
        yield clients


def has_hung_up(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        while client.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    return True


# F47


@pytest.mark.parametrize("restart", [False, True], ids=["the API lives on", "the API is killed"])
def test_a_post_without_an_answer_can_be_repeated_until_there_is_one(make_fleet: StartFleet, *, restart: bool) -> None:
    """F47: each kind of request is made once, and every repeat gets one and the same answer."""
    fleet = make_fleet(TASKS, "web", "scheduler", "worker")
    worker = wait_until(fleet.workers, "there is a worker")[0]["id"]
    ids = [fleet.trigger("asleep")["id"] for _ in range(2)]
    over = fleet.trigger("asleep")
    fleet.post(f"/api/runs/{over['id']}/stop")
    external = fleet.trigger("elsewhere")
    before = len(fleet.runs())
    requests: dict[str, Json | None] = {}
    kinds = {
        "/api/tasks/{taskName}/run": ("asleep", {"tags": ["once"]}),
        "/api/runs/{id}/rerun": (over["id"], None),
        "/api/runs/{id}/stop": (ids[0], None),
        "/api/runs/{id}/report": (external["id"], {"end_reason": "success"}),
        "/api/executions/{id}/stop": (ids[1], None),
        "/api/executions/{id}/rerun": (over["execution_id"], None),
        "/api/tasks/{taskName}/pause": ("quick", None),
        "/api/tasks/{taskName}/resume": ("quick", None),
        "/api/tasks/{taskName}/stop": ("quick", None),
        "/api/queues/{queue}/pause": ("nobody", None),
        "/api/queues/{queue}/resume": ("nobody", None),
        "/api/workers/{id}/drain": (worker, None),
        "/api/hooks/environments/{id}/{trigger}": (f"{UUID(int=1)}/prebuild", None),
        "/api/tokens": ("", {"name": "n", "scope": "read"}),
    }
    paths = fleet.get("/openapi.json")["paths"]
    assert kinds.keys() == {path for path, methods in paths.items() if "post" in methods}, "none is left out"
    for kind, (name, body) in kinds.items():
        requests[re.sub(r"{\w+}(/{\w+})?", name, kind)] = body
    fleet.redis.freeze()
    for path, body in requests.items():
        with pytest.raises(httpx.ReadTimeout):
            fleet.http.post(path, json=body, headers={"Idempotency-Key": path}, timeout=0.3)
    if restart:
        fleet.of("web").kill()
    fleet.redis.thaw()
    if restart:
        fleet.start("web")
    for path, body in requests.items():
        answers = [fleet.http.post(path, json=body, headers={"Idempotency-Key": path}) for _ in range(3)]
        assert {answer.is_success for answer in answers} == {True}, answers[0].text
        assert len({answer.json().get("id") for answer in answers}) == 1
        assert len({answer.text for answer in answers[1:]}) == 1
    assert len(fleet.runs()) == before + 3, "one was started, and two again"
    assert fleet.run(external["id"])["end_reason"] == "success"
    assert len(fleet.get("/api/tokens")["tokens"]) == 1
    assert [fleet.run(one)["end_reason"] for one in ids] == ["stopped", "stopped"]


# F48


async def follow(port: int, path: str, seen: list[int], cut: asyncio.Event) -> str:
    """Follow a log, again and again from where it broke off; the numbers of its lines go into *seen*."""
    while True:
        resume = f"Last-Event-ID: {seen[-1]}\r\n".encode() if seen else b""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        except OSError:
            await asyncio.sleep(0.05)  # the server is being started again
            continue
        try:
            writer.write(b"GET " + path.encode() + b" HTTP/1.1\r\n" + HEAD + resume + b"\r\n")
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    seen.append(int(line[4:]))
                elif line == b"event: done\n":
                    return "done"
                if len(seen) >= 300:
                    cut.set()
        except OSError:
            continue
        finally:
            writer.close()


def test_two_hundred_readers_resume_without_gap_or_repeat_when_the_server_is_restarted(make_fleet: StartFleet) -> None:
    """F48: each of them sees each line once."""
    fleet = make_fleet(TASKS).start_all()
    run = fleet.trigger("counting")
    path = f"/api/runs/{run['id']}/log/stream"
    seen: list[list[int]] = [[] for _ in range(200)]

    async def scene() -> list[str]:
        cut = asyncio.Event()
        readers = [asyncio.create_task(follow(port_of(fleet), path, one, cut)) for one in seen]
        async with asyncio.timeout(20):
            await cut.wait()
        fleet.of("web").kill()
        await asyncio.to_thread(fleet.start, "web")
        cut.clear()
        async with asyncio.timeout(40):
            return list(await asyncio.gather(*readers))

    assert set(asyncio.run(scene())) == {"done"}
    assert [one for one in seen if one != list(range(1500))] == []


def opens(fleet: Fleet, path: str) -> int:
    """The status of a stream, which is closed again."""
    with fleet.http.stream("GET", path) as answer:
        return answer.status_code


@pytest.mark.parametrize("what", ["a long log", "events"])
def test_five_hundred_readers_that_read_nothing_cost_little_and_delay_no_other(
    make_fleet: StartFleet, measured: Measured, what: str
) -> None:
    """F48: memory is bounded, and others are served meanwhile."""
    fleet = make_fleet(TASKS, RUNFLEET_MAX_STREAMS="1000").start_all()
    run = fleet.perform("wide")
    web = fleet.of("web").pid
    before_mb = resident_mb(web)
    path = f"/api/runs/{run['id']}/log/stream" if what == "a long log" else "/api/events/stream"
    with connected(fleet, 500, b"GET " + path.encode() + b" HTTP/1.1\r\n" + HEAD + b"\r\n"):
        wait_until(lambda: opens(fleet, path) == 503, "their address is at its limit", 40)
        with asked_meanwhile(fleet, ["/health", f"/api/runs/{run['id']}"]) as meanwhile:
            runs = [fleet.trigger("quick") for _ in range(100)]
            fleet.ended(runs[-1])
        grown_mb = resident_mb(web, peak=True) - before_mb
    measured("F48", "answer beside 500 slow readers, p99", meanwhile.p99_s(), ANSWER_S)
    measured("F48", "memory for 500 slow readers", grown_mb, GROWN_MB, "MB")
    wait_until(lambda: opens(fleet, path) == 200, "they are released")


# Bad and many clients


async def post(port: int, number: int) -> tuple[int, float]:
    """The status of a POST on a connection of its own, and how long it took."""
    began_s = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = msgspec.json.encode({"tags": [f"n{number}"]})
    head = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(b"POST /api/tasks/asleep/run HTTP/1.1\r\n" + HEAD + head + body)
    answer = await reader.readuntil(b"\r\n")
    writer.close()
    return int(answer.split()[1]), time.monotonic() - began_s


def test_a_thousand_posts_at_once_are_all_carried_out(make_fleet: StartFleet, measured: Measured) -> None:
    """F47: each is 201, and each has made one run."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    fleet.trigger("asleep")
    answers = together(*(post(port_of(fleet), number) for number in range(1000)))
    assert {status for status, _ in answers} == {201}
    assert fleet.get("/api/runs")["total"] == 1001
    measured("F47", "1000 requests at once, the slowest", max(took_s for _, took_s in answers), POSTS_S)


def test_clients_that_never_finish_their_requests_delay_no_other(make_fleet: StartFleet, measured: Measured) -> None:
    """F48: half heads are cut off in time, half bodies and endless heads are bounded, others are served."""
    fleet = make_fleet(TASKS, "web", "scheduler")
    web = fleet.of("web").pid
    before_mb = resident_mb(web)
    body = b"POST /api/tasks/quick/run HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
    body += b"Content-Length: 1000000\r\n\r\n" + b" " * 200_000
    with (
        connected(fleet, 300, b"GET /api/runs HTTP/1.1\r\nHost: loc") as heads,
        connected(fleet, 300, body) as bodies,
        asked_meanwhile(fleet, ["/health", "/api/runs"]) as meanwhile,
    ):
        for _ in range(20):
            with connected(fleet, 1, b"GET / HTTP/1.1\r\n") as (endless,), pytest.raises(ConnectionError):
                endless.sendall(b"X: " + b"x" * 10_000_000)
        answers = fleet.http.post("/api/tasks/quick/run", json={"tags": ["as ever"]})
        assert answers.status_code == 201
        wait_until(lambda: all(map(has_hung_up, heads)), "all half heads are cut off", protocol.HEAD_S + 5)
        assert sum(map(has_hung_up, bodies)) < 50, "they have time to go on"
    measured("F48", "answer beside 600 half requests, p99", meanwhile.p99_s(), ANSWER_S)
    assert resident_mb(web, peak=True) - before_mb < 150


@pytest.mark.parametrize("path", ["/api/tasks/%ff%fe/run", "/api/tasks/quick/run?wait=%ff", "/api/tokens"])
def test_bytes_that_are_no_text_are_refused(fleet: Fleet, path: str) -> None:
    """F47: in a path, in a query and in a body, with a problem and never a 500."""
    answer = fleet.http.post(path, content=b'{"name": "\xff\xfe"}', headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


# F49


def test_a_fleet_with_ten_dashboards_gets_by_with_twenty_connections(
    make_fleet: StartFleet, measured: Measured
) -> None:
    """F49: one of each process, eight runs at once, and ten readers each of events and of a log: none is refused."""
    fleet = make_fleet(TASKS)
    with fleet.redis.client() as watch:
        watch.config_set("maxclients", 21)  # one is this one
        fleet.start_all()
        run = fleet.trigger("counting")
        events = b"GET /api/events/stream HTTP/1.1\r\n" + HEAD + b"\r\n"
        log = f"GET /api/runs/{run['id']}/log/stream HTTP/1.1\r\n".encode() + HEAD + b"\r\n"
        with connected(fleet, 10, events), connected(fleet, 10, log):
            runs = [fleet.trigger("counting") for _ in range(7)]
            for _ in range(20):
                fleet.get("/api/fleet")
                fleet.get("/api/runs")
                fleet.get("/api/tasks")
            most = len(watch.client_list()) - 1
            assert [fleet.ended(one)["end_reason"] for one in [run, *runs]] == ["success"] * 8
        info: Any = watch.info("stats")
    assert info["rejected_connections"] == 0
    measured("F49", "open at once", most, 20, "connections")
