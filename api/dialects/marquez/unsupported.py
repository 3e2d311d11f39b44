"""What Marquez has and this dialect has not, and where to look instead."""

from __future__ import annotations

import re
from typing import Final

_EVENTS: Final = "all that was told of them is in the events: GET /api/v1/events/lineage"
_JOB: Final = "/api/v1/namespaces/{namespace}/jobs/{job}"
_INSTEAD: Final = {
    r"namespaces/[^/]+/datasets": (
        f"datasets are no things of their own; a job names its inputs and outputs (GET {_JOB}), and {_EVENTS}"
    ),
    r"sources": f"sources are not kept; {_EVENTS}",
    r"tags|namespaces/[^/]+/jobs/[^/]+/tags": f"tags are no things of their own; a job is given its tags by PUT {_JOB}",
    r"namespaces/[^/]+/jobs/[^/]+/versions": (
        "versions of a job are not kept; a run that ended has its own as jobVersion: GET /api/v1/jobs/runs/{id}"
    ),
    r"lineage/batch": "events are taken one by one: POST /api/v1/lineage",
    r"lineage|column-lineage|runlineage": f"no graphs are drawn of jobs, runs and datasets; {_EVENTS}",
    r"search": "there is no search; jobs are listed by GET /api/v1/jobs, runs are searched by GET /api/runs?search=",
    r"stats": "there are no statistics in this form; those of the fleet are at GET /metrics",
    r"events(?!/lineage)": "events are listed by GET /api/v1/events/lineage",
}
_PATHS: Final = tuple((re.compile(rf"/api/v1/(?:{path})(?:/.*)?"), instead) for path, instead in _INSTEAD.items())


def instead_of(path: str) -> str:
    """What to do where Marquez would have something at *path* and there is nothing here; "" for any other path."""
    return next((instead for pattern, instead in _PATHS if pattern.fullmatch(path)), "")
