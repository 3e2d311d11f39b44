"""What runs print: whole, bounded, clean, numbered without gap or repeat, and seen while they print it."""

import time

import pytest

from tests.system.fleet import Fleet, followed

LINE = 101  # bytes of each printed line, its end included
TASKS = """
[tasks.bar]
run = '''
echo begins
printf '0%%\\r10%%'
until [ -e go-on ]; do sleep 0.05; done
printf '\\r20%%'; sleep 0.6; echo "of another stream" >&2; sleep 0.6
printf '\\rdone\\n'
'''

[defaults]
log_max_size = "64kb"

[tasks.drop_old]
run = ["python3", "-c", "for n in range(50_000): print(f'{n:0100d}')"]
log_on_full = "drop_old"

[tasks.drop_new]
run = ["python3", "-c", "for n in range(50_000): print(f'{n:0100d}')"]
log_on_full = "drop_new"

[tasks.kill]
run = ["python3", "-c", "for n in range(50_000): print(f'{n:0100d}')"]
log_on_full = "kill"
retry_on = ["failed"]

[tasks.odd]
run = ["python3", "-c", '''
import os, sys
write = sys.stdout.buffer.write
write(b"10%\\r50%\\r100%\\n")
write(b"bad \\xff\\xfe utf-8\\n")
write(b"nul \\x00 and bell \\x07\\n")
write(b"\\x1b[31mred\\x1b[0m stays\\n")
write("sn\\u00f6 \\u26a1\\n".encode())
write(b"no end of line")
''']

[tasks.misleading]
run = ["python3", "-c", '''
import os, sys
sys.stdout.buffer.write("one\\u0085two \\u009b31m \\u202egnp.exe\\u2069\\u200b\\n".encode())
with open(os.environ["RUNFLEET_OUTPUT"], "wb") as file:
    file.write("name=\\u202egnp.exe\\n".encode())
''']

[tasks.both]
run = "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three"

[tasks.slowly]
run = "for i in 0 1 2 3 4 5; do echo line $i; sleep 0.15; done"

[tasks.endless]
run = ["python3", "-c", "import sys; sys.stdout.write('x' * 300_000)"]
log_max_size = "1mb"
"""


@pytest.mark.parametrize("task", ["drop_old", "drop_new"])
def test_too_much_output_is_dropped_at_one_end_and_counted(fleet: Fleet, task: str) -> None:
    run = fleet.perform(task)
    assert (run["end_reason"], run["log_truncated"]) == ("success", True)
    page = fleet.get(f"/api/runs/{run['id']}/log", limit=10000)
    lines = page["lines"]
    printed = [int(line["text"]) for line in lines if line["stream"] == "stdout"]
    said = [line["text"] for line in lines if line["stream"] == "system"]
    assert printed == list(range(printed[0], printed[0] + len(printed)))
    assert (printed[-1] == 49_999) if task == "drop_old" else (printed[0] == 0)
    assert len(printed) * LINE <= 64 * 1024 + LINE
    assert len(printed) * LINE > 60 * 1024
    assert len(said) == 1
    assert str(50_000 - len(printed)) in said[0].replace(",", "").replace(" ", "")
    numbers = [line["n"] for line in lines]
    assert numbers == sorted(set(numbers))
    assert (page["truncated"], page["finalized"]) == (True, True)


def test_too_much_output_may_end_the_run(fleet: Fleet) -> None:
    run = fleet.perform("kill")
    assert (run["end_reason"], run["message"]) == ("log_overflow", "printed more than log_max_size = 64kb")
    assert len(fleet.chain(run)) == 1


def test_output_is_made_readable(fleet: Fleet) -> None:
    """F41: each of them once."""
    lines = fleet.log(fleet.perform("odd"))
    assert lines[0] == "100%"
    assert lines[1] == "bad \ufffd\ufffd utf-8"
    assert lines[2].startswith("nul ")
    assert "\x00" not in lines[2]
    assert "\x07" not in lines[2]
    assert lines[3] == "\x1b[31mred\x1b[0m stays"
    assert lines[4:] == ["sn\u00f6 \u26a1", "no end of line"]


def test_directions_and_what_is_not_seen_stay_in_log_and_outputs(fleet: Fleet) -> None:
    """They are evidence there; what a terminal obeys is a sign already."""
    run = fleet.perform("misleading")
    assert fleet.log(run) == ["one\\x85two \\x9b31m \u202egnp.exe\u2069\u200b"]
    assert run["outputs"] == {"name": "\u202egnp.exe"}


def test_both_streams_are_distinguished_and_keep_their_order(fleet: Fleet) -> None:
    run = fleet.perform("both")
    lines = fleet.get(f"/api/runs/{run['id']}/log")["lines"]
    assert [(line["n"], line["stream"], line["text"]) for line in lines] == [
        (0, "stdout", "one"),
        (1, "stderr", "two"),
        (2, "stdout", "three"),
    ]


def test_a_line_without_end_is_cut_and_put_together_again(fleet: Fleet) -> None:
    """F41: and nothing of it is lost."""
    run = fleet.perform("endless")
    lines = fleet.get(f"/api/runs/{run['id']}/log")["lines"]
    assert len(lines) > 4
    assert [line.get("continued", False) for line in lines] == [True] * (len(lines) - 1) + [False]
    assert fleet.http.get(f"/api/runs/{run['id']}/log/raw").text.rstrip("\n") == "x" * 300_000


def test_a_reader_sees_lines_while_they_are_printed(fleet: Fleet) -> None:
    run = fleet.trigger("slowly")
    seen: list[tuple[str, float]] = []
    with followed(fleet, f"/api/runs/{run['id']}/log/stream") as events:
        for event, data in events:
            if event == "line":
                seen.append((data["text"], time.monotonic()))
            elif event == "done":
                assert data["end_reason"] == "success"
                break
    assert [text for text, _ in seen] == [f"line {n}" for n in range(6)]
    assert seen[-1][1] - seen[0][1] > 0.4  # not all at once, at the end


def test_a_prompt_and_a_progress_bar_are_seen_while_they_stand(fleet: Fleet) -> None:
    run = fleet.trigger("bar")
    heard: list[tuple[str, str, str]] = []
    times: dict[str, float] = {}
    with followed(fleet, f"/api/runs/{run['id']}/log/stream") as events:
        for event, data in events:
            if event == "done":
                break
            heard.append((event, data["stream"], data["text"]))
            times[data["text"]] = time.monotonic()
            if data["text"] == "10%":
                window = fleet.get(f"/api/runs/{run['id']}/log")
                assert window["unfinished"] == [{"stream": "stdout", "text": "10%"}]
                assert [line["text"] for line in window["lines"]] == ["begins"]
                (fleet.folder / "go-on").touch()
    assert heard[:4] == [
        ("line", "stdout", "begins"),
        ("unfinished", "stdout", "10%"),
        ("unfinished", "stdout", "20%"),
        ("line", "stderr", "of another stream"),
    ]
    assert heard[-1] == ("line", "stdout", "done")
    assert ("unfinished", "stdout", "") not in heard, "it was taken away while it stood"
    assert fleet.log(run) == ["begins", "of another stream", "done"]
    with fleet.redis.client() as client:
        assert all(client.pttl(key) > 0 for key in client.keys("*unfinished:*"))
