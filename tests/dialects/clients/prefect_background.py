#!/usr/bin/env python3
"""Tasks and flows by Prefect's own client, as test_prefect_background.py wants them."""
import os
import sys
import time
import warnings

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO" if "serve" in sys.argv else "WARNING")
warnings.simplefilter("ignore")

from prefect import flow, task
from prefect.task_worker import serve


@task(log_prints=True)
def add(a, b):
    print(f"adding {a} and {b}")
    return a + b


@flow(name="sums")
def sums(count):
    return sum(future.result() for future in add.map(range(count), 1))


@task
def slow(path, seconds):
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)  # the work of this task is to last
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
    elif what == "flow":
        print(sums(int(words[0])), flush=True)


main(*sys.argv[1:])
