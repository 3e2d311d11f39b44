"""Wake-ups that are tripled and shuffled, by a server that keeps forgetting its scripts: nobody notices."""

import random
import threading
from collections.abc import Callable

import dramatiq
import pytest
import redis

from shared.store.wakeups import ACTOR
from tests.system.conftest import StartFleet
from tests.system.fleet import Fleet
from tests.waiting import wait_until

TASKS = """
[defaults]
run = '''
echo "$RUNFLEET_RUN_ID began" >> $HISTORY
sleep 0.1
echo "$RUNFLEET_RUN_ID ended" >> $HISTORY
'''

[tasks.free]

[tasks.narrow]
max_concurrent = 2
"""


def forget_scripts(client: redis.Redis) -> None:
    client.script_flush()


def triple_and_shuffle(client: redis.Redis) -> None:
    for queue in ("default", "aside"):
        bells = client.lrange("{runfleet}:dramatiq:" + queue, 0, -1) * 3
        if bells and len(bells) < 200:
            random.shuffle(bells)
            with client.pipeline() as pipe:
                pipe.delete("{runfleet}:dramatiq:" + queue)
                pipe.rpush("{runfleet}:dramatiq:" + queue, *bells)
                pipe.lpush("{runfleet}:wake:queue:" + queue, *[""] * 10)
                pipe.execute()


@pytest.mark.parametrize("trouble", [forget_scripts, triple_and_shuffle])
def test_each_run_starts_once_and_never_too_many(
    make_fleet: StartFleet, trouble: Callable[[redis.Redis], None]
) -> None:
    """F23, F36: with two workers, and a task that only two may run of."""
    fleet = make_fleet(TASKS, threads=4).start_all(workers=2)
    done = threading.Event()

    def make_trouble() -> None:
        with fleet.redis.client() as client:
            while not done.wait(0.01):
                trouble(client)

    thread = threading.Thread(target=make_trouble)
    thread.start()
    try:
        runs = [fleet.trigger(task) for _ in range(15) for task in ("free", "narrow")]
        wait_until(lambda: _ended(fleet) == len(runs), "all have ended", 20)
    finally:
        done.set()
        thread.join()
    assert {run["end_reason"] for run in fleet.runs()} == {"success"}
    began = [line[0] for line in fleet.wrote() if line[1] == "began"]
    assert sorted(began) == sorted(run["id"] for run in runs)
    narrow = {run["id"] for run in runs if run["task_name"] == "narrow"}
    live = 0
    for run_id, word in fleet.wrote():
        live += (1 if word == "began" else -1) if run_id in narrow else 0
        assert live <= 2
    said = [line for process in fleet.processes for line in process.said().splitlines()]
    assert [line for line in said if "level=error" in line or "level=critical" in line or "Traceback" in line] == []


def _ended(fleet: Fleet) -> int:
    return int(fleet.get("/api/runs", status="ended", limit=1)["total"])


def odd_message(kind: str) -> bytes:
    """What a foreign hand may leave in the list that wake-ups come by."""
    if kind == "no message":
        return b"{]"
    message: dramatiq.Message[None] = dramatiq.Message(
        queue_name="default",
        actor_name="somebody else's" if kind == "another actor" else ACTOR,
        args=(1, 2) if kind == "arguments" else (),
        kwargs={},
        options={"redis_message_id": f"odd-{kind}"} | ({"eta": 1} if kind == "a time" else {}),
    )
    return message.encode()


@pytest.mark.parametrize("kind", ["arguments", "another actor", "a time", "no message"])
def test_odd_messages_cost_no_thread(make_fleet: StartFleet, kind: str) -> None:
    """F36: as many as there are threads, and more; afterwards all threads still take runs."""
    fleet = make_fleet(TASKS, "web", "scheduler", "worker", threads=2)
    with fleet.redis.client() as client:
        for number in range(5):
            client.hset("{runfleet}:dramatiq:default.msgs", f"odd-{number}", odd_message(kind))
            client.rpush("{runfleet}:dramatiq:default", f"odd-{number}")
            client.lpush("{runfleet}:wake:queue:default", "")
        wait_until(lambda: client.llen("{runfleet}:dramatiq:default") == 0, "they were taken")
    run = fleet.trigger("free", replicas=20)
    wait_until(lambda: len(fleet.workers()[0]["running"]) == 2, "both threads have a run")
    fleet.over(run)
    assert {one["end_reason"] for one in fleet.chain(run)} == {"success"}
