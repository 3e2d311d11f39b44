"""Triggers by the hundred at four API processes, for tasks at their limit."""

import asyncio
import re
from collections import Counter

import pytest

from tests.system.conftest import StartFleet
from tests.system.fleet import TOKEN, Fleet
from tests.waiting import wait_until

TRIGGERS = 200
APIS = 4
QUEUED = 60
TASKS = "[defaults]\nmax_queued = 60\ngraceful_stop = '300ms'\n" + "".join(
    f"""
[tasks.{policy}-{most}]
run = '''
trap 'echo "{policy}-{most} $RUNFLEET_RUN_ID ended" >> $HISTORY; exit 143' TERM
echo "{policy}-{most} $RUNFLEET_RUN_ID began" >> $HISTORY
sleep 0.05
echo "{policy}-{most} $RUNFLEET_RUN_ID ended" >> $HISTORY
'''
on_overlap = "{policy}"
max_concurrent = {most}
"""
    for policy in ("queue", "skip", "kill")
    for most in (1, 3)
)


def ports(fleet: Fleet) -> list[int]:
    """Those of the API and of three more, each a process of its own."""
    more = [fleet.launch("web", RUNFLEET_PORT="0") for _ in range(APIS - 1)]
    found = [re.search(r"port=(\d+)", web.wait_for("api.started")) for web in more]
    return [int(fleet.env["RUNFLEET_PORT"]), *(int(one[1]) for one in found if one)]


async def trigger(port: int, task: str, count: int) -> list[int]:
    """So many triggers over one connection, as fast as they are answered; their statuses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    statuses = []
    for _ in range(count):
        writer.write(
            f"POST /api/tasks/{task}/run HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        statuses.append(int(head.split()[1]))
    writer.close()
    return statuses


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("policy", ["queue", "skip", "kill"])
def test_never_more_than_max_of_many_triggers_at_four_apis_run(make_fleet: StartFleet, policy: str, most: int) -> None:
    """F39: every trigger has a record, what may wait waits in order, and the commands say how many ran at once."""
    fleet = make_fleet(TASKS).start_all()
    task = f"{policy}-{most}"
    doors = ports(fleet)

    async def scene() -> list[list[int]]:
        return await asyncio.gather(*(trigger(port, task, TRIGGERS // APIS) for port in doors))

    assert Counter(status for each in asyncio.run(scene()) for status in each) == {201: TRIGGERS}
    wait_until(lambda: not fleet.runs(status="pending,running"), "all have ended", 40)
    runs = fleet.runs(task_name=task)
    assert len(runs) == TRIGGERS
    assert [run["number"] for run in runs] == list(range(1, TRIGGERS + 1))
    at_once, began = told(fleet, task)
    assert 1 <= max(at_once) <= most
    reasons = Counter(run["end_reason"] for run in runs)
    if policy == "queue":
        started = sorted((run for run in runs if "start_at" in run), key=lambda run: str(run["start_at"]))
        numbers = [run["number"] for run in started]
        assert numbers == sorted(numbers), "nobody overtook"
        if most == 1:  # of several that run at once one may say late that it began
            assert began == [run["id"] for run in started]
        assert set(reasons) <= {"success", "skipped"}
        assert reasons["success"] >= QUEUED + most
    elif policy == "skip":
        assert set(reasons) == {"success", "skipped"}
    else:
        assert set(reasons) <= {"success", "stopped"}
        assert runs[-1]["end_reason"] == "success", "the newest has nobody to make room for"
    assert reasons["success"] <= len(began) == len(set(began))


def told(fleet: Fleet, task: str) -> tuple[list[int], list[str]]:
    """By the commands' own words: how many were alive after each step, and who began in what order."""
    alive: set[str] = set()
    at_once, began = [0], []
    for _, run, word in fleet.wrote(task):
        if word == "began":
            alive.add(run)
            began.append(run)
        else:
            alive.discard(run)
        at_once.append(len(alive))
    return at_once, began
