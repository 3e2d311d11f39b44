"""A server that forgot its scripts, or some of them, is taught them again, and nothing happens out of order."""

from shared.runs import Reason
from shared.store import logs, runs
from shared.store.log_record import StoredLine
from shared.store.redis.call import Call, as_is
from shared.store.redis.scripts import script
from tests.store.harness import StoreHarness


def test_the_last_lines_come_before_the_end_though_only_the_end_is_known(harness: StoreHarness) -> None:
    harness.task()
    held = harness.started()
    harness.run(Call("SCRIPT", ("FLUSH",), as_is))
    harness.run(Call("SCRIPT", ("LOAD", script("end").text), as_is))
    line = StoredLine(0, harness.now, 0, "the last words", False)
    stored, ended = harness.settle(
        [
            logs.append(held.id, held.record.token, [line], first_kept=0, kept_bytes=15),
            runs.end(held.id, held.record.token, Reason.SUCCESS, 0, ""),
        ]
    )
    assert (stored, ended.verdict) == ("stored", "ended")
    assert [line.text for line in harness.run(logs.window(held.id, 0, 10)).lines] == ["the last words"]
