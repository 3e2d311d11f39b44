"""Who looks at the records, and saves what the API and the store say in the end."""

import contextlib
import uuid
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import redis

from tests.soak.clients import client_of
from tests.soak.history import Recorder
from tests.soak.soak import DRAIN_S, Soak
from tests.system.fleet import Fleet
from tests.waiting import wait_until

PREFIX: Final = b"{runfleet}:"


class Observer:
    """Looks at the records while they change, and at everything when nothing changes any more."""

    def __init__(self, soak: Soak, fleet: Fleet) -> None:
        self._soak, self._fleet = soak, fleet
        self._seen: set[str] = set()

    def watch(self) -> None:
        """Keep each record as it is when it is first seen to have ended, and what the store weighs."""
        with client_of(self._fleet) as http:
            while not self._soak.over.wait(0.7):
                with contextlib.suppress(httpx.HTTPError, redis.RedisError):
                    answer = http.get("/api/runs", params={"status": "ended", "limit": 300})
                    for record in answer.json()["runs"] if answer.status_code == 200 else ():
                        if record["id"] not in self._seen:
                            self._seen.add(record["id"])
                            self._soak.answers.add("first_end", record=record)
                    with self._fleet.redis.client() as client:
                        self._soak.chaos.add("memory", store=client.info("memory")["used_memory"] // 1024)

    def see_drained(self) -> None:
        """Pause the schedule and wait until nothing is live any more; says whether that came true."""
        with client_of(self._fleet) as http:
            # What is owed is made first: the ticks of a pause are not missed ones, whoever was late.
            calm = datetime.now(UTC).isoformat()
            wait_until(lambda: _last_tick(http) > calm, "the schedule has caught up", DRAIN_S)
            self._soak.chaos.add("paused")
            wait_until(lambda: _answers(http, "POST", "/api/tasks/tick/pause"), "the schedule is paused", DRAIN_S)
            drained = True
            try:
                wait_until(lambda: _live(http) == 0, "all runs have ended", self._soak.drain_s)
            except AssertionError:
                drained = False
            self._soak.chaos.add("drained_all", drained=drained)

    def save(self) -> None:
        """All records and logs by the API, and all that the store holds by plain commands."""
        with client_of(self._fleet) as http:
            query = {"limit": "500", "sort_field": "created_at", "sort_direction": "asc"}
            page = http.get("/api/runs", params=query).json()
            records = page["runs"]
            while "next_cursor" in page:
                page = http.get("/api/runs", params=query | {"cursor": page["next_cursor"]}).json()
                records += page["runs"]
            for record in records:
                self._soak.answers.add("final", record=record)
                log = http.get(f"/api/runs/{record['id']}/log", params={"limit": 10000}).json()
                self._soak.answers.add("log", run=record["id"], **{k: v for k, v in log.items() if k != "$schema"})
        with (
            self._fleet.redis.client() as client,
            contextlib.closing(Recorder(self._soak.folder / "store.jsonl")) as to,
        ):
            for key in client.scan_iter(PREFIX + b"*", count=1000):
                held = _held(client, key)
                if held is not None:
                    to.add("key", key=key[len(PREFIX) :].decode("latin-1"), held=held)


def _held(client: Any, key: bytes) -> Any:
    """What a key of interest holds, in text; None for the others."""
    name = key[len(PREFIX) :]
    if name == b"leases" or name == b"due" or name.startswith((b"queue:", b"limit:")):
        return [_id(member) for member in client.zrange(key, 0, -1)] if client.type(key) == b"zset" else []
    if name.startswith(b"plans:"):
        return [_id(member) for member in client.smembers(key)]
    if name.startswith(b"exec:"):
        return [_id(name[5:])]
    if name == b"events":
        return [
            [fields[b"type"].decode(), _id(fields[b"run"]), fields[b"data"].decode()]
            for _, fields in client.xrange(key)
        ]
    return None


def _id(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw)) if len(raw) == 16 else raw.decode("latin-1")


def _answers(http: httpx.Client, method: str, path: str) -> bool:
    try:
        return http.request(method, path).is_success
    except httpx.HTTPError:
        return False


def _last_tick(http: httpx.Client) -> str:
    """The newest tick that has a run; "" when there is none, or no answer."""
    try:
        answer = http.get("/api/tasks/tick/runs", params={"limit": 20})
        return max((run.get("scheduled_for", "") for run in answer.json()["runs"]), default="")
    except (httpx.HTTPError, KeyError):
        return ""


def _live(http: httpx.Client) -> int:
    try:
        answer = http.get("/api/runs", params={"status": "pending,running", "limit": 1})
        return int(answer.json()["total"]) if answer.status_code == 200 else -1
    except httpx.HTTPError:
        return -1
