"""The checker finds what is planted: a small, true story passes, and each thing that is wrong with it is noticed."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run_command
from tests.soak.checker import INVARIANTS, check, report
from tests.soak.history import Entry, read_evidence

S = 1_000_000
T0 = 1_800_000_000 * S
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LIMITS: Entry = {
    "retry_attempts": 2,
    "max_concurrent": 0,
    "strict": False,
    "graceful_stop_s": 1.0,
    "keeps": "all",
    "log_max_bytes": 1 << 20,
    "cron_s": 0,
    "replicas": 1,
    "needs": [],
}
TASKS = {
    "base": LIMITS,
    "top": LIMITS | {"needs": ["base"]},
    "plain": LIMITS,
    "single": LIMITS | {"max_concurrent": 1},
    "strict": LIMITS | {"strict": True},
    "ticking": LIMITS | {"cron_s": 1},
    "newest": LIMITS | {"keeps": "drop_old", "log_max_bytes": 100},
}


def us(at_s: float) -> int:
    """A moment of the story."""
    return T0 + round(at_s * S)


def text(at_s: float) -> str:
    """The same as the API writes it."""
    return (EPOCH + timedelta(microseconds=us(at_s))).isoformat()


@dataclass
class Story:
    """The files of a soak, to be changed and written."""

    history: list[str] = field(default_factory=list)
    chaos: list[Entry] = field(default_factory=list)
    posts: list[Entry] = field(default_factory=list)
    first: dict[str, Entry] = field(default_factory=dict)
    records: dict[str, Entry] = field(default_factory=dict)
    logs: dict[str, Entry] = field(default_factory=dict)
    store: list[Entry] = field(default_factory=list)

    def do(self, what: str, at_s: float, **facts: Any) -> None:
        """Something that the driver did or saw."""
        self.chaos.append({"what": what, "at_us": us(at_s), **facts})

    def live(self, run: str, pid: int, start_s: float, end_s: float, *, code: int | None = 0) -> None:
        """A process of a run, and what it printed."""
        record = self.records[run]
        tick = record.get("scheduled_for", "")
        told = f"task={record['task_name']} execution={record['execution_id']} replica=0"
        self.history.append(f"{us(start_s)} start {run} {pid} {told} attempt={record['retry_attempt']} tick={tick}")
        self.history += [f"{us(start_s + n / 10)} beat {run} {pid} lines={n}" for n in (1, 2)]
        if code is None:
            self.history.append(f"{us(end_s)} beat {run} {pid} lines=2")
        else:
            self.history.append(f"{us(end_s)} end {run} {pid} lines=2 most=2 code={code}")

    def run(self, run: str, task: str, start_s: float, end_s: float, **facts: Any) -> Entry:
        """A run that ended, as the API shows it, with its log, asked for by a request of its own."""
        record: Entry = {
            "id": run,
            "task_name": task,
            "status": "ended",
            "end_reason": "success",
            "exit_code": 0,
            "execution_id": run,
            "replica_index": 0,
            "retry_attempt": 0,
            "created_at": text(start_s - 0.1),
            "start_at": text(start_s),
            "end_at": text(end_s + 0.05),
            "worker": "host-70-a",
            **facts,
        }
        self.first[run], self.records[run] = dict(record), record
        lines = [{"n": n, "stream": "stdout", "text": f"line {n} of {run}"} for n in (0, 1)]
        self.logs[run] = {"lines": lines, "first_available": 0, "total_lines": 2, "truncated": False}
        if "retry_of_run_id" not in facts and "scheduled_for" not in facts:
            record["labels"] = self.first[run]["labels"] = {"ask": run}
            self.post(f"/api/tasks/{task}/run", start_s - 0.1, ask=run, key=f"k-{run}", answer={"id": run})
        return record

    def post(self, path: str, at_s: float, *, status: int = 201, **facts: Any) -> None:
        """A request and its answer."""
        known = {"ask": "", "key": "", "answer": {}} | facts
        self.posts.append(
            {"what": "post", "path": path, "sent_us": us(at_s), "at_us": us(at_s + 0.01), "status": status, **known}
        )

    def judge(self, folder: Path) -> dict[str, list[str]]:
        """The problems by invariant."""
        self.write(folder)
        return {verdict.name: verdict.problems for verdict in check(read_evidence(folder))}

    def write(self, folder: Path) -> None:
        """Make the files."""
        self.history.sort(key=lambda line: int(line.split()[0]))
        answers = [
            *self.posts,
            *({"what": "first_end", "record": record} for record in self.first.values()),
            *({"what": "final", "record": record} for record in self.records.values()),
            *({"what": "log", "run": run, **log} for run, log in self.logs.items()),
        ]
        (folder / "history").write_text("".join(line + "\n" for line in self.history))
        for name, entries in (("chaos", self.chaos), ("answers", answers), ("store", self.store)):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.fixture
def story() -> Story:
    """
    Three ticks; a run whose worker is killed and which is tried again; a stop; two executions one after the other; a
    run of a frozen worker that wakes up too late; a log of which the oldest lines are gone; a plan of two steps, and
    one whose second step is skipped.
    """
    made = Story()
    made.do("plan", 0, tasks=TASKS)
    made.do("started", 0)
    for n in (1, 2, 3):
        made.run(f"tick{n}", "ticking", n + 0.1, n + 0.5, scheduled_for=text(n))
        made.live(f"tick{n}", 100 + n, n + 0.15, n + 0.5)

    crashed = {"end_reason": "crashed", "exit_code": -2}
    made.run("lost", "plain", 5, 12, **crashed)
    made.live("lost", 201, 5.1, 6, code=None)
    made.do("kill", 6, victim="worker", pid=70, worker=70, pids=[70, 71, 201])
    made.do("gone", 8, of_us=us(6), alive=[])
    made.run(
        "again", "plain", 12.2, 13, retry_attempt=1, retry_of_run_id="lost", execution_id="lost", worker="host-80-b"
    )
    made.live("again", 301, 12.3, 13)

    made.run("stopped", "plain", 14, 15.2, end_reason="stopped", exit_code=143, worker="host-80-b")
    made.live("stopped", 302, 14.1, 15.2, code=143)
    made.post("/api/runs/stopped/stop", 15, status=202)

    for run, start_s in (("one", 16.0), ("two", 17.0)):
        made.run(run, "single", start_s, start_s + 0.8, worker="host-80-b")
        made.live(run, 303, start_s + 0.1, start_s + 0.8)

    made.run("asleep", "strict", 20, 27, worker="host-90-c", **crashed)
    made.live("asleep", 401, 20.1, 25, code=None)
    made.do("freeze", 20.5, pid=90, worker=90, pids=[90, 91, 401])
    made.do("thaw", 29.5, of_us=us(20.5), pid=90)
    made.run("awake", "strict", 27.2, 28, retry_attempt=1, retry_of_run_id="asleep", execution_id="asleep")
    made.live("awake", 304, 27.3, 28)

    made.run("long", "newest", 30, 30.5)
    made.live("long", 305, 30.1, 30.5)
    made.history = [
        line.replace("s=2", "s=90").replace("t=2", "t=90") if " long " in line else line for line in made.history
    ]
    kept = [{"n": n, "stream": "stdout", "text": f"line {n} of long"} for n in (88, 89)]
    said = {
        "n": 90,
        "stream": "system",
        "text": "log_max_size = 100 bytes was reached: 88 lines (900 bytes) are missing",
    }
    made.logs["long"] = {"lines": [*kept, said], "first_available": 88, "total_lines": 91, "truncated": True}

    made.run("step1", "base", 32, 32.5)
    made.live("step1", 306, 32.1, 32.5)
    made.run("step2", "top", 32.7, 33, execution_id="step1")
    made.live("step2", 307, 32.8, 33)
    made.run("failed1", "base", 34, 34.5, end_reason="stopped", exit_code=143)
    made.live("failed1", 308, 34.1, 34.4, code=143)
    made.post("/api/runs/failed1/stop", 34.3, status=202)
    made.run("failed2", "top", 34.6, 34.6, execution_id="failed1", end_reason="skipped", exit_code=-1)
    made.logs["failed2"]["lines"] = []
    for run, first in (("step2", "step1"), ("failed2", "failed1")):
        made.posts.pop(next(n for n, post in enumerate(made.posts) if post["ask"] == run))
        next(post for post in made.posts if post["ask"] == first)["path"] = "/api/tasks/top/run"
        made.records[run]["labels"] = made.first[run]["labels"] = {"ask": first}

    made.do("paused", 4)
    made.do("drained_all", 40, drained=True)
    made.do("memory", 1, worker=40000, store=2000)
    ends = [["run.ended", run, record["end_reason"]] for run, record in made.records.items()]
    made.store = [{"what": "key", "key": "events", "held": ends}, {"what": "key", "key": "leases", "held": []}]
    return made


def ran_twice(story: Story) -> None:
    story.live("again", 999, 12.6, 13)


def lost_after_acceptance(story: Story) -> None:
    for kept in (story.records, story.first, story.logs):
        del kept["one"]


def never_ended(story: Story) -> None:
    story.records["one"]["status"] = "running"
    del story.records["one"]["end_at"]


def left_in_a_gate(story: Story) -> None:
    story.store.append({"what": "key", "key": "limit:task:single:holders", "held": ["one"]})


def changed_after_its_end(story: Story) -> None:
    story.records["one"] |= {"end_reason": "failed", "exit_code": 1}


def ended_twice(story: Story) -> None:
    story.store[0]["held"].append(["run.ended", "one", "crashed"])


def success_without_execution(story: Story) -> None:
    story.history = [line for line in story.history if " one " not in line]


def overlap(story: Story) -> None:
    story.history.append(f"{us(19.5)} beat lost 201 lines=2")


def strict_overlap(story: Story) -> None:
    story.history.append(f"{us(27.4)} beat asleep 401 lines=2")


def tick_run_twice(story: Story) -> None:
    story.run("tick2b", "ticking", 2.1, 2.5, scheduled_for=text(2))
    story.live("tick2b", 109, 2.2, 2.5)


def tick_forgotten(story: Story) -> None:
    for kept in (story.records, story.first, story.logs):
        del kept["tick2"]
    story.history = [line for line in story.history if " tick2 " not in line]


def gap_in_attempts(story: Story) -> None:
    story.records["again"]["retry_attempt"] = 2


def retry_before_the_end(story: Story) -> None:
    story.records["again"]["created_at"] = text(11)


def retry_never_made(story: Story) -> None:
    for kept in (story.records, story.first, story.logs):
        del kept["again"]


def over_budget(story: Story) -> None:
    before = "again"
    for n in (2, 3):
        story.records[before] |= {"end_reason": "failed", "exit_code": 1}
        story.run(f"try{n}", "plain", 12 + n, 12.5 + n, retry_attempt=n, retry_of_run_id=before, execution_id="lost")
        before = f"try{n}"


def poison_tried_again(story: Story) -> None:
    story.chaos[0]["tasks"] = TASKS | {"plain": LIMITS | {"retry_attempts": 9}}
    before = "again"
    for n in (2, 3):
        story.records[before] |= {"end_reason": "crashed", "exit_code": -2}
        story.run(f"try{n}", "plain", 12 + n, 12.5 + n, retry_attempt=n, retry_of_run_id=before, execution_id="lost")
        before = f"try{n}"


def deaf_to_a_stop(story: Story) -> None:
    story.records["stopped"]["end_at"] = text(18.2)


def missing_line(story: Story) -> None:
    del story.logs["one"]["lines"][1]


def doubled_line(story: Story) -> None:
    story.logs["one"]["lines"].append({"n": 2, "stream": "stdout", "text": "line 1 of one"})


def skipped_number(story: Story) -> None:
    story.logs["one"]["lines"][1]["n"] = 2


def foreign_line(story: Story) -> None:
    story.logs["one"]["lines"][1]["text"] = "line 1 of two"


def cut_line(story: Story) -> None:
    story.logs["one"]["lines"][1]["text"] = "line 1 of o"


def untold_loss(story: Story) -> None:
    story.logs["long"]["lines"][-1]["text"] = "80 lines (800 bytes) are missing"


def two_at_once(story: Story) -> None:
    story.history.append(f"{us(17.3)} beat one 303 lines=2")
    story.history = [line for line in story.history if not line.endswith("one 303 lines=2 most=2 code=0")]


def fat_worker(story: Story) -> None:
    story.do("memory", 9, worker=900_000)


def late_crash(story: Story) -> None:
    for kept in (story.records, story.first):
        kept["lost"]["end_at"] = text(14.4)
        kept["again"]["created_at"] = text(14.5)


def alive_after_its_worker(story: Story) -> None:
    next(entry for entry in story.chaos if entry["what"] == "gone")["alive"] = ["201 python work.py"]


def beat_after_its_worker(story: Story) -> None:
    story.history.append(f"{us(8.3)} beat lost 201 lines=2")


def daemon_after_its_run(story: Story) -> None:
    story.history.append(f"{us(20.2)} stray two 999")


def bad_exit_after_a_drain(story: Story) -> None:
    story.do("drain", 31, pid=80, worker=80, pids=[80])
    story.do("drained", 38, of_us=us(31), pid=80, code=None)


def repeat_gave_another(story: Story) -> None:
    story.post("/api/tasks/single/run", 17, ask="one", key="k-one", answer={"id": "two"})


def request_made_two(story: Story) -> None:
    story.records["two"]["labels"] = story.first["two"]["labels"] = {"ask": "one"}


def step_lost(story: Story) -> None:
    for kept in (story.records, story.first, story.logs):
        del kept["step2"]
    story.history = [line for line in story.history if " step2 " not in line]


def step_too_early(story: Story) -> None:
    story.history = [line.replace(str(us(32.8)), str(us(32.3))) for line in story.history]


def step_skipped_for_nothing(story: Story) -> None:
    story.records["step2"] |= {"end_reason": "skipped", "exit_code": -1}


def step_after_a_failure(story: Story) -> None:
    story.records["failed2"] |= {"end_reason": "success", "exit_code": 0}


def step_without_a_replica(story: Story) -> None:
    story.chaos[0]["tasks"] = TASKS | {"top": TASKS["top"] | {"replicas": 2}}


VIOLATIONS: list[tuple[str, Callable[[Story], None]]] = [
    ("I1", lost_after_acceptance),
    ("I1", never_ended),
    ("I1", left_in_a_gate),
    ("I2", changed_after_its_end),
    ("I2", ended_twice),
    ("I2", success_without_execution),
    ("I3", ran_twice),
    ("I3", overlap),
    ("I3", strict_overlap),
    ("I4", tick_run_twice),
    ("I4", tick_forgotten),
    ("I5", gap_in_attempts),
    ("I5", retry_before_the_end),
    ("I5", retry_never_made),
    ("I5", over_budget),
    ("I5", poison_tried_again),
    ("I6", deaf_to_a_stop),
    ("I7", missing_line),
    ("I7", doubled_line),
    ("I7", skipped_number),
    ("I7", foreign_line),
    ("I7", cut_line),
    ("I7", untold_loss),
    ("I8", two_at_once),
    ("I9", fat_worker),
    ("I10", late_crash),
    ("I11", alive_after_its_worker),
    ("I11", beat_after_its_worker),
    ("I11", daemon_after_its_run),
    ("I11", bad_exit_after_a_drain),
    ("I12", lost_after_acceptance),
    ("I12", repeat_gave_another),
    ("I12", request_made_two),
    ("I13", step_lost),
    ("I13", step_too_early),
    ("I13", step_skipped_for_nothing),
    ("I13", step_after_a_failure),
    ("I13", step_without_a_replica),
]


def test_a_true_story_passes_and_every_invariant_was_looked_at(story: Story, tmp_path: Path) -> None:
    story.write(tmp_path)
    verdicts = check(read_evidence(tmp_path))
    assert not any(verdict.problems for verdict in verdicts), report(verdicts)
    assert all(verdict.checked for verdict in verdicts), report(verdicts)


@pytest.mark.parametrize(("invariant", "plant"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_violation_is_found(
    story: Story, tmp_path: Path, invariant: str, plant: Callable[[Story], None]
) -> None:
    plant(story)
    assert story.judge(tmp_path)[invariant]


def test_each_invariant_has_a_planted_violation() -> None:
    names = {(invariant.__doc__ or "").partition(" ")[0] for invariant in INVARIANTS}
    assert names == {name for name, _ in VIOLATIONS} == {f"I{n}" for n in range(1, 14)}


def test_time_in_which_valkey_was_away_is_not_held_against_a_stop(story: Story, tmp_path: Path) -> None:
    deaf_to_a_stop(story)
    story.do("away", 18, of="store", from_us=us(15.5), to_us=us(17.5))
    assert not story.judge(tmp_path)["I6"]


def test_a_run_with_a_stop_request_is_owed_no_retry(story: Story, tmp_path: Path) -> None:
    retry_never_made(story)
    story.post("/api/executions/lost/stop", 6, status=202)
    assert not story.judge(tmp_path)["I5"]


def test_a_process_killed_after_its_last_line_may_have_failed(story: Story, tmp_path: Path) -> None:
    for kept in (story.records, story.first):
        kept["again"] |= {"end_reason": "failed", "exit_code": 137}
    assert story.judge(tmp_path)["I2"]
    story.do("kill", 13, victim="child", pid=301, pids=[301])
    assert not story.judge(tmp_path)["I2"]


def test_a_process_killed_while_printing_may_leave_part_of_its_last_line(story: Story, tmp_path: Path) -> None:
    lines = story.logs["lost"]["lines"]
    lines.append({"n": 2, "stream": "stdout", "text": "line 2 of l"})
    assert not story.judge(tmp_path)["I7"]
    lines.append({"n": 3, "stream": "stdout", "text": "line 3 of lost"})
    assert story.judge(tmp_path)["I7"]


def test_what_a_worker_starts_as_it_wakes_up_has_time_to_be_ended(story: Story, tmp_path: Path) -> None:
    story.history = [line for line in story.history if " asleep " not in line]
    story.live("asleep", 402, 29.6, 29.9, code=None)
    assert not story.judge(tmp_path)["I11"]
    story.live("asleep", 402, 30, 32, code=None)
    assert story.judge(tmp_path)["I11"]


def test_the_program_says_what_is_wrong_and_fails(story: Story, tmp_path: Path) -> None:
    ran_twice(story)
    story.write(tmp_path)
    command = [sys.executable, "-m", "tests.soak.checker", str(tmp_path)]
    done = run_command(command, cwd=Path(__file__).parents[2])
    assert done.returncode == 1, done.stderr
    assert "FAIL I3 " in done.stdout
    assert "run again was executed 2 times: ['pid 301 at" in done.stdout
    assert "PASS I1 " in done.stdout
