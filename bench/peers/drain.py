"""
Dramatiq as its documentation sets it up: eight threads a process, the default middleware, results stored in Redis.

``fill <socket> <count>`` enqueues; ``work <socket>`` starts a worker and says how many messages it saw to until none
was left.
"""

import json
import sys
import time
from typing import Any, Final

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

untyped: Final[tuple[Any, ...]] = (RedisBroker, Results, RedisBackend)
QUIET_S: Final = 0.5
"""Nothing came for this long: the queue is empty."""


def main(verb: str, path: str, count: int = 0) -> None:
    """Enqueue, or work until nothing is left."""
    make_broker, make_results, make_backend = untyped
    broker = make_broker(client=redis.Redis(unix_socket_path=path), namespace="peer")
    backend = make_backend(client=redis.Redis(unix_socket_path=path), namespace="results")
    broker.add_middleware(make_results(backend=backend))
    moments: list[float] = []

    @dramatiq.actor(broker=broker, store_results=True)
    def nothing() -> str:
        moments.append(time.time())
        return "done"

    worker = dramatiq.Worker(broker, worker_threads=8)
    print("ready", flush=True)  # noqa: T201  # the protocol of a peer
    sys.stdin.readline()
    if verb == "fill":
        for _ in range(count):
            nothing.send()
        print("{}", flush=True)  # noqa: T201
        return
    began_s = time.time()
    worker.start()
    while not moments or time.time() - moments[-1] < QUIET_S:
        time.sleep(0.05)  # a poll: the peer tells nobody
    answer = {"done": len(moments), "began_s": min(began_s, moments[0]), "ended_s": moments[-1]}
    print(json.dumps(answer), flush=True)  # noqa: T201
    worker.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
