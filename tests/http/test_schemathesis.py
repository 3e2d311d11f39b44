"""
The API does what its OpenAPI document says, and what it doesn't say it refuses: schemathesis makes the requests.

Streams are left out, because they have no end; ``test_streams.py`` is about them.
"""

import re
import uuid
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume
from hypothesis import settings as bounded

from api.app import native_endpoints
from api.native.openapi import describe
from shared import ops
from shared.runs import Reason, Status
from shared.store.redis.sync_store import Store
from tests.http.conftest import TOKEN, Served

schema = schemathesis.openapi.from_dict(describe(native_endpoints())).exclude(path_regex="/stream$")
schema = schema.exclude(path="/api/session", method="POST")  # only a real token signs in

STATES = {"", *Status, *Reason}


@pytest.fixture
def url(served: Served, catalog: Store) -> str:
    for name in ("example", "report"):
        catalog.run(ops.trigger(ops.Catalog(), name, ops.Request()))
    return served.url


@schema.parametrize()
@bounded(
    max_examples=25,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_does_what_its_description_says(case: Any, url: str) -> None:
    # A parameter whose value is empty or nothing is not sent at all, so it cannot make a request wrong.
    assume(all(value not in ([], {}, None) for value in case.query.values()))
    # The schema of this parameter is given and says less than is true: a state, or several by comma.
    assume(STATES.issuperset(str(case.query.get("status", "")).split(",")))
    # No schema says which cursors were given out, that only tokens of one scope have a quota, or that 7.0 is no whole
    # number.
    assume(not re.fullmatch("[A-Za-z0-9_-]{1,500}", str(case.query.get("cursor", ""))))
    # The contract's list is described as the contract says, which knows no rows.
    assume(not (case.query.get("view") == "row" and case.path == "/api/tasks/{taskName}/runs"))
    assume(str(case.query.get("regex")).lower() != "true")  # nor which texts are expressions
    quota = case.body.get("quota") if isinstance(case.body, dict) else None
    if isinstance(quota, dict):
        assume(case.body.get("scope") == "run")
        assume(not any(isinstance(number, float) for number in quota.values()))
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[!-~]{1,255}", key):
        case.headers["Idempotency-Key"] = uuid.uuid4().hex  # with a body of its own each, or 422 would be right
    if str(case.query.get("wait")).lower() == "true":
        del case.query["wait"]  # nobody executes here, so that every example would wait its full time
    # An address of its own for each example: the wrong tokens that are tried would soon be answered 429.
    address = ".".join(str(number) for number in uuid.uuid4().bytes[:4])
    case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": address})
