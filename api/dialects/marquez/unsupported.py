"""Paths of Marquez that are not supported, and the alternative to each."""

import re
from typing import Final

_EVENTS: Final = "the events have all that was sent: GET /api/v1/events/lineage"
_JOB: Final = "/api/v1/namespaces/{namespace}/jobs/{job}"
_INSTEAD: Final = {
    r"namespaces/[^/]+/datasets": (
        f"datasets are not resources here; a job names its inputs and outputs (GET {_JOB}), and {_EVENTS}"
    ),
    r"sources": f"sources are not stored; {_EVENTS}",
    r"tags|namespaces/[^/]+/jobs/[^/]+/tags": f"tags are not resources here; set those of a job with PUT {_JOB}",
    r"namespaces/[^/]+/jobs/[^/]+/versions": (
        "versions of a job are not stored; a run that ended has its own as jobVersion: GET /api/v1/jobs/runs/{id}"
    ),
    r"lineage/batch": "send events one by one: POST /api/v1/lineage",
    r"lineage|column-lineage|runlineage": f"there are no graphs of jobs, runs and datasets; {_EVENTS}",
    r"search": "there is no search; jobs are listed by GET /api/v1/jobs, runs are searched by GET /api/runs?search=",
    r"stats": "there are no statistics in this form; those of the fleet are at GET /metrics",
    r"events(?!/lineage)": "events are listed by GET /api/v1/events/lineage",
}
_PATHS: Final = tuple((re.compile(rf"/api/v1/(?:{path})(?:/.*)?"), instead) for path, instead in _INSTEAD.items())


def alternative_to(path: str) -> str:
    """The alternative to a path of Marquez that is not supported; "" for any other path."""
    return next((instead for pattern, instead in _PATHS if pattern.fullmatch(path)), "")
