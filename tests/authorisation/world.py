"""
A served API with two owners: what is called *mine* fits the pattern of a token, what is called *theirs* does not.

Every property of an ``Owner`` that is a thing makes a new one, so that no test depends on what another did to it; those
of ``nobody`` are names and ids of things that do not exist.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from api.dialects.ona.errors import CALLS
from api.dialects.prefect import flows
from shared.settings import Settings
from shared.signing import Keys
from shared.store import fleet, open_store, tasks
from shared.store.fleet import About
from shared.store.redis.sync_store import Store
from shared.tasks import Task, define
from tests.dialects.marquez import event
from tests.http.conftest import TOKEN, Served, serving
from tests.system.fleet import Server

PATTERN = "*mine*"
SECRET = "a secret that only processes know"
Json = Any


def tasks_of(name: str) -> tuple[Task, ...]:
    """The tasks that an owner has from the start: one that workers execute, and one that others do."""
    limits = (f"{name}-limit", f"tag:{name}-tag")
    return (
        Task(name=name, run="true", queue=f"q-{name}", limits=limits, cron=("@yearly",)),
        Task(name=f"{name}-ext", external=True, queue=f"q-{name}"),
    )


class Owner:
    """What is called *name*. ``ids`` are those of all things that were made for it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.is_real = name != "nobody"
        self.task = name
        self.namespace = f"ns-{name}"
        self.job = f"{name}-job"
        self.key = f"{name}-key"
        self.flow = f"{name}-flow"
        self.limit = f"{name}-limit"
        self.tag = f"{name}-tag"
        self.queue = f"q-{name}"
        self.worker = f"w-{name}"
        self.environment = str(uuid.uuid4())
        self.ids: list[str] = []

    def made(self, method: str, path: str, body: Json = None, **options: Any) -> Json:
        """The answer of the API to somebody who may do everything."""
        answer = self.world.ask("admin", method, path, json=body, **options)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def _id(self, text: str) -> str:
        self.ids.append(text)
        return text

    def _new(self, method: str, path: str, body: Json, *keys: str) -> str:
        if not self.is_real:
            return str(uuid.uuid4())
        found = self.made(method, path, body)
        for key in keys or ("id",):
            found = found[key]
        return self._id(found)

    @property
    def run(self) -> str:
        """A run that waits."""
        return self._new("POST", f"/api/tasks/{self.task}/run", {})

    @property
    def execution(self) -> str:
        """An execution whose only run waits."""
        return self._new("POST", f"/api/tasks/{self.task}/run", {}, "execution_id")

    @property
    def ended(self) -> str:
        """A run that was stopped before it began."""
        run = self.run
        if self.is_real:
            self.made("POST", f"/api/runs/{run}/stop")
        return run

    @property
    def external_run(self) -> str:
        """A run of the task that others execute."""
        return self._new("POST", f"/api/tasks/{self.task}-ext/run", {})

    def told(self, kind: str = "START", run: str = "") -> Json:
        """An OpenLineage event about the owner's job."""
        return event(kind, run or str(uuid.uuid4()), job=self.job, namespace=self.namespace)

    @property
    def job_run(self) -> str:
        """A run of the owner's job, told of by an event."""
        run = str(uuid.uuid4())
        if self.is_real:
            self.made("POST", "/api/v1/lineage", self.told(run=run))
            self.ids.append(run)
        return run

    @property
    def new_job_run(self) -> str:
        """One that was made and has not begun."""
        if not self.is_real:
            return str(uuid.uuid4())
        self.job_run  # noqa: B018 (the job is there now)
        return self._new("POST", f"/api/v1/namespaces/{self.namespace}/jobs/{self.job}/runs", {})

    @property
    def flow_id(self) -> str:
        """The owner's flow."""
        if not self.is_real:
            return str(flows.flow_id(self.flow))
        return self._new("POST", "/api/flows/", {"name": self.flow})

    @property
    def flow_run(self) -> str:
        """A run of the owner's flow."""
        return self._new("POST", "/api/flow_runs/", {"flow_id": self.flow_id})

    @property
    def task_run(self) -> str:
        """A task run that a client of Prefect's executes."""
        return self._new("POST", "/api/task_runs/", {"task_key": self.key, "dynamic_key": uuid.uuid4().hex})

    @property
    def lease(self) -> str:
        """A lease of the owner's limit, taken with a token for the owner's tasks."""
        if not self.is_real:
            return str(uuid.uuid4())
        taken = self.world.ask(
            self.name,
            "POST",
            "/api/v2/concurrency_limits/increment-with-lease",
            json={"names": [self.limit], "slots": 1},
        )
        assert taken.status_code == 200, taken.text
        return self._id(taken.json()["lease_id"])

    @property
    def tag_limit(self) -> str:
        """The id of the limit by the owner's tag."""
        if not self.is_real:
            return str(uuid.uuid4())
        return self._id(self.made("GET", f"/api/concurrency_limits/tag/{self.tag}")["id"])

    @property
    def ona_task(self) -> str:
        """A task of the owner's environment."""
        body = {
            "environmentId": self.environment,
            "metadata": {
                "reference": f"{self.name}-{uuid.uuid4().hex[:6]}",
                "name": "x",
                "triggeredBy": [{"manual": True}, {"postEnvironmentStart": True}],
            },
            "spec": {"command": "true"},
        }
        return self._new("POST", CALLS + "CreateTask", body, "task", "id")

    @property
    def ona_execution(self) -> str:
        """An execution that was started in Ona's words."""
        return self._new("POST", CALLS + "StartTask", {"id": self.ona_task}, "taskExecution", "id")

    @property
    def token(self) -> str:
        """A token's id."""
        return self._new("POST", "/api/tokens", {"name": "t", "scope": "read"})

    def populate(self) -> None:
        """Make one of each thing that a list might show."""
        for thing in ("run", "execution", "ended", "external_run", "job_run", "flow_run", "task_run", "ona_execution"):
            getattr(self, thing)


class World:
    """The API at work, and the tokens with which it is asked: ``none`` is no token at all."""

    def __init__(self, served: Served, store: Store) -> None:
        self.served = served
        self.store = store
        self.http = httpx.Client(base_url=served.url, timeout=20)
        self.tokens = {"none": "", "admin": TOKEN}
        self.mine, self.theirs, self.nobody = (Owner(self, name) for name in ("mine", "theirs", "nobody"))
        for name, body in {
            "read": {"scope": "read"},
            "run": {"scope": "run"},
            "mine": {"scope": "run", "tasks": PATTERN},
            "theirs": {"scope": "run", "tasks": "*theirs*"},
        }.items():
            made = self.ask("admin", "POST", "/api/tokens", json={"name": f"a {name} token", **body})
            self.tokens[name] = made.json()["token"]
        for owner in (self.mine, self.theirs):
            self.ask("admin", "POST", "/api/concurrency_limits/", json={"tag": owner.tag, "concurrency_limit": 100_000})
            owner.populate()
        self.heartbeat()

    def heartbeat(self) -> None:
        """Let the workers say that they are there."""
        for owner in (self.mine, self.theirs):
            about = About(host=owner.name, pid=1, version="1", queues=(owner.queue,), slots=4, started_us=1)
            self.store.run(fleet.heartbeat(owner.worker, [], about))

    def headers(self, token: str) -> dict[str, str]:
        """What a request with that token is sent with."""
        return {"Authorization": f"Bearer {self.tokens[token]}"} if self.tokens[token] else {}

    def ask(self, token: str, method: str, path: str, **options: Any) -> httpx.Response:
        """An answer of the API."""
        return self.http.request(method, path, headers=self.headers(token), follow_redirects=True, **options)

    def stream(self, token: str, method: str, path: str, **options: Any) -> Any:
        """The same for an answer that goes on."""
        return self.http.stream(method, path, headers=self.headers(token), **options)


@contextmanager
def made_world(folder: Path, more: Sequence[Task] = ()) -> Iterator[World]:
    """A world on a Valkey of its own, with *more* tasks."""
    (folder / "valkey").mkdir()
    with ExitStack() as at_end:
        redis = at_end.enter_context(closing(Server(folder / "valkey", "")))
        settings = Settings(redis_url=redis.url, token=TOKEN, secret=SECRET, api_tasks=True)
        store = at_end.enter_context(closing(open_store(settings)))
        known = [*tasks_of("mine"), *tasks_of("theirs"), *more]
        limits = {"mine-limit": 100_000, "theirs-limit": 100_000}
        store.run(tasks.apply([(task, define(task, Keys(SECRET))) for task in known], limits=limits))
        served = at_end.enter_context(serving(settings))
        world = World(served, store)
        at_end.callback(world.http.close)
        yield world
