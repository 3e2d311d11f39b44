"""The evidence of a soak, sorted by what the invariants ask for, and the bounds that they share."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tests.soak.history import Entry, Evidence, Life

S: Final = 1_000_000
FOREVER_US: Final = 1 << 62
LEASE_S: Final = 6.0
HOLD_S: Final = LEASE_S + 1
"""After Valkey was away nothing is rescued for one lease, and the next look is a second later."""

LONG_AWAY_S: Final = 1.0
"""Gaps that are shorter than this and a beat are not noticed."""

Findings = Iterator[str | None]
"""One for each thing that was looked at: None, or what is wrong with it."""


class EvidenceIndex:
    """The evidence, sorted by what the invariants ask for."""

    def __init__(self, evidence: Evidence) -> None:
        self.found = evidence
        self.lives = [life for lives in evidence.lives.values() for life in lives]
        self.kills = evidence.done("kill")
        self.freezes = [
            (
                freeze,
                next((one["at_us"] for one in evidence.done("thaw") if one["of_us"] == freeze["at_us"]), FOREVER_US),
            )
            for freeze in evidence.done("freeze")
        ]
        self.drains = evidence.done("drain")
        self.stalls = [(one["from_us"], one["to_us"]) for one in evidence.done("stall")]
        self.store_away = [(one["from_us"], one["to_us"]) for one in evidence.done("away") if one["of"] == "store"]
        self.away = [(one["from_us"], one["to_us"]) for one in evidence.done("away")]
        self.held = [(start, end + int(HOLD_S * S)) for start, end in self.store_away if end - start > LONG_AWAY_S * S]
        self.chains: dict[tuple[str, str, int], list[Entry]] = defaultdict(list)
        for record in evidence.records.values():
            self.chains[record["execution_id"], record["task_name"], record["replica_index"]].append(record)
        for chain in self.chains.values():
            chain.sort(key=lambda record: record["created_at"])

    def deadline_us(self, from_us: int, seconds: float, *, rescue: bool = False) -> int:
        """
        When so many seconds are over, not counting those in which nobody could do anything.

        With *rescue* the schedulers' absence and the hold after an outage don't count either.
        """
        left_us, at_us = int(seconds * S), from_us
        gaps = self.stalls + (self.away + self.held if rescue else self.store_away)
        for start, end in _merged(gaps):
            if end <= at_us:
                continue
            if start - at_us >= left_us:
                break
            left_us -= max(0, start - at_us)
            at_us = end
        return at_us + left_us

    def disturbances(self, record: Entry) -> list[tuple[int, int]]:
        """When something was done to the worker that had a run: from then until it was over."""
        pids = {life.pid for life in self.found.lives.get(record["id"], ())}
        worker = record.get("worker", "")

        def is_its(entry: Entry) -> bool:
            return not pids.isdisjoint(entry["pids"]) or f"-{entry.get('worker')}-" in worker

        return (
            [(kill["at_us"], FOREVER_US) for kill in self.kills if is_its(kill)]
            + [(freeze["at_us"], thaw_us) for freeze, thaw_us in self.freezes if is_its(freeze)]
            + [(drain["at_us"], FOREVER_US) for drain in self.drains if is_its(drain)]
        )

    def lives_of(self, record: Entry) -> list[Life]:
        """The processes of a run."""
        return self.found.lives.get(record["id"], [])

    def frozen_from_us(self, life: Life) -> int:
        """When the worker of a process was frozen while it lived; far in the future when it never was."""
        return min(
            (f["at_us"] for f, thaw_us in self.freezes if life.pid in f["pids"] and thaw_us > life.started_us),
            default=FOREVER_US,
        )


def state(record: Entry | None) -> str:
    """How a run stands, in words."""
    return f"{record['status']} {record.get('end_reason', '')}".strip() if record else "unknown"


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
