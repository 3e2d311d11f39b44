"""Those who use the API, and do not take no for an answer."""

import contextlib
import threading
import uuid
from typing import Any

import httpx

from tests.soak.history import now_us
from tests.soak.plan import RUN_AGAIN
from tests.soak.soak import Soak
from tests.system.fleet import TOKEN, Fleet


class Clients:
    """Those who trigger, stop, rerun and repeat. Two threads share one plan."""

    def __init__(self, soak: Soak, fleet: Fleet) -> None:
        self._soak, self._fleet = soak, fleet
        self._todo = iter(list(enumerate(soak.actions("client"))))
        self._lock = threading.Lock()
        self._asks: list[tuple[str, dict[str, Any], str, str]] = []
        self._run = uuid.uuid4().hex[:8]

    def work(self) -> None:
        """Do the plan."""
        with client_of(self._fleet) as http:
            while True:
                with self._lock:
                    n, action = next(self._todo, (0, None))
                if action is None or not self._soak.wait_for(action.at_s):
                    return
                getattr(self, "_" + action.what)(http, n, **action.args)

    def _trigger(
        self, http: httpx.Client, n: int, task: str, body: dict[str, Any], key: bool, hasty: bool, times: int
    ) -> None:
        for time_ in range(times):
            ask = f"{n}.{time_}"
            made = (
                f"/api/tasks/{task}/run",
                {**body, "labels": {"ask": ask}},
                f"{self._run}-{ask}" if key else "",
                ask,
            )
            if key:
                self._asks.append(made)
            self._post(http, *made, hasty=hasty)

    def _repeat(self, http: httpx.Client, n: int, pick: int) -> None:
        if self._asks:
            self._post(http, *self._asks[pick % len(self._asks)])

    def _stop(self, http: httpx.Client, n: int, pick: int, force: bool) -> None:
        run = self._some(http, pick, "pending,running")
        if run:
            self._post(http, f"/api/runs/{run['id']}/stop" + ("?force=true" if force else ""), None, "", "")

    def _stop_execution(self, http: httpx.Client, n: int, pick: int) -> None:
        run = self._some(http, pick, "running")
        if run and run["task_name"] != "backlog":
            self._post(http, f"/api/executions/{run['execution_id']}/stop", None, "", "")

    def _rerun(self, http: httpx.Client, n: int, pick: int) -> None:
        run = self._some(http, pick, "ended")
        if run and run["task_name"] in RUN_AGAIN:
            self._post(http, f"/api/runs/{run['id']}/rerun", None, "", run.get("labels", {}).get("ask", ""))

    def _some(self, http: httpx.Client, pick: int, status: str) -> dict[str, Any] | None:
        with contextlib.suppress(httpx.HTTPError):
            answer = http.get("/api/runs", params={"status": status, "limit": 30})
            if answer.status_code == 200:
                runs: list[dict[str, Any]] = answer.json()["runs"]
                return runs[pick % len(runs)] if runs else None
        return None

    def _post(
        self, http: httpx.Client, path: str, body: dict[str, Any] | None, key: str, ask: str, *, hasty: bool = False
    ) -> None:
        """
        Ask once; with a key again until there is an answer. Every attempt is noted, ``status`` 0 when none came.

        A hasty one does not wait for its first answer.
        """
        while True:
            sent_us = now_us()
            status, run = 0, None
            try:
                answer = http.post(
                    path,
                    json=body,
                    headers={"Idempotency-Key": key} if key else {},
                    timeout=0.003 if hasty else 8,
                )
                status, run = answer.status_code, answer.json()
            except (httpx.HTTPError, ValueError):
                pass
            self._soak.answers.add("post", path=path, key=key, ask=ask, sent_us=sent_us, status=status, answer=run)
            if (status and status < 500) or not key or self._soak.over.is_set():
                return
            hasty = False
            self._soak.over.wait(0.2)


def client_of(fleet: Fleet) -> httpx.Client:
    """A client of the API, which waits longer than Valkey is away."""
    return httpx.Client(base_url=fleet.http.base_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=8)
