"""
Request objects, one struct each, with the limits of their members.

A struct's name is the name of its JSON Schema.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.http.auth import Scope
from api.native.responses import ReasonName

Tag = Annotated[str, Meta(min_length=1, max_length=100)]
LabelName = Annotated[str, Meta(min_length=1, max_length=100)]
LabelValue = Annotated[str, Meta(max_length=1000)]


class RunRequest(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How to start a run, all of it optional. ``run_at`` and ``delay_ms`` exclude each other."""

    params: Annotated[dict[str, Any], Meta(description="Parameters of the task; 256 KiB at most")] | UnsetType = UNSET
    external_execution_id: Annotated[
        str, Meta(min_length=1, max_length=255, description="What the caller's system calls this execution")
    ] = ""
    run_at: Annotated[datetime, Meta(tz=True, description="Not before this time; a past one means now")] | UnsetType = (
        UNSET
    )
    delay_ms: (
        Annotated[
            int, Meta(ge=0, le=31_622_400_000, description="Not before this many milliseconds from now; a year at most")
        ]
        | UnsetType
    ) = UNSET
    priority: (
        Annotated[int, Meta(ge=0, le=9, description="Within the queue, 9 first; the task's own when absent")]
        | UnsetType
    ) = UNSET
    tags: Annotated[list[Tag], Meta(max_length=64, description="In addition to the task's")] = []
    labels: Annotated[dict[LabelName, LabelValue], Meta(max_length=64, description="In addition to the task's")] = {}
    replicas: (
        Annotated[int, Meta(ge=1, le=10_000, description="Parallel copies; the task's own when absent")] | UnsetType
    ) = UNSET


class ReportRequest(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    A status report for a run of an external task. Without ``end_reason`` it is running, and only ``at`` may be given.
    """

    end_reason: Annotated[ReasonName, Meta(description="Why it ended; absent while it runs")] | UnsetType = UNSET
    exit_code: (
        Annotated[
            int,
            Meta(
                ge=-(2**31),
                le=2**31 - 1,
                description="When absent: 0 for success, -1 for skipped, otherwise -2 (unknown)",
            ),
        ]
        | UnsetType
    ) = UNSET
    message: Annotated[str, Meta(max_length=4096, description="Why it ended, in a sentence")] | UnsetType = UNSET
    at: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="When that was, between its creation and now; now when absent",
            ),
        ]
        | UnsetType
    ) = UNSET
    outputs: (
        Annotated[
            dict[Annotated[str, Meta(min_length=1, max_length=100)], Any],
            Meta(max_length=64, description="What steps that depend on it get; 256 KiB at most"),
        ]
        | UnsetType
    ) = UNSET


class QuotaRequest(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How much a token with scope run may start; omitted members have their defaults."""

    triggers_per_s: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Executions it starts in a second, in each API process")
    ] = 200
    pending_runs: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Runs of one task that wait; with as many it starts no more")
    ] = 100_000
    pending_bytes: Annotated[
        int,
        Meta(
            ge=1, le=2**40, description="Bytes of parameters, tags and labels in the last minute, in each API process"
        ),
    ] = 64 * 1024 * 1024


class SignInRequest(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One of the two."""

    token: Annotated[str, Meta(min_length=1, max_length=1000, description="A token (`rf_…`)")] | UnsetType = UNSET
    link: (
        Annotated[str, Meta(min_length=1, max_length=200, description="What follows `#link=` in a sign-in link")]
        | UnsetType
    ) = UNSET


class TokenRequest(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A new token and its rights."""

    name: Annotated[str, Meta(min_length=1, max_length=100, description="Whom or what it is for")]
    scope: Annotated[Scope, Meta(description="read sees, run also starts and stops, admin does everything")]
    tasks: Annotated[
        str,
        Meta(
            max_length=100,
            pattern=r"^[a-zA-Z0-9._*?-]*$",
            description="Only tasks whose name fits, with * and ?; empty: all",
        ),
    ] = ""
    expires_in_s: (
        Annotated[int, Meta(ge=60, le=315_360_000, description="Seconds until it ends; absent: never")] | UnsetType
    ) = UNSET
    quota: (
        Annotated[QuotaRequest, Meta(description="Only with scope run: how much it may start; more is answered 429")]
        | UnsetType
    ) = UNSET
