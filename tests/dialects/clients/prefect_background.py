#!/usr/bin/env python3
"""Background tasks with Prefect's own client: `serve`, `delay N`, `result N`, `slow FILE`, `states ID...` (see test_prefect_background.py)."""
import os
import sys
import time
import warnings

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
warnings.simplefilter("ignore")

from prefect import get_client, task
from prefect.task_worker import serve


@task
def add(a, b):
    return a + b


@task
def slow(path, seconds):
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return os.getpid()


@task(retries=1, retry_delay_seconds=0)
def flaky(path):
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) < 2:
        raise ValueError("the first one fails")
    return "at last"


def main(what, *words):
    if what == "serve":
        serve(add, slow, flaky, limit=int(words[0]) if words else 10)
    elif what == "delay":
        for number in range(int(words[0])):
            print(add.delay(number, 1).task_run_id, flush=True)
    elif what == "result":
        futures = [add.delay(number, 1) for number in range(int(words[0]))]
        print([future.result(timeout=60) for future in futures], flush=True)
    elif what == "slow":
        print(slow.delay(words[0], float(words[1])).task_run_id, flush=True)
    elif what == "flaky":
        future = flaky.delay(words[0])
        print(future.task_run_id, future.result(timeout=60), flush=True)
    elif what == "states":
        with get_client(sync_client=True) as client:
            for run in words:
                names = [state.name for state in client.read_task_run_states(run)]
                print(run, client.read_task_run(run).state.type.value, ",".join(names), flush=True)


main(*sys.argv[1:])
