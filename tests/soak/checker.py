"""
Judges a soak by its evidence: ``python -m tests.soak.checker FOLDER`` says PASS or FAIL of each invariant, and why.

What the runs wrote of themselves is believed, what the driver did and saw of processes is believed; what the API
answered and what the store holds is what is judged. It imports nothing of the product and asks it nothing.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tests.soak.evidence_index import EvidenceIndex, Findings
from tests.soak.history import Evidence, read_evidence
from tests.soak.logs import logs_true
from tests.soak.processes import crashes_seen, memory_bounded, never_more, nothing_left, one_process, stops_heard
from tests.soak.records import all_ended, ended_once, requests_kept, ticks_once, whole_chains
from tests.soak.steps import plans_followed


class Verdict(NamedTuple):
    """What became of one invariant: ``checked`` things were looked at, and ``problems`` is empty when it held."""

    name: str
    says: str
    checked: int
    problems: list[str]


INVARIANTS: Final[list[Callable[[EvidenceIndex], Findings]]] = [
    all_ended,
    ended_once,
    one_process,
    ticks_once,
    whole_chains,
    stops_heard,
    logs_true,
    never_more,
    memory_bounded,
    crashes_seen,
    nothing_left,
    requests_kept,
    plans_followed,
]


def check(evidence: Evidence) -> list[Verdict]:
    """Judge all invariants, in order."""
    index, verdicts = EvidenceIndex(evidence), []
    for invariant in INVARIANTS:
        name, _, says = (invariant.__doc__ or "").partition(" ")
        findings = list(invariant(index))
        verdicts.append(Verdict(name, says, len(findings), [one for one in findings if one]))
    return verdicts


def report(verdicts: list[Verdict]) -> str:
    """The verdicts, in words."""
    lines = []
    for verdict in verdicts:
        lines.append(
            f"{'FAIL' if verdict.problems else 'PASS'} {verdict.name:3} {verdict.says} ({verdict.checked} checks)"
        )
        lines += [f"         {problem}" for problem in verdict.problems[:20]]
        if len(verdict.problems) > 20:
            lines.append(f"         … and {len(verdict.problems) - 20} more")
    return "\n".join(lines)


def main() -> int:
    """Judge the folder that the command line names; 1 when anything is wrong."""
    verdicts = check(read_evidence(Path(sys.argv[1])))
    print(report(verdicts))  # noqa: T201  # a program's answer
    return int(any(verdict.problems for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
