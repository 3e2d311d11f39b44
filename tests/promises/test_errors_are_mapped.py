"""Every error with a name has an answer, and every documented problem is one that something raises."""

from http import HTTPStatus
from typing import Any

import msgspec
import pytest

import api.http.auth
import api.http.problems
import shared.errors
from api.app import native_endpoints
from api.http.problems import problem_reply
from api.native.openapi import describe
from shared.errors import ConfigInvalid, Invalid, Misconfigured, Problem, RunfleetError

SCOPE: Any = {"type": "http", "scheme": "http", "path": "/api/x", "raw_path": b"/api/x", "headers": [], "method": "GET"}
NEVER_ANSWERED = (ConfigInvalid, Misconfigured)
"""A process or a command ends with these; the API never meets them."""


def tree(kind: type[RunfleetError]) -> list[type[RunfleetError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in tree(child))]


NAMED = [
    kind
    for kind in tree(RunfleetError)[1:]
    if kind not in (*NEVER_ANSWERED, api.http.problems.Unexpected)
    and kind.__module__ in (shared.errors.__name__, api.http.problems.__name__, api.http.auth.__name__)
]


def made(kind: type[RunfleetError]) -> RunfleetError:
    special: dict[str, tuple[Any, ...]] = {
        "Refused": ("it is ended", "success"),
        "NotAllowed": ("PUT", "/x", ("GET",)),
        "TooManyFailures": (7,),
        "OverQuota": ("too much", 7),
    }
    arguments: tuple[Any, ...] = (
        ([Problem("query.x", "is wrong")],) if issubclass(kind, Invalid) else ("what is wrong",)
    )
    return kind(*special.get(kind.__name__, arguments))


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.__name__)
def test_a_named_error_becomes_a_problem_with_its_own_status(kind: type[RunfleetError]) -> None:
    reply = problem_reply(made(kind), SCOPE)
    body = msgspec.json.decode(reply.body)
    assert reply.status == kind.status == body["status"] != 500
    assert body["title"] == kind.title
    assert body["detail"]
    assert (b"content-type", b"application/problem+json") in reply.headers


def test_every_problem_that_is_documented_can_be_reached() -> None:
    documented = {
        int(status)
        for methods in describe(native_endpoints())["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
        if status.isdigit() and int(status) >= 400
    }
    assert documented <= {kind.status for kind in NAMED} | {HTTPStatus.INTERNAL_SERVER_ERROR}


def test_every_status_that_a_named_error_has_is_documented_somewhere() -> None:
    document = describe(native_endpoints())
    documented = {
        int(status)
        for methods in document["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
        if status.isdigit()
    }
    # 405 belongs to no operation: it is what the others are answered.
    assert {kind.status for kind in NAMED} - {HTTPStatus.METHOD_NOT_ALLOWED} <= documented
