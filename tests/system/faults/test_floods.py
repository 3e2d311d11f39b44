"""Commands that print more than anybody wants, and what of it reaches others."""

import time

import pytest

from tests.conftest import Measured
from tests.system.conftest import StartFleet
from tests.system.faults.latency import asked_meanwhile, resident_mb, slowness

LINES = 2_000_000
LINE = 101  # bytes of each printed line, its end included
KEPT = 1024 * 1024
API_S = 0.1
WORKER_MB = 200
API_MB = 160
TASKS = "".join(
    f"""
[tasks.{policy}]
run = ["python3", "-c", '''
import sys
for first in range(0, {LINES}, 1000):
    sys.stdout.write("".join(f"{{n:0100d}}\\n" for n in range(first, first + 1000)))
''']
log_on_full = "{policy}"
log_max_size = "1mb"
"""
    for policy in ("drop_old", "drop_new", "kill")
)


@pytest.mark.parametrize("policy", ["drop_old", "drop_new", "kill"])
def test_two_hundred_megabytes_of_output_disturb_no_other_run(
    make_fleet: StartFleet, measured: Measured, policy: str
) -> None:
    """F40: the log is what the policy says, memory is bounded, the API stays quick."""
    fleet = make_fleet(TASKS).start_all()
    web, worker = fleet.of("web").pid, fleet.of("worker").worker_process()
    before = slowness()
    run = fleet.trigger(policy)
    window = f"/api/runs/{run['id']}/log?from=-1000"
    with asked_meanwhile(fleet, ["/health", f"/api/runs/{run['id']}", window]) as meanwhile:
        run = fleet.ended(run, timeout_s=120)
    with asked_meanwhile(fleet, ["/health", f"/api/runs/{run['id']}", window]) as afterwards:
        time.sleep(1.0)  # how long it is measured
    # A machine that is busy with something else gives as much more to it; an API that is or stays slow gets nothing.
    bound_s = API_S * max(before, slowness())
    measured("F40", "answer of the API, p99", meanwhile.p99_s(), bound_s)
    assert afterwards.p99_s() <= bound_s, "the API stays slow"
    assert resident_mb(worker, peak=True) < WORKER_MB
    assert resident_mb(web, peak=True) < API_MB

    page = fleet.get(f"/api/runs/{run['id']}/log", limit=10_000)
    lines = page["lines"]
    while lines[-1]["n"] + 1 < page["total_lines"]:
        lines += fleet.get(f"/api/runs/{run['id']}/log", **{"from": lines[-1]["n"] + 1}, limit=10_000)["lines"]
    printed = [int(line["text"]) for line in lines if line["stream"] == "stdout"]
    said = [line["text"] for line in lines if line["stream"] == "system"]
    assert [line["n"] for line in lines] == sorted({line["n"] for line in lines})
    assert printed == list(range(printed[0], printed[0] + len(printed)))
    assert KEPT * 0.9 < len(printed) * LINE <= KEPT + LINE
    assert page["truncated"]
    assert page["finalized"]
    if policy == "kill":
        assert run["end_reason"] == "log_overflow"
        assert printed[0] == 0
    else:
        assert run["end_reason"] == "success"
        assert printed[-1] == LINES - 1 if policy == "drop_old" else printed[0] == 0
        assert f"{LINES - len(printed)}" in said[0].replace(",", "").replace(" ", "")
